import copy

import pytest
from chat_families import family_tokenizer
from tiny import CHAT_TEMPLATE

from ftool.example import Example, Message
from ftool.model.tokens.encode import make_encoder
from ftool.model.tokens.habits import Habits
from ftool.model.tokens.template import UnwritableError

HABITS = {
    "chatml": Habits(writes_tools=False, writes_results=True, writes_calls=False),
    "llama": Habits(writes_tools=False, writes_results=True, writes_calls=False),
    "mistral": Habits(
        folds_system=True, writes_tools=False, writes_results=True, writes_calls=False
    ),
    "gemma": Habits(folds_system=True, writes_tools=False, writes_results=True, writes_calls=False),
    "qwen": Habits(),
    "reasoning": Habits(writes_tools=False, writes_results=True, writes_calls=False),
    "channels": Habits(
        writes_tools=False, writes_results=False, writes_calls=True, reasoning_key="thinking"
    ),
    "mute": Habits(folds_system=True, writes_tools=False, writes_results=False, writes_calls=False),
    "quoting": Habits(writes_tools=False, writes_results=True, text_arguments=True),
}


def test_a_template_for_tools_alone_needs_tools_that_are_described():
    tokenizer = copy.deepcopy(family_tokenizer("qwen"))
    tokenizer.chat_template = {"default": CHAT_TEMPLATE, "tool_use": tokenizer.chat_template}
    encoder = make_encoder(tokenizer)
    assert encoder.template.habits == Habits(calls_need_tools=True)
    call = {"type": "function", "function": {"name": "look", "arguments": {"what": "x"}}}
    messages = (Message("user", "hi"), Message("assistant", "", tool_calls=(call,)))
    tool = {"type": "function", "function": {"name": "look"}}
    assert encoder.chat(Example("a", messages=messages, tools=(tool,))).note_codes == frozenset()
    with pytest.raises(UnwritableError) as refused:
        encoder.chat(Example("a", messages=messages))
    assert refused.value.code == "tools_not_rendered"


@pytest.mark.parametrize("family", HABITS)
def test_habits_are_found_by_trying(family):
    assert make_encoder(family_tokenizer(family)).template.habits == HABITS[family]
