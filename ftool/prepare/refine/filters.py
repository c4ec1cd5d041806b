"""Keep or drop, with a reason."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING
from unicodedata import east_asian_width

from ftool.example import Example
from ftool.prepare.read.rows import Finding
from ftool.prepare.refine.language import CONFIDENCE, UNKNOWN, detect_language, wanted_languages
from ftool.prepare.refine.phrases import automatic_mail, model_refusal
from ftool.prepare.refine.quality import QUALITY, Outcome
from ftool.prepare.refine.repetition import repeated_share

if TYPE_CHECKING:
    from ftool.recipe.blocks.data import Data

KEPT: tuple[None, None] = (None, None)
"""Value and threshold of rules that measure nothing."""


def find_fault(example: Example, data: "Data", *, held_out: bool) -> Finding | None:
    """Return why an example must go, by the first rule that it breaks, or None.

    Rows of an assigned validation or test source are refused only where nothing is left of them,
    so that published test sets keep their size.

    Raises:
        DataError: a rule needs a library that is not installed, or a code of
            `data.filter.languages` is unknown.
    """
    for reason, (passes, detail, value, threshold) in _outcomes(example, data, held_out, False):
        if not passes:
            return Finding(reason, detail, value, threshold)
    return None


def checks(example: Example, data: "Data", *, held_out: bool) -> Iterator[tuple[str, str, bool]]:
    """Yield the rule, what was measured in a sentence, and whether it passes, for every rule.

    Rules that do not apply to the example are left out.

    Raises:
        DataError: as `find_fault` does.
    """
    for reason, (passes, detail, _, _) in _outcomes(example, data, held_out, True):
        yield reason, detail, passes


def _outcomes(
    example: Example, data: "Data", held_out: bool, exact: bool
) -> Iterator[tuple[str, Outcome]]:
    """Hold an example against every rule; `exact` measures also what surely passes."""
    for reason, check in CHECKS.items():
        if held_out and reason not in EMPTINESS:
            continue
        outcome = check(example, data, exact)
        if outcome is not None:
            yield reason, outcome
    if example.text is None or held_out:
        return
    languages = data.filter.languages
    english = languages is None or "en" in languages
    for family in data.filter.quality:
        yield from QUALITY[family](example.text, english)


def _prompt_characters(example: Example) -> int:
    if example.text is not None:
        return len(example.text)
    return sum(len(message.content) for message in example.prompt if message.role != "system")


def _wide_characters(example: Example) -> int:
    """Return how many characters of a prompt are as wide as two: one of them says a word."""
    texts = [m.content for m in example.prompt if m.role != "system"] or [example.text or ""]
    return sum(east_asian_width(sign) in "WF" for text in texts for sign in text)


def _said(passes: bool, fault: str, fine: str) -> Outcome:
    return (True, fine, *KEPT) if passes else (False, fault, *KEPT)


def _empty_text(example: Example, _: "Data", __: bool) -> Outcome | None:
    if example.text is None:
        return None
    return _said(example.text != "", "nothing is left of the text", "there is a text")


def _empty_prompt(example: Example, _: "Data", __: bool) -> Outcome | None:
    if example.text is not None:
        return None
    passes = _prompt_characters(example) > 0
    return _said(passes, "nothing is left of the prompt", "there is a prompt")


def _empty_completion(example: Example, _: "Data", __: bool) -> Outcome | None:
    if example.completion is None:
        return None
    passes = example.completion != "" or bool(example.messages[-1].tool_calls)
    return _said(passes, "nothing is left of the completion", "there is a completion")


def _empty_turn(example: Example, _: "Data", __: bool) -> Outcome | None:
    """Find a message without a word before the last; what a tool returns may be nothing."""
    if len(example.messages) < 3:
        return None
    for number, message in enumerate(example.messages[:-1], start=1):
        if not message.content and not message.tool_calls and message.role in {"user", "assistant"}:
            return False, f"message {number}, by {message.role}, is empty", *KEPT
    return True, "every message says something", *KEPT


def _role_order(example: Example, _: "Data", __: bool) -> Outcome | None:
    """Hold the roles to the order that chat templates expect."""
    if example.text is not None:
        return None
    before, speaker, calls = "", "", False
    for number, message in enumerate(example.messages, start=1):
        role = message.role
        fault = ""
        if role == "system":
            fault = "" if number == 1 else "system comes first or not at all"
        elif role == "tool":
            fault = "" if calls or before == "tool" else "no assistant called a tool before it"
        elif role == speaker and before != "tool":
            fault = f"{role} wrote the message before too"
        if fault:
            return False, f"message {number}, by {role}: {fault}", *KEPT
        before, calls = role, bool(message.tool_calls)
        speaker = role if role in {"user", "assistant"} else speaker
    return True, "user and assistant take turns", *KEPT


def _too_short(example: Example, data: "Data", _: bool) -> Outcome | None:
    length, least = _prompt_characters(example), data.filter.min_characters
    if 0 < length < least:
        length += _wide_characters(example)
    return length >= least, f"{length} characters; at least {least}", length, least


def _too_long(example: Example, data: "Data", _: bool) -> Outcome | None:
    most = data.filter.max_characters
    if not most:
        return None
    length = len(example.text or "") + sum(len(message.content) for message in example.messages)
    return length <= most, f"{length:,} characters; at most {most:,}", length, most


def _written(example: Example, *roles: str) -> list[str]:
    """Return the text of a corpus or what these roles wrote; a label is not written."""
    if example.text is not None:
        return [example.text]
    messages = example.messages if example.label is None else example.prompt
    return [message.content for message in messages if message.role in roles]


def _repetitive(example: Example, data: "Data", exact: bool) -> Outcome | None:
    most = data.filter.repetition
    if most is None:
        return None
    ignored = 0.0 if exact else most
    texts = _written(example, "user", "assistant")
    share = max((repeated_share(text, ignored=ignored) for text in texts), default=0.0)
    if share == 0.0:
        return True, f"no words stand in repeats; at most {most:g} of them may", share, most
    sentence = f"{share:.2f} of the words stand in repeats; at most {most:g}"
    return share <= most, sentence, share, most


def _boilerplate(example: Example, data: "Data", _: bool) -> Outcome | None:
    if not data.filter.boilerplate:
        return None
    for text in _written(example, "user", "assistant"):
        kind = automatic_mail(text)
        if kind:
            return False, f"a message is nothing but {_article(kind)}", *KEPT
    return True, "no message is automatic mail", *KEPT


def _article(kind: str) -> str:
    return f"{'an' if kind[0] in 'aeiou' else 'a'} {kind}"


def _refusal(example: Example, data: "Data", _: bool) -> Outcome | None:
    if not data.filter.refusals or example.text is not None:
        return None
    for text in _written(example, "assistant"):
        words = model_refusal(text)
        if words:
            return False, f"the assistant says `{words} ...`", *KEPT
    return True, "the assistant does not refuse as a language model", *KEPT


def _language(example: Example, data: "Data", _: bool) -> Outcome | None:
    """Drop what is surely of another language; what is too short or unsure stays."""
    if data.filter.languages is None:
        return None
    wanted = wanted_languages(tuple(data.filter.languages))
    code, confidence = detect_language("\n".join(_written(example, "user", "assistant")))
    listed = ", ".join(data.filter.languages)
    if code == UNKNOWN:
        return True, f"too short to tell the language; kept are {listed}", *KEPT
    passes = code in wanted or confidence < CONFIDENCE
    sentence = f"detected `{code}` (confidence {confidence:.2f}); kept are {listed}"
    return passes, sentence, confidence, CONFIDENCE


CHECKS: dict[str, Callable[[Example, "Data", bool], Outcome | None]] = {
    "empty_text": _empty_text,
    "empty_prompt": _empty_prompt,
    "empty_completion": _empty_completion,
    "empty_turn": _empty_turn,
    "role_order": _role_order,
    "too_short": _too_short,
    "too_long": _too_long,
    "repetitive": _repetitive,
    "boilerplate": _boilerplate,
    "refusal": _refusal,
    "language": _language,
}
"""Reason -> what was found, or None where the rule does not apply; then come those of `QUALITY`."""

EMPTINESS = frozenset(("empty_text", "empty_prompt", "empty_completion"))
"""The only rules for rows of an assigned validation or test source."""
