"""Personal data and secrets: find, mask or drop."""

import importlib
import importlib.metadata
import json
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import lru_cache
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, NamedTuple

from ftool.errors import DataError
from ftool.example import Example, Message
from ftool.prepare.refine.code import code_spans
from ftool.prepare.refine.credentials import is_sample
from ftool.prepare.refine.patterns import (
    BEFORE_NUMBER,
    BEHIND_NUMBER,
    GATES,
    NUMBER,
    NUMBERS,
    Pattern,
)
from ftool.prepare.refine.phones import compact, phone_key

if TYPE_CHECKING:
    from ftool.recipe.blocks.data import Clean

NAME_ENTITIES = ("PERSON", "LOCATION")
"""Entities of presidio that are a NAME here."""
NAME_MODELS = ("en_core_web_lg", "en_core_web_md", "en_core_web_sm")
"""Models of spaCy that find names, the best first; the first installed one is used."""

_KEYS: dict[str, Callable[[str], str]] = {
    "EMAIL": str.casefold,
    "PHONE": phone_key,
    "CARD": compact,
    "IBAN": lambda value: compact(value).upper(),
    "IP": lambda value: str(ip_address(value)),
    "NATIONAL_ID": lambda value: compact(value).upper(),
    "SECRET": str,
    "NAME": lambda value: " ".join(value.casefold().split()),
}
"""Type -> what the same value has in common however it is written."""

_PLACEHOLDER = re.compile(rf"\[({'|'.join(_KEYS)})_([0-9]{{1,6}})\]")

_MAY_BE_CODE = re.compile(r"`|~~~|[=(]\s?[fr]?[\"']")
_BEFORE_LITERAL = re.compile(r"[=(]\s?[fr]?[\"'][^\"'\s]*$")
"""A text is given to a name or a function: code that nothing marks as such."""


_SEARCHES = tuple((pattern.regex.search, pattern) for pattern in NUMBERS)


class Find(NamedTuple):
    """Personal data or a secret in a text."""

    kind: str
    start: int
    end: int


def find_personal_data(text: str, *, names: bool = False) -> list[Find]:
    """Return the personal data and secrets of a text, in reading order, none inside another.

    A text that passes no gate costs a few substring searches; of overlapping finds the one of the
    earlier pattern stands, so a card number is no telephone number.

    Raises:
        DataError: if names are asked for and what finds them is not installed.
    """
    candidates = _candidates(text)
    if names:
        candidates += _find_names(text)
    if not candidates:
        return candidates
    taken = bytearray(len(text))
    for kept in _PLACEHOLDER.finditer(text):
        taken[kept.start() : kept.end()] = b"\1" * len(kept.group())
    finds = []
    for found in candidates:
        if taken.find(1, found.start, found.end) < 0:
            taken[found.start : found.end] = b"\1" * (found.end - found.start)
            finds.append(found)
    return sorted(_without_samples(text, finds), key=lambda found: found.start)


def _without_samples(text: str, finds: list[Find]) -> list[Find]:
    """Leave out what stands in code as an example; elsewhere it is masked as any other."""
    if not finds or not _MAY_BE_CODE.search(text):
        return finds
    code = code_spans(text)

    def is_in_code(find: Find) -> bool:
        if any(start <= find.start and find.end <= end for start, end in code):
            return True
        return _BEFORE_LITERAL.search(text, max(0, find.start - 80), find.start) is not None

    return [
        find for find in finds if not (is_in_code(find) and is_sample(text[find.start : find.end]))
    ]


def _candidates(text: str) -> list[Find]:
    """Return what the patterns find, the most believed first."""
    candidates: list[Find] = []
    for gate, patterns in GATES:
        if gate(text):
            for pattern in patterns:
                if match := pattern.regex.search(text):
                    candidates += _matches(pattern, match, len(text))
    for number in NUMBER.finditer(text):
        start = max(0, number.start() - BEFORE_NUMBER)
        end = min(len(text), number.end() + BEHIND_NUMBER)
        for search, pattern in _SEARCHES:
            if match := search(text, start, end):
                candidates += _matches(pattern, match, end)
    return candidates


