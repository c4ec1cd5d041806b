import pytest
from chat_families import family_tokenizer

from ftool.model.tokens.encode import make_encoder
from ftool.model.tokens.habits import Habits

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


@pytest.mark.parametrize("family", HABITS)
def test_habits_are_found_by_trying(family):
    assert make_encoder(family_tokenizer(family)).template.habits == HABITS[family]
