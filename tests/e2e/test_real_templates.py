"""The chat templates of real models, from a folder that FTOOL_TEMPLATES names.

The folder has one folder a family: `chat_template.jinja`, `tool_use.jinja` where there is another
one for tools, beside a tokenizer that `from_pretrained` opens, or `base.json` with the
`tokenizer.json` of a sibling (`tokenizer`), `bos_token`, `eos_token` and the special tokens
(`special`) that the template writes and the sibling does not have.
docs/models.md says which ones were tried.
"""

import json
import os
from collections import Counter
from dataclasses import replace
from functools import cache
from itertools import product
from pathlib import Path

import jinja2
import pytest
from tokenizers import AddedToken, Tokenizer
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from ftool.example import NOT_LEARNED, Example, Message
from ftool.model.tokens.encode import make_encoder
from ftool.model.tokens.settings import reads_date, template_of_day
from ftool.model.tokens.template import UnwritableError

FOLDER = Path(os.environ.get("FTOOL_TEMPLATES", ""))
FAMILIES = (
    sorted(path.parent.name for path in FOLDER.glob("*/chat_template.jinja"))
    if "FTOOL_TEMPLATES" in os.environ
    else []
)
pytestmark = [
    pytest.mark.templates,
    pytest.mark.skipif(not FAMILIES, reason="FTOOL_TEMPLATES names no folder of chat templates"),
]
DAY = "2024-02-29"
SYSTEM = Message("system", "Be kind to everyone.")
CALL = {
    "id": "call12345",
    "type": "function",
    "function": {"name": "dim", "arguments": {"level": 40}},
}
TOOL = {
    "type": "function",
    "function": {
        "name": "dim",
        "description": "Dim the lamp.",
        "parameters": {
            "type": "object",
            "properties": {"level": {"type": "integer", "description": "how far"}},
            "required": ["level"],
        },
    },
}


def turns(count):
    return [
        Message(role, f"{word} {number}.")
        for number in range(count)
        for role, word in (("user", "Question"), ("assistant", "Answer"))
    ]


def thought(question, reasoning, answer):
    return [Message("user", question), Message("assistant", answer, reasoning_content=reasoning)]


CALLED = [
    Message("user", "Dim it to 40."),
    Message("assistant", "", tool_calls=(CALL,)),
    Message("tool", "dimmed", name="dim", tool_call_id="call12345"),
    Message("assistant", "Done."),
]
CELLS = {
    "label": [Message("user", "Where is it?"), Message("assistant", "refund_status")],
    "single turn": turns(1),
    "system": [SYSTEM, *turns(1)],
    **{f"{count} turns": turns(count) for count in range(2, 7)},
    **{f"system, {count} turns": [SYSTEM, *turns(count)] for count in (2, 4)},
    "tools": [SYSTEM, *turns(1), *CALLED, *turns(1)],
    "thinking": [*thought("Why?", "Let me see.", "So."), *thought("Sure?", "I am.", "Yes.")],
}
NEVER_REFUSED = CELLS.keys() - {"tools", "thinking"}


@cache
def _tokenizer(family):
    folder = FOLDER / family
    template = (folder / "chat_template.jinja").read_text(encoding="utf-8")
    if (folder / "tool_use.jinja").is_file():
        for_tools = (folder / "tool_use.jinja").read_text(encoding="utf-8")
        template = {"default": template, "tool_use": for_tools}
    if not (folder / "base.json").is_file():
        return AutoTokenizer.from_pretrained(folder), template
    base = json.loads((folder / "base.json").read_text(encoding="utf-8"))
    tokenizer = Tokenizer.from_file(str(folder / base["tokenizer"]))
    special = [AddedToken(text, special=True, normalized=False) for text in base["special"]]
    tokenizer.add_special_tokens(special)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=base["bos_token"], eos_token=base["eos_token"]
    )
    return fast, template


def fresh(family):
    """Return the tokenizer of a family with its template as it came."""
    tokenizer, template = _tokenizer(family)
    tokenizer.chat_template = template
    return tokenizer


def folded(messages):
    if messages[0].role != "system":
        return list(messages)
    first, second, *others = messages
    return [replace(second, content=f"{first.content}\n\n{second.content}"), *others]


