"""What a chat template does with system messages, tools, reasoning and the date: tried once."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Render = Callable[[Sequence[Mapping[str, Any]], Sequence[Mapping[str, Any]], bool], str | None]
"""Messages, tools, generation prompt -> the text; None where the template refuses."""
NAME, ARGUMENT, RESULT, NAMED = "probetool", "probevalue", "proberesult", "probename"
CALL_ID = "probe0001"
"""Some templates want nine letters or digits."""
_TOOL = {
    "type": "function",
    "function": {
        "name": NAME,
        "description": "Look it up.",
        "parameters": {"type": "object", "properties": {NAMED: {"type": "string"}}},
    },
}


_OTHER_TOOL = {
    "type": "function",
    "function": {
        "name": "another",
        "description": "Do nothing.",
        "parameters": {"type": "object", "properties": {"how": {"type": "string"}}},
    },
}
_Tools = Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Habits:
    """What a chat template does beyond writing one message behind the other.

    `calls_need_tools`: it writes calls only where tools are described. `text_arguments`: it wants
    the arguments of a call as JSON in a text.
    """

    folds_system: bool = False
    writes_tools: bool = True
    writes_results: bool = True
    writes_calls: bool = True
    calls_need_tools: bool = False
    text_arguments: bool = False
    reasoning_key: str = "reasoning_content"


def find_habits(render: Render, template: str) -> Habits:
    """Find out what a template does by rendering small conversations with it.

    Args:
        render: by the template.
        template: its text.
    """
    ways = ((tools, as_text) for as_text in (False, True) for tools in ((), (_OTHER_TOOL,)))
    way = next((way for way in ways if _writes_call(render, *way)), None)
    tools, as_text = way or ((), False)
    return Habits(
        folds_system=not _writes_system(render),
        writes_tools=NAME in (render([_user()], [_TOOL], True) or ""),
        writes_results=RESULT in (_called(render, tools, as_text) or ""),
        writes_calls=way is not None,
        calls_need_tools=bool(tools),
        text_arguments=as_text,
        reasoning_key=_reasoning_key(template),
    )


def _user(content: str = "question") -> dict[str, Any]:
    return {"role": "user", "content": content}


def _writes_system(render: Render) -> bool:
    system = {"role": "system", "content": "probesystem"}
    return "probesystem" in (render([system, _user()], [], True) or "")


def _writes_call(render: Render, tools: _Tools, text_arguments: bool) -> bool:
    """Tell whether a call comes into the text as it is, not its text quoted again."""
    text = _called(render, tools, text_arguments)
    return (
        text is not None
        and all(part in text for part in (NAME, NAMED, ARGUMENT))
        and f'\\"{NAMED}' not in text
    )


def _called(render: Render, tools: _Tools, text_arguments: bool) -> str | None:
    """Render a call and its result, or the call alone where the result is refused."""
    function = {"name": NAME, "arguments": {NAMED: ARGUMENT}}
    calls = [{"id": CALL_ID, "type": "function", "function": function}]
    shaped = [with_text_arguments(call) for call in calls] if text_arguments else calls
    calling = {"role": "assistant", "content": "", "tool_calls": shaped}
    result = {"role": "tool", "name": NAME, "content": RESULT, "tool_call_id": CALL_ID}
    text = render([_user(), calling, result], tools, True)
    return render([_user(), calling], tools, False) if text is None else text


def with_text_arguments(call: Mapping[str, Any]) -> dict[str, Any]:
    """Return a call with its arguments as JSON in a text."""
    function = dict(call["function"])
    if not isinstance(function.get("arguments"), str):
        function["arguments"] = json.dumps(function.get("arguments") or {}, ensure_ascii=False)
    return {**call, "function": function}


def _reasoning_key(template: str) -> str:
    """Return the field in which a template looks for the reasoning of a message."""
    reads_thinking = any(f"{quote}thinking" in template for quote in (".", "'", '"'))
    is_other = "reasoning_content" in template or not reads_thinking
    return "reasoning_content" if is_other else "thinking"
