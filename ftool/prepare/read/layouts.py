"""Documents whose rows do not stand in one list of objects -> records."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeGuard

from ftool.prepare.read import nlu
from ftool.prepare.read.conversation import ROLE_NAMES, SPEAKERS, folded
from ftool.prepare.read.delimited import unique
from ftool.prepare.read.json_text import CONVERSATIONS
from ftool.prepare.read.mapping import candidates
from ftool.prepare.read.shape import Shape, detect
from ftool.prepare.read.survey import look_of

Record = dict[str, Any]


class LayoutRow(NamedTuple):
    """A record, and the split that its document puts it in."""

    record: Record
    split: str | None = None


SPLIT_NAMES = {
    **dict.fromkeys(("validation", "valid", "val", "dev", "development", "eval"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
    **dict.fromkeys(("train", "training"), ""),
}
"""What the splits of a document are called; train is divided as the recipe says."""
PATTERNS = (
    "patterns",
    "examples",
    "utterances",
    "phrases",
    "questions",
    "text",
    "input",
    "queries",
)
TAGS = ("tag", "intent", "name", "label", "class", "category")


def records(document: Any) -> Iterator[LayoutRow] | None:
    """Return the records of a document of a known layout; None for any other.

    A list of objects, and an object that holds one, is no layout: it is read piece by piece.
    """
    if isinstance(document, list) and len(document) == 1 and isinstance(document[0], dict):
        found = records(document[0])  # wrapped once more
        if found is not None:
            return found
    if isinstance(document, dict) and len(document) == 1:
        (inner,) = document.values()
        if isinstance(inner, dict) and len(inner) > 1 and (found := records(inner)) is not None:
            return found
    for layout in LAYOUTS:
        found = layout(document)
        if found is not None:
            return found
    return None


def texts(document: Any) -> Iterator[LayoutRow] | None:
    """Return the texts of a document that is a list of them."""
    return _layout_rows({"text": text} for text in document) if _are_texts(document) else None


def _layout_rows(rows: Iterable[Record], split: str | None = None) -> Iterator[LayoutRow]:
    return (LayoutRow(row, split) for row in rows)


def _intents(document: Any) -> Iterator[LayoutRow] | None:
    """Read chatbots' intents.json: a tag with its patterns, each of which is an example."""
    entries = document.get("intents", document) if isinstance(document, dict) else document
    if isinstance(entries, dict):
        entries = [{"tag": tag, **own} for tag, own in entries.items() if isinstance(own, dict)]
    if not _are_objects(entries):
        return None
    keys = [_intent_keys(entry) for entry in entries]
    if None in keys or not any(
        entry[key[1]] for entry, key in zip(entries, keys, strict=True) if key
    ):
        return None
    return _layout_rows(_of_intents(entries))


