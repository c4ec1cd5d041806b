"""Training data of Rasa: intents with their examples, as YAML or Markdown."""

import re
from collections.abc import Iterator
from typing import Any

_ENTITY = re.compile(r"\[([^\]\[]+)\](?:\([^()]*\)|\{[^{}]*\})")
"""`[lamp](product)` and `[lamp]{"entity": "product"}` mark entities in a text."""
_HEADING = re.compile(r"##\s*(\w+)\s*:\s*(.+)")
_ITEM = re.compile(r"\s*[-*+]\s+(.*)")

Record = dict[str, Any]


def without_entities(text: str) -> str:
    """Return a text without the marks of entities."""
    return _ENTITY.sub(r"\1", text)


def read_markdown(text: str) -> Iterator[tuple[int, Record]] | None:
    """Return line and record of every example of an nlu.md, None for another text."""
    found = list(_markdown(text))
    return iter(found) if found else None


def _markdown(text: str) -> Iterator[tuple[int, Record]]:
    intent = ""
    for number, line in enumerate(text.splitlines(), start=1):
        heading = _HEADING.match(line)
        if heading:
            intent = heading[2].strip() if heading[1] == "intent" else ""
        elif line.startswith("#"):
            intent = ""
        elif intent and (item := _ITEM.match(line)) and item[1].strip():
            yield number, {"text": without_entities(item[1].strip()), "label": intent}


def records(document: Any) -> Iterator[Record] | None:
    """Return the examples of the intents of a parsed nlu.yml, None for another document."""
    nlu = document.get("nlu") if isinstance(document, dict) else None
    if not isinstance(nlu, list) or not any(isinstance(e, dict) and "intent" in e for e in nlu):
        return None
    return (
        {"text": without_entities(text), "label": str(entry["intent"])}
        for entry in nlu
        if isinstance(entry, dict) and "intent" in entry
        for text in _examples(entry.get("examples"))
    )


def _examples(written: Any) -> Iterator[str]:
    if isinstance(written, str):
        for line in written.splitlines():
            item = _ITEM.match(line)
            if item and item[1].strip():
                yield item[1].strip()
    for item in written if isinstance(written, list) else ():
        text = item.get("text") if isinstance(item, dict) else item
        if isinstance(text, str) and text.strip():
            yield text.strip().removeprefix("- ")