def as_dicts(messages, *, as_text, key):
    found = [message.as_dict() for message in messages]
    for one in found:
        if "reasoning_content" in one:
            one[key] = one.pop("reasoning_content")
        for call in one.get("tool_calls", ()) if as_text else ():
            call["function"] = {**call["function"], "arguments": '{"level": 40}'}
    return found


def in_use(tokenizer, messages, tools, **options):
    """Yield what people may render by hand: texts and their ids."""
    own = {}
    if reads_date(tokenizer):
        own["chat_template"] = template_of_day(tokenizer, DAY, has_tools=bool(tools))
    fold = list if has_system_role(tokenizer) else folded
    for as_text, key in product((False, True), ("reasoning_content", "thinking")):
        given = as_dicts(fold(messages), as_text=as_text, key=key)
        try:
            text = tokenizer.apply_chat_template(
                given, tools=tools, tokenize=False, **own, **options
            )
        except (jinja2.TemplateError, TypeError, ValueError):
            continue
        # Some templates leave the system message out behind an answer or the result of a call.
        if tools or not options or all(one.content in text for one in messages):
            yield text, tokenizer(text, add_special_tokens=False)["input_ids"]


def has_system_role(tokenizer):
    asked = [SYSTEM.as_dict(), {"role": "user", "content": "?"}]
    try:
        return SYSTEM.content in tokenizer.apply_chat_template(asked, tokenize=False)
    except jinja2.TemplateError:
        return False


def squeezed(text):
    return "".join(text.split())


def starts(chat):
    """Yield every sequence with where an answer begins and ends in it."""
    for one in chat.sequences:
        learned = [label != NOT_LEARNED for label in one.labels]
        for place, is_learned in enumerate(learned):
            if is_learned and not (place and learned[place - 1]):
                end = next((n for n in range(place, len(learned)) if not learned[n]), len(learned))
                yield one, place, end


@cache
def outcome(family, cell):
    """Try a cell; return `right`, or the code by which it is refused."""
    tokenizer = fresh(family)
    encoder = make_encoder(tokenizer, date=DAY, fixed=() if cell == "label" else None)
    messages = CELLS[cell]
    tools = [TOOL] if cell == "tools" else None
    example = Example("a", messages=tuple(messages), tools=tuple(tools or ()))
    try:
        chat = encoder.chat(example)
    except UnwritableError as error:
        return error.code
    answers = [n for n, one in enumerate(messages) if one.role == "assistant"]
    found = list(starts(chat))
    assert len(found) == len(answers)
    for (one, start, end), index in zip(found, answers, strict=True):
        prompts = in_use(tokenizer, messages[:index], tools, add_generation_prompt=True)
        assert list(one.input_ids[:start]) in [ids for _, ids in prompts], (cell, index)
        learned = tokenizer.decode(one.labels[start:end])
        content = messages[index].content or "dim"
        assert learned.count(content) >= 1, (cell, learned)
        written = [text for text, _ in in_use(tokenizer, messages[: index + 1], tools)]
        behind = learned[learned.rindex(content) :].removesuffix(encoder.tokenizer.eos_token)
        # Some tokenizers put a space behind every special token when they decode.
        assert any(squeezed(behind) in squeezed(text) for text in written), (cell, learned)
    assert len({one.id for one in chat.sequences}) == len(chat.sequences)
    prompt = encoder.prompt(example)
    assert list(chat.sequences[-1].input_ids[: len(prompt)]) == prompt
    return "right"


@pytest.mark.parametrize("family", FAMILIES)
def test_every_cell_is_right_or_told(family):
    outcomes = {cell: outcome(family, cell) for cell in CELLS}
    assert {outcomes[cell] for cell in NEVER_REFUSED} == {"right"}
    assert outcomes["thinking"] == "right"
    assert outcomes["tools"] in {"right", "tools_not_rendered"}


def test_at_most_one_in_ten_of_the_others_is_refused():
    others = [cell for cell in CELLS if cell not in {"label", "system"}]
    counts = Counter(outcome(family, cell) for family in FAMILIES for cell in others)
    assert len(FAMILIES) >= 20
    assert counts["right"] >= 0.9 * counts.total(), counts