def _intent_keys(entry: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return the keys of the tag and of its patterns, of which there may be none."""
    tag = next((name for name in TAGS if isinstance(entry.get(name), str)), None)
    texts = next((name for name in PATTERNS if isinstance(entry.get(name), list)), None)
    is_answered = any(candidates(part, list(entry)) for part in ("completion", "summary"))
    if tag is None or texts is None or is_answered:
        return None
    odd = [text for text in entry[texts] if not isinstance(text, str)]
    return None if len(odd) * 2 > len(entry[texts]) else (tag, texts)


def _of_intents(entries: Sequence[Mapping[str, Any]]) -> Iterator[Record]:
    for entry in entries:
        keys = _intent_keys(entry)
        assert keys is not None
        rest = {key: value for key, value in entry.items() if key not in keys}
        for text in entry[keys[1]]:  # one that is no text is rejected
            yield {"text": text if isinstance(text, str) else None, "label": entry[keys[0]], **rest}


def _rasa_json(document: Any) -> Iterator[LayoutRow] | None:
    inner = document.get("rasa_nlu_data") if isinstance(document, dict) else None
    examples = inner.get("common_examples") if isinstance(inner, dict) else None
    return _layout_rows(dict(one) for one in examples) if _are_objects(examples) else None


def _rasa_yaml(document: Any) -> Iterator[LayoutRow] | None:
    found = nlu.records(document)
    return None if found is None else _layout_rows(found)


def _chatterbot(document: Any) -> Iterator[LayoutRow] | None:
    """Read ChatterBot's corpora: lists of texts in which two sides take turns."""
    talks = document.get("conversations") if isinstance(document, dict) else None
    if not isinstance(talks, list) or not talks or not all(map(_are_texts, talks)):
        return None
    return _layout_rows({"messages": list(talk)} for talk in talks)


def _squad(document: Any) -> Iterator[LayoutRow] | None:
    """Read SQuAD: articles with paragraphs with questions; those without an answer go."""
    articles = document.get("data") if isinstance(document, dict) else document
    if not _are_objects(articles) or not any("paragraphs" in article for article in articles):
        return None
    paragraphs = _inner(articles, "paragraphs")
    questions = None if paragraphs is None else _inner(paragraphs, "qas")
    if questions is None:
        return None
    return _layout_rows(
        {**asked, "answers": _answers(asked)} if "question" in asked else asked
        for asked in questions
    )


def _inner(rows: Sequence[Record], key: str) -> list[Record] | None:
    """Return the objects that rows hold under a key, each with the plain values of its row.

    A row that holds none stays as it is; None where something else stands there.
    """
    found: list[Record] = []
    for row in rows:
        held = row.get(key)
        if held is not None and held != [] and not _are_objects(held):
            return None
        outer = {name: value for name, value in row.items() if name != key}
        found += [{**outer, **one} for one in held] if held else [outer]
    return found


def _answers(asked: Mapping[str, Any]) -> Record:
    given = asked.get("answers")
    given = given if isinstance(given, list) else []
    texts = [one.get("text") for one in given if isinstance(one, dict)]
    return {"text": [] if asked.get("is_impossible") else [text for text in texts if text]}


def _label_studio(document: Any) -> Iterator[LayoutRow] | None:
    """Read tasks of Label Studio whose annotations are choices."""
    if not _are_objects(document) or not all(
        isinstance(task.get("data"), dict) and ("annotations" in task or "completions" in task)
        for task in document
    ):
        return None
    return _layout_rows({**task["data"], "label": _choices(task)} for task in document)


def _choices(task: Mapping[str, Any]) -> list[str]:
    found: dict[str, None] = {}
    for annotation in _objects(task.get("annotations") or task.get("completions")):
        if annotation.get("was_cancelled"):
            continue
        for result in _objects(annotation.get("result")):
            value = result.get("value")
            choices = value.get("choices") if isinstance(value, dict) else None
            choices = [choices] if isinstance(choices, str) else choices
            found.update(dict.fromkeys(map(str, choices if isinstance(choices, list) else ())))
    return list(found)


def _objects(value: Any) -> list[Record]:
    """Return the objects of a list; of anything else none."""
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _snips(document: Any) -> Iterator[LayoutRow] | None:
    """Read SNIPS: an intent with texts in pieces."""
    if not isinstance(document, dict) or not document:
        return None
    for texts in document.values():
        if not _are_objects(texts) or not all(_are_objects(text.get("data")) for text in texts):
            return None
    return _layout_rows(
        {"text": "".join(str(piece.get("text", "")) for piece in text["data"]), "label": intent}
        for intent, texts in document.items()
        for text in texts
    )


def _splits(document: Any) -> Iterator[LayoutRow] | None:
    """Read an object whose keys are splits."""
    if not isinstance(document, dict) or not document:
        return None
    names = {key: split_named(key) for key in document}
    if None in names.values() or not all(isinstance(rows, list) for rows in document.values()):
        return None
    are_objects = all(_are_objects(rows) for rows in document.values() if rows)
    keys = None
    if not are_objects:
        keys = _pair_names([pair for rows in document.values() for pair in rows])
        if keys is None:
            return None
    return (
        LayoutRow(dict(zip(keys, row, strict=True)) if keys else dict(row), names[split] or None)
        for split, rows in document.items()
        for row in rows
    )


def split_named(key: str) -> str | None:
    """Return the split that a key names, empty for train; `oos_test` is one of test."""
    words = key.casefold().replace("-", "_").split("_")
    return next((SPLIT_NAMES[word] for word in reversed(words) if word in SPLIT_NAMES), None)


def _pairs(document: Any) -> Iterator[LayoutRow] | None:
    """Read a list of pairs."""
    keys = _pair_names(document) if isinstance(document, list) else None
    if keys is None:
        return None
    return _layout_rows(dict(zip(keys, pair, strict=True)) for pair in document)


def _pair_names(pairs: Sequence[Any]) -> tuple[str, str] | None:
    """Return what the two of every pair are: text and label, or prompt and completion."""
    if not pairs or not all(_are_texts(pair) and len(pair) == 2 for pair in pairs):
        return None
    if all(folded(pair[0]) in ROLE_NAMES for pair in pairs):
        return None  # the turns of one conversation
    first, second = (look_of([pair[side] for pair in pairs]) for side in (0, 1))
    if second == "label" or (first == "text" and len(pairs) < 2):
        return "text", "label"
    return ("label", "text") if first == "label" else ("prompt", "completion")


def _talks(document: Any) -> Iterator[LayoutRow] | None:
    """Read conversations in a list, or under their ids, that are lists of turns."""
    if isinstance(document, dict) and not document.keys().isdisjoint(CONVERSATIONS):
        return None  # a single one
    talks = list(document.values()) if isinstance(document, dict) else document
    if not isinstance(talks, list) or not talks or not all(map(_is_talk, talks)):
        return None
    return _layout_rows({"messages": talk} for talk in talks)


def _is_talk(value: Any) -> bool:
    return _are_objects(value) and all(
        any(str(key).casefold() in SPEAKERS for key in turn) for turn in value
    )


def _columns(document: Any) -> Iterator[LayoutRow] | None:
    """Read columns: equally long lists under names that mean something, or pandas' objects."""
    if not isinstance(document, dict) or len(document) < 2:
        return None
    names, rows = document.get("columns"), document.get("data")
    if _are_texts(names) and isinstance(rows, list):
        if not all(isinstance(row, list) and len(row) == len(names) for row in rows):
            return None
        return _layout_rows(dict(zip(unique(names), row, strict=True)) for row in rows)
    columns = list(document.values())
    if all(isinstance(column, dict) for column in columns):
        numbered = all(str(key).isdecimal() for key in columns[0])
        if not columns[0] or not numbered or any(c.keys() != columns[0].keys() for c in columns):
            return None
        columns = [list(column.values()) for column in columns]
    is_long = all(isinstance(c, list) and len(c) == len(columns[0]) for c in columns)
    is_long = is_long and not any(_are_objects(column) for column in columns)
    if not is_long or not columns[0] or not _mean_something(list(document)):
        return None
    return _layout_rows(dict(zip(document, row, strict=True)) for row in zip(*columns, strict=True))


def _by_label(document: Any) -> Iterator[LayoutRow] | None:
    """Read an object of label -> texts."""
    if not isinstance(document, dict) or len(document) < 2:
        return None
    if not all(_are_texts(texts) for texts in document.values()):
        return None
    every = [text for own in document.values() for text in own]
    if sum(len(text.split()) > 1 for text in every) * 2 < len(every):
        return None  # names, no texts
    return _layout_rows(
        {"text": text, "label": label} for label, own in document.items() for text in own
    )


def _objects_by_key(document: Any) -> Iterator[LayoutRow] | None:
    """Read an object of key -> object, where the objects mean something."""
    if not isinstance(document, dict) or not document:
        return None
    rows = list(document.values())
    if not all(isinstance(row, dict) for row in rows):
        return None
    common = set.intersection(*(set(row) for row in rows))
    if not _mean_something(list(common)):
        return None
    return _layout_rows({"key": key, **row} for key, row in document.items())


def _answers_by_question(document: Any) -> Iterator[LayoutRow] | None:
    """Read an object of text -> text: questions with answers, or texts with labels."""
    if not isinstance(document, dict) or len(document) < 3:
        return None
    if not all(isinstance(value, str) for value in document.values()):
        return None
    if sum(len(key.split()) > 1 for key in document) * 2 < len(document):
        return None  # names of settings
    answer = "label" if look_of(list(document.values())) == "label" else "completion"
    return _layout_rows({"prompt": key, answer: value} for key, value in document.items())


def _nested(document: Any) -> Iterator[LayoutRow] | None:
    """Read objects that mean nothing, but hold one list each of objects that do."""
    rows = document
    if isinstance(document, dict):
        lists = [value for value in document.values() if _are_objects(value)]
        rows = lists[0] if len(lists) == 1 else None
    if not _are_objects(rows) or any(_mean_something(list(row)) for row in rows[:5]):
        return None
    keys = {key for row in rows for key, value in row.items() if _are_objects(value)}
    if len(keys) != 1:
        return None
    (key,) = keys
    first = next(row[key][0] for row in rows if row.get(key))
    if not _mean_something(list(first)):
        return None
    inner = _inner(rows, key)
    return None if inner is None else _layout_rows(inner)


def _one_of_several(document: Any) -> Iterator[LayoutRow] | None:
    """Read an object whose lists of objects mean nothing but for one; the others are told."""
    if not isinstance(document, dict):
        return None
    lists = {key: rows for key, rows in document.items() if _are_objects(rows)}
    own = [key for key, rows in lists.items() if _mean_something(list(rows[0]))]
    if len(own) != 1 or (len(lists) == 1 and own[0] not in CONVERSATIONS):
        return None  # a single list is read piece by piece
    if _is_talk(lists[own[0]]):
        return None  # the turns of one conversation
    others = dict.fromkeys(key for key in lists if key != own[0])
    return _layout_rows({**others, **row} for row in lists[own[0]])


LAYOUTS: tuple[Callable[[Any], Iterator[LayoutRow] | None], ...] = (
    _intents,
    _rasa_json,
    _rasa_yaml,
    _chatterbot,
    _squad,
    _label_studio,
    _snips,
    _splits,
    _pairs,
    _talks,
    _columns,
    _by_label,
    _objects_by_key,
    _answers_by_question,
    _one_of_several,
    _nested,
)


def _mean_something(names: Sequence[str]) -> bool:
    """Tell whether columns of these names are an example."""
    return isinstance(detect([str(name) for name in names], {}, "chat"), Shape)


def _are_objects(value: Any) -> TypeGuard[list[Record]]:
    return isinstance(value, list) and bool(value) and all(isinstance(one, dict) for one in value)


def _are_texts(value: Any) -> TypeGuard[list[str]]:
    return isinstance(value, list) and bool(value) and all(isinstance(one, str) for one in value)
