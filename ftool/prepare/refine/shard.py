"""What became of a unit of work, on disk: examples as columns, their numbers, refused rows."""

import json
import os
import shutil
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow
import xxhash
from pyarrow import ipc

from ftool.artifacts import read_json, write_json
from ftool.errors import RunError
from ftool.example import SPLITS, Example, Message
from ftool.keys import answer_key, answers_freely, asked_text, compared_texts, keys_of
from ftool.prepare.read.rows import Finding, Row
from ftool.prepare.refine.clean import RULES
from ftool.prepare.refine.minhash import bands, shape
from ftool.prepare.refine.words import SHINGLE_WORDS, flat_words

if TYPE_CHECKING:
    from numpy.typing import NDArray

ABOUT, EXAMPLES, REJECTED = "about.json", "examples.arrow", "rejected.jsonl"
NUMBERS, WORDS = "numbers.npz", "words.npy"
FILES = (EXAMPLES, NUMBERS, WORDS, REJECTED)
PARTIAL = ".partial"
CLEANING = (*RULES, "personal_data")
"""What may have changed an example: a bit each in the column `cleaned`."""
MESSAGE_FIELDS = ("role", "content", "name", "tool_calls", "tool_call_id", "reasoning_content")


def columns(kind: str) -> pyarrow.Schema:
    """Return the columns of prepared examples with their types."""
    text = pyarrow.string()
    fields = [*((name, text) for name in MESSAGE_FIELDS), ("learned", pyarrow.bool_())]
    message = pyarrow.struct(fields)
    content = {
        "chat": [("messages", pyarrow.list_(message)), ("tools", pyarrow.list_(text))],
        "text": [("text", text)],
    }
    about = [("label", text), ("group", text), ("source", text), ("line", pyarrow.int64())]
    return pyarrow.schema([("id", text), *content[kind], *about, ("extra", text)])


def rejected_record(
    source: str, line: int, finding: Finding, raw: Any, *, twin: str | None = None
) -> dict[str, Any]:
    """Return the line of rejected.jsonl for a row that goes."""
    return {
        "source": source,
        "line": line,
        "reason": finding.reason,
        "detail": finding.detail,
        "value": finding.value,
        "threshold": finding.threshold,
        "twin": twin,
        "raw": raw,
    }