def _matches(pattern: Pattern, match: re.Match[str] | None, end: int) -> list[Find]:
    """Return what a pattern finds from its first match on.

    Behind a refused match the search goes on one character on.
    """
    finds = []
    while match:
        span = pattern.accept(match)
        position = match.start() + 1
        if span is not None:
            position = max(position, span[1])
            finds.append(Find(pattern.kind, *span))
        match = pattern.regex.search(match.string, position, end)
    return finds


def redact(example: Example, settings: "Clean") -> tuple[Example, Mapping[str, int]]:
    """Put placeholders such as `[EMAIL_1]` in place of personal data and secrets.

    A value has one number in the whole example, in order of first appearance, however it is
    written; so who is who stays readable. Numbers of placeholders that are already there are not
    given again. A label that stands as the last answer is never touched, nor are id and group.

    Returns:
        The masked example, the same object where nothing is found, and type -> finds. Where the
        recipe drops personal data, the caller drops the example if there are any.

    Raises:
        DataError: if names are asked for and what finds them is not installed.
    """
    if settings.personal_data == "keep":
        return example, {}
    counts: Counter[str] = Counter()
    given: dict[tuple[str, str], str] = {}
    last: dict[str, int] = {}

    def mask(text: str, key: str) -> str:
        finds = _find_value(text, key, names=settings.names)
        if finds and not last:
            last.update(_numbers_in(example))
        parts, position = [], 0
        for kind, start, end in finds:
            value = (kind, _KEYS[kind](text[start:end]))
            if value not in given:
                last[kind] += 1
                given[value] = f"[{kind}_{last[kind]}]"
            parts += [text[position:start], given[value]]
            position = end
            counts[kind] += 1
        return "".join((*parts, text[position:])) if parts else text

    masked = _rewrite(example, mask)
    return (masked, dict(sorted(counts.items()))) if counts else (example, {})


def _find_value(text: str, key: str, *, names: bool) -> list[Find]:
    """Return the finds in the value of a key, which may announce it: `{"phone": "5550100"}`."""
    if not key or not text:
        return find_personal_data(text, names=names)
    announced = key.replace("_", " ") + ": "
    skip = len(announced)
    finds = find_personal_data(announced + text, names=names)
    return [Find(kind, start - skip, end - skip) for kind, start, end in finds if start >= skip]


def _numbers_in(example: Example) -> dict[str, int]:
    """Return the highest number of every type among the placeholders of an example."""
    highest = dict.fromkeys(_KEYS, 0)

    def look(text: str, _key: str) -> str:
        for kind, number in _PLACEHOLDER.findall(text):
            highest[kind] = max(highest[kind], int(number))
        return text

    _rewrite(example, look)
    return highest


Rewriter = Callable[[str, str], str]
"""What a text becomes; the second argument is the key that it is the value of, or nothing."""


def _rewrite(example: Example, rewriter: Rewriter) -> Example:
    """Rewrite every text of an example in reading order; what stays as it is, is not copied."""
    if example.text is not None:
        text = rewriter(example.text, "")
        changed = example if text == example.text else replace(example, text=text)
    else:
        is_answer = example.label is not None and example.completion == example.label
        free = len(example.messages) - is_answer
        messages = [_rewrite_message(message, rewriter) for message in example.messages[:free]]
        same = all(map(lambda new, old: new is old, messages, example.messages))
        rewritten = (*messages, *example.messages[free:])
        changed = example if same else replace(example, messages=rewritten)
    if not example.extra:
        return changed
    names = sorted(example.extra)
    columns = {name: _rewrite_value(example.extra[name], rewriter, name) for name in names}
    return changed if columns == example.extra else replace(changed, extra=columns)