@dataclass(slots=True)
class ShardWriter:
    """Collects what becomes of the rows of a unit.

    `near` is the similarity from which rows are alike, None where nobody asks.
    """

    kind: str
    near: float | None
    examples: list[Example] = field(default_factory=list)
    raws: list[str] = field(default_factory=list)
    places: list[int] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    splits: list[int] = field(default_factory=list)
    cleaned: list[int] = field(default_factory=list)
    personal_data: Counter[str] = field(default_factory=Counter)
    redacted_rows: int = 0
    is_table: bool = False
    refused: list[tuple[int, dict[str, Any]]] = field(default_factory=list)
    refused_labels: dict[str, Counter[str]] = field(default_factory=dict)

    def keep(
        self,
        place: int,
        row: Row,
        example: Example,
        tokens: int,
        cleaned: Collection[str] = (),
    ) -> None:
        """Take an example that nothing speaks against so far, and the rules that changed it."""
        self.examples.append(example)
        self.is_table = not isinstance(row.raw, str)
        self.raws.append(_json(row.raw) if self.is_table else row.raw)
        self.places.append(place)
        self.tokens.append(tokens)
        self.splits.append(SPLITS.index(row.split) if row.split else -1)
        self.cleaned.append(sum(1 << CLEANING.index(rule) for rule in cleaned))

    def reject(self, place: int, row: Row, source: str, finding: Finding) -> None:
        """Take note of a row that goes, and why."""
        self.refused.append((place, rejected_record(source, row.line, finding, row.raw)))
        if finding.label is not None:
            self.refused_labels.setdefault(finding.label, Counter())[finding.reason] += 1

    def write(self, folder: Path, rows: int, about: Mapping[str, Any]) -> None:
        """Write the shard beside its place and rename it: a folder of that name is complete."""
        # The number keeps apart what a process of a killed call may still write.
        partial = folder.with_name(f"{folder.name}.{os.getpid()}{PARTIAL}")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        self._write_examples(partial / EXAMPLES)
        labels = sorted({example.label for example in self.examples if example.label is not None})
        numbers = self._numbers(labels)
        np.save(partial / WORDS, numbers.pop("words"))
        np.savez(partial / NUMBERS, **numbers)  # type: ignore[arg-type]
        _write_refused(partial / REJECTED, self.refused)
        content = {
            "rows": rows,
            "kept": len(self.examples),
            "refused": Counter(record["reason"] for _, record in self.refused),
            "labels": labels,
            "refused_labels": self.refused_labels,
            "personal_data": dict(sorted(self.personal_data.items())),
            "redacted_rows": self.redacted_rows,
            "is_table": self.is_table,
            "bands": shape(self.near)[0] if self.near is not None else 0,
        }
        files = {name: _digest(partial / name) for name in FILES}
        write_json(partial / ABOUT, {**content, **about, "files": files})
        shutil.rmtree(folder, ignore_errors=True)
        partial.rename(folder)

    def _write_examples(self, path: Path) -> None:
        schema = columns(self.kind).append(pyarrow.field("raw", pyarrow.string()))
        arrays = [*_arrays(self.examples, self.kind), pyarrow.array(self.raws, pyarrow.string())]
        table = pyarrow.Table.from_arrays(arrays, schema=schema)
        with ipc.new_file(path, schema, options=ipc.IpcWriteOptions(compression="lz4")) as file:
            file.write_table(table)

    def _numbers(self, labels: Sequence[str]) -> dict[str, "NDArray[Any]"]:
        examples = self.examples
        codes = {label: code for code, label in enumerate(labels)}
        keys = [keys_of(example) for example in examples]
        compared = _compared(examples)
        numbers: dict[str, NDArray[Any]] = {
            "content": _keys([found.content for found in keys]),
            "prompt": _keys([found.prompt for found in keys])[:, 0],
            "unit": _keys([found.unit for found in keys]),
            "label": np.array(
                [-1 if e.label is None else codes[e.label] for e in examples], np.int32
            ),
            "line": np.array([example.line for example in examples], np.int64),
            "place": np.array(self.places, np.int32),
            "characters": np.array([_characters(example) for example in examples], np.uint32),
            "turns": np.array([_turns(example) for example in examples], np.uint16),
            "tokens": np.array(self.tokens, np.int32),
            "split": np.array(self.splits, np.int8),
            "cleaned": np.array(self.cleaned, np.uint8),
            **compared,
        }
        if self.near is not None:
            columns_of_bands = bands(compared["words"], compared["lengths"], self.near)
            numbers |= {f"band_{band}": column for band, column in enumerate(columns_of_bands)}
        return numbers


def _compared(examples: Sequence[Example]) -> "dict[str, NDArray[Any]]":
    """Return the words by which examples are compared, how many each has, and how many answer.

    `answer` is a key of answers that are too short to be compared by their words.
    """
    if not any(map(answers_freely, examples)):
        words, lengths = flat_words(map(asked_text, examples))
        nothing = {"answers": np.int32, "answer": np.uint64}
        zeros = {name: np.zeros(len(examples), kind) for name, kind in nothing.items()}
        return {"words": words, "lengths": lengths, **zeros}
    words, of_texts = flat_words(chain.from_iterable(map(compared_texts, examples)))
    answers = of_texts[1::2]
    keys = [
        answer_key(example) if count < SHINGLE_WORDS else 0
        for example, count in zip(examples, answers.tolist(), strict=True)
    ]
    return {
        "words": words,
        "lengths": of_texts.reshape(-1, 2).sum(axis=1),
        "answers": answers.astype(np.int32),
        "answer": np.array(keys, np.uint64),
    }


def _digest(path: Path) -> str:
    digest = xxhash.xxh3_64()
    with path.open("rb") as file:
        while chunk := file.read(2**22):
            digest.update(chunk)
    return digest.hexdigest()


def _keys(digests: Sequence[bytes]) -> "NDArray[np.uint64]":
    return np.frombuffer(b"".join(digests), np.uint64).reshape(-1, 2)


def _characters(example: Example) -> int:
    return len(example.text or "") + sum(len(message.content) for message in example.messages)


def _turns(example: Example) -> int:
    return min(sum(message.role != "system" for message in example.messages), 2**16 - 1)


def _json(value: Any) -> str:
    """Return a raw value as JSON, in which NaN and infinity can only stand as text."""
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, default=str)
    except ValueError:
        text = json.dumps(value, ensure_ascii=False, default=str)
        return json.dumps(json.loads(text, parse_constant=str), ensure_ascii=False)


def _write_refused(path: Path, refused: Sequence[tuple[int, Mapping[str, Any]]]) -> None:
    """Write refused rows with their places; bytes that are no characters stand escaped."""
    with path.open("w", encoding="utf-8", errors="backslashreplace", newline="\n") as file:
        for place, record in refused:
            file.write(f"{place}\t{_json(record)}\n")


def _arrays(examples: Sequence[Example], kind: str) -> list[pyarrow.Array]:
    """Return the columns of examples; nested ones are put together from flat lists."""
    text = pyarrow.string()
    about = [
        pyarrow.array([example.label for example in examples], text),
        pyarrow.array([example.group for example in examples], text),
        pyarrow.array([example.source for example in examples], text),
        pyarrow.array([example.line for example in examples], pyarrow.int64()),
        pyarrow.array(
            [_sorted_json(example.extra) if example.extra else "{}" for example in examples], text
        ),
    ]
    ids = pyarrow.array([example.id for example in examples], text)
    if kind == "text":
        return [ids, pyarrow.array([example.text for example in examples], text), *about]
    tools = [[_sorted_json(tool) for tool in example.tools] for example in examples]
    return [ids, _messages(examples), pyarrow.array(tools, pyarrow.list_(text)), *about]


def _sorted_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True)


def _messages(examples: Sequence[Example]) -> pyarrow.Array:
    every = [message for example in examples for message in example.messages]
    ends = np.cumsum([0, *(len(example.messages) for example in examples)], dtype=np.int32)
    fields = {
        "role": [message.role for message in every],
        "content": [message.content for message in every],
        "name": [message.name for message in every],
        "tool_calls": [_calls(message) for message in every],
        "tool_call_id": [message.tool_call_id for message in every],
        "reasoning_content": [message.reasoning_content for message in every],
    }
    flat = [pyarrow.array(values, pyarrow.string()) for values in fields.values()]
    flat.append(pyarrow.array([message.learned for message in every], pyarrow.bool_()))
    structs = pyarrow.StructArray.from_arrays(flat, names=[*fields, "learned"])
    return pyarrow.ListArray.from_arrays(pyarrow.array(ends), structs)


def _calls(message: Message) -> str | None:
    calls = message.tool_calls
    return json.dumps([dict(call) for call in calls], ensure_ascii=False) if calls else None


@dataclass(frozen=True, slots=True)
class Shard:
    """A finished shard; its parts are read when asked for."""

    path: Path
    about: Mapping[str, Any]

    @classmethod
    def open(cls, path: Path) -> "Shard":
        """Read what a shard says of itself."""
        return cls(path, read_json(path / ABOUT))

    @classmethod
    def is_sound(cls, path: Path) -> bool:
        """Tell whether a shard is there, and as it was written."""
        try:
            files = cls.open(path).about["files"]
            return all(_digest(path / name) == files[name] for name in FILES)
        except (RunError, OSError, KeyError, TypeError):
            return False

    def numbers(self, *names: str) -> "tuple[NDArray[Any], ...]":
        """Return arrays of numbers, one entry per example."""
        with np.load(self.path / NUMBERS) as stored:
            return tuple(stored[name] for name in names)

    def words(self) -> "NDArray[np.uint32]":
        """Return the words of all examples; only those that are looked at are read."""
        return np.load(self.path / WORDS, mmap_mode="r")  # type: ignore[no-any-return]

    def examples(self) -> pyarrow.Table:
        """Return the examples, with the raw row of each."""
        with ipc.open_file(self.path / EXAMPLES) as file:
            return file.read_all()

    def refused(self) -> Iterator[tuple[int, str]]:
        """Yield the place of each refused row in its unit, and its line of rejected.jsonl."""
        with (self.path / REJECTED).open(encoding="utf-8") as file:
            for line in file:
                place, _, record = line.partition("\t")
                yield int(place), record