def _rewrite_message(message: Message, rewriter: Rewriter) -> Message:
    thought, content = message.reasoning_content, rewriter(message.content, "")
    if thought is not None or message.tool_calls:
        thought = thought if thought is None else rewriter(thought, "")
        calls = tuple(_rewrite_call(call, rewriter) for call in message.tool_calls)
        if (thought, calls) != (message.reasoning_content, message.tool_calls):
            return replace(message, content=content, reasoning_content=thought, tool_calls=calls)
    return message if content == message.content else replace(message, content=content)


def _rewrite_call(call: Mapping[str, Any], rewriter: Rewriter) -> Mapping[str, Any]:
    """Rewrite the arguments of a call, in it or in its `function`."""
    changed = dict(call)
    if isinstance(call.get("function"), Mapping):
        changed["function"] = _rewrite_call(call["function"], rewriter)
    if "arguments" in call:
        changed["arguments"] = _rewrite_arguments(call["arguments"], rewriter)
    return changed


def _rewrite_arguments(arguments: Any, rewriter: Rewriter) -> Any:
    """Rewrite arguments, inside the JSON where they are written as that."""
    if not isinstance(arguments, str):
        return _rewrite_value(arguments, rewriter)
    try:
        values = json.loads(arguments)
    except (ValueError, RecursionError):
        return rewriter(arguments, "")
    if not isinstance(values, dict | list):
        return rewriter(arguments, "")
    changed = _rewrite_value(values, rewriter)
    return arguments if changed == values else json.dumps(changed, ensure_ascii=False)


def _rewrite_value(value: Any, rewriter: Rewriter, key: str = "") -> Any:
    if isinstance(value, str):
        return rewriter(value, key)
    if isinstance(value, Mapping):
        return {name: _rewrite_value(inner, rewriter, str(name)) for name, inner in value.items()}
    if isinstance(value, list):
        return [_rewrite_value(inner, rewriter, key) for inner in value]
    return value


@lru_cache(maxsize=1)
def _name_finder() -> Callable[[str], list[Find]]:
    """Build presidio's search for names from an installed model; nothing is ever downloaded.

    Raises:
        DataError: if presidio or every model is missing.
    """
    if not _is_installed("presidio-analyzer"):
        raise DataError(
            "data.clean.names needs the package presidio-analyzer, which is not installed",
            hint="pip install 'ftool[pii]', or set `names: false`",
        )
    model = next(filter(_is_installed, NAME_MODELS), None)
    if model is None:
        raise DataError(
            f"data.clean.names needs a model of spaCy: {', '.join(NAME_MODELS)}; none is installed",
            hint=f"python -m spacy download {NAME_MODELS[-1]}, or set `names: false`",
        )
    presidio = importlib.import_module("presidio_analyzer")
    engines = importlib.import_module("presidio_analyzer.nlp_engine")
    recognizers = importlib.import_module("presidio_analyzer.predefined_recognizers")
    engine = engines.SpacyNlpEngine(models=[{"lang_code": "en", "model_name": model}])
    # Only this recognizer: the others search what is found here, and one asks the network.
    recognizer = recognizers.SpacyRecognizer(supported_entities=list(NAME_ENTITIES))
    analyzer = presidio.AnalyzerEngine(
        registry=presidio.RecognizerRegistry(recognizers=[recognizer]),
        nlp_engine=engine,
        supported_languages=["en"],
    )

    def find(text: str) -> list[Find]:
        results = analyzer.analyze(text=text, language="en", entities=list(NAME_ENTITIES))
        return [Find("NAME", result.start, result.end) for result in results]

    return find


def _is_installed(package: str) -> bool:
    """Tell whether a package is there by the test that spaCy uses before it would download one."""
    try:
        importlib.metadata.distribution(package)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _find_names(text: str) -> list[Find]:
    """Return names of people and places, longest first where they begin together."""
    found = _name_finder()(text) if text.strip() else []
    return sorted(found, key=lambda name: (name.start, -name.end))
