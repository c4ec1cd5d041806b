"""Read JSON Lines, and JSON documents element by element."""

import json
import re
from collections.abc import Iterator
from typing import Any, TextIO

from ftool.errors import DataError
from ftool.prepare.read.encoding import MAX_LINE, Line, unreadable
from ftool.prepare.read.rows import Row, Unusable

MAX_DEPTH = 100
"""Deepest nesting of lists and objects in a row."""
CONVERSATIONS = ("messages", "conversations")
"""Lists of objects that are one row's conversation, not a list of rows."""

_PYTHON = re.compile(r"[\[{]+\s*'")
"""How Python writes an object, with marks that JSON does not know."""
_SPACE = re.compile(r"[ \t\r\n]*")
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_STRINGS_AND_BRACKETS = re.compile(r'"(?:[^"\\]|\\.)*+"?|[][{}]', re.DOTALL)
_CHUNK = 1 << 20
TOO_DEEP = f"nested more than {MAX_DEPTH} levels"


def is_too_deep(text: str) -> bool:
    """Tell by the brackets of a JSON text, for how deep a decoder goes differs with Python."""
    if text.count("[") + text.count("{") <= MAX_DEPTH:
        return False
    depth = 0
    for sign in _STRINGS_AND_BRACKETS.findall(text):
        depth += (sign in "[{") - (sign in "]}")
        if depth > MAX_DEPTH:
            return True
    return False


class _Decoder:
    """A JSON decoder that remembers repeated keys and reads NaN and Infinity as null."""

    def __init__(self) -> None:
        self.repeated: list[str] = []
        self._json = json.JSONDecoder(
            object_pairs_hook=self._object, parse_constant=lambda _: None, strict=False
        )

    def _object(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        values = dict(pairs)
        if len(values) < len(pairs):
            names = [name for name, _ in pairs]
            self.repeated += [name for name in values if names.count(name) > 1]
        return values

    def decode(self, text: str, start: int) -> tuple[Any, int]:
        """Return the value at a place and where it ends.

        Raises:
            Unusable: it is broken, or nested too deep for the decoder.
        """
        self.repeated.clear()
        try:
            return self._json.raw_decode(text, start)
        except RecursionError as error:
            raise Unusable("too_deep", TOO_DEEP) from error
        except json.JSONDecodeError as error:
            place = error.pos - start + 1
            if _PYTHON.match(text, start):
                raise Unusable("single_quotes", f"character {place}: {error.msg}") from error
            raise Unusable("broken_json", f"character {place}: {error.msg}") from error
        except ValueError as error:  # such as a number of thousands of digits
            raise Unusable("broken_json", str(error)) from error

    def row(self, line: int, raw: str, value: Any) -> Row:
        """Return the row that the value decoded last is."""
        problem = unreadable(raw) or self.problem(raw, value)
        if problem:
            return Row(line, raw, reason=problem[0], detail=problem[1])
        return Row(line, raw, value)

    def problem(self, raw: str, value: Any) -> tuple[str, str] | None:
        """Return reason and detail where the value decoded last, of a readable text, is no row."""
        if not isinstance(value, dict):
            return "not_an_object", f"a row is an object {{...}}, this is {_kind(value)}"
        if not value:
            return "empty_row", ""
        if self.repeated:
            return "duplicate_key", f"`{self.repeated[0]}` is given twice"
        if raw.count("[") + raw.count("{") > MAX_DEPTH and _depth(value) > MAX_DEPTH:
            return "too_deep", TOO_DEEP
        if _SURROGATE.search(raw) and _has_lone_surrogate(value):
            return "lone_surrogate", "half of a character pair stands alone"
        return None


def read_json_lines(lines: Iterator[Line]) -> Iterator[Row]:
    """Yield one row a line."""
    decoder = _Decoder()
    for number, line in lines:
        raw = line.strip()
        yield _line_row(decoder, number, raw) if raw else Row(number, raw, reason="empty_row")


def _line_row(decoder: _Decoder, number: int, raw: str) -> Row:
    value: Any = None
    problem = unreadable(raw)
    if problem is None and is_too_deep(raw):
        problem = ("too_deep", TOO_DEEP)
    if problem is None:
        try:
            value, end = decoder.decode(raw, 0)
        except Unusable as why:
            problem = (why.reason, why.detail)
        else:
            behind = f"character {end + 1}: more behind the end"
            problem = ("broken_json", behind) if end < len(raw) else decoder.problem(raw, value)
    if problem is not None:
        return Row(number, raw, reason=problem[0], detail=problem[1])
    return Row(number, raw, value)


def is_one_a_line(file: TextIO) -> bool:
    """Tell whether the first object of a file of JSON Lines ends with its line; rewinds it."""
    first = next((line for line in iter(lambda: file.readline(_CHUNK), "") if line.strip()), "")
    file.seek(0)
    if first.lstrip("\ufeff \t")[:1] == "[":
        return False
    return len(first) >= _CHUNK or first.rstrip().rstrip(",")[-1:] == "}" or "{" not in first


def holds_lines(file: TextIO) -> bool:
    """Tell whether a .json file holds one object a line; rewinds it."""
    starts = (line.rstrip() for line in iter(lambda: file.readline(_CHUNK), "") if line.strip())
    first, second = next(starts, ""), next(starts, "")
    file.seek(0)
    return first.startswith("{") and first.endswith("}") and second.startswith("{")


def read_json(file: TextIO) -> Iterator[Row]:
    """Yield the rows of a document: a list of objects, an object that holds one, or one object.

    Objects may also stand one behind the other.

    The document is read piece by piece. Behind a broken element reading goes on at the next one
    that stands on a line of its own with the same indentation; where there is none, the rest is
    one row with the reason `unreadable_rest`.

    Raises:
        DataError: it holds more than one list of objects.
    """
    text = _Text(file)
    start = text.peek()
    if start == "[":
        text.skip()
        yield from _elements(text)
    elif start == "{":
        text.skip()
        yield from _object(text)
        line = text.line
        while text.peek() == "{":
            line = max(text.line, line + 1)
            try:
                raw, value = text.value()
            except Unusable as why:
                yield text.rest(why.detail)
                return
            yield text.decoder.row(line, raw, value)
    if text.peek():
        yield text.rest("behind the end of the document")


def _object(text: "_Text") -> Iterator[Row]:
    """Yield the rows of the one list of objects in an object, or the object itself."""
    line, others, lists, repeated = text.line, {}, [], ""
    while text.peek() == '"':
        try:
            _, key = text.value()
            if text.peek() != ":":
                break
            text.skip()
            if text.peek() == "[" and key not in CONVERSATIONS and text.peek_second() == "{":
                lists.append(key)
                if len(lists) > 1:
                    names = " and ".join(f"`{name}`" for name in lists)
                    raise DataError(
                        f"holds several lists of objects: {names}",
                        hint="put each list into a file of its own",
                    )
                text.skip()
                yield from _elements(text)
            else:
                repeated = key if key in others else repeated
                others[key] = text.value()[1]
        except Unusable as why:
            yield text.rest(why.detail)
            return
        if text.peek() == ",":
            text.skip()
    if text.peek() != "}":
        yield text.rest("the object is broken or not closed")
        return
    text.skip()
    if repeated:
        raw = json.dumps(others, ensure_ascii=False)
        yield Row(line, raw, reason="duplicate_key", detail=f"`{repeated}` is given twice")
    elif not lists:
        yield text.decoder.row(line, json.dumps(others, ensure_ascii=False), others)


def _elements(text: "_Text") -> Iterator[Row]:
    """Yield the elements of a list; of several on one line, each counts as a line of its own."""
    line = 0
    while text.peek() not in {"]", ""}:
        line, indent = max(text.line, line + 1), text.indent
        try:
            raw, value = text.value()
        except Unusable as why:
            row = text.skip_to_next(indent, why.reason, why.detail)
            yield row
            if row.reason == "unreadable_rest":
                return
            continue
        yield text.decoder.row(line, raw, value)
        if text.peek() == ",":
            text.skip()
        elif text.peek() not in {"]", "{"}:
            yield text.rest("no comma behind the element")
            return
    if text.peek() == "]":
        text.skip()
    else:
        yield text.rest("the list is not closed")


class _Text:
    """A JSON text read in pieces: the place in it, its line, and the indentation there."""

    def __init__(self, file: TextIO) -> None:
        self.decoder = _Decoder()
        self.line = 1
        self.indent: str | None = None
        self._file = file
        self._text = ""
        self._at = 0

    def _more(self) -> bool:
        piece = self._file.read(_CHUNK)
        self._text = self._text[self._at :] + piece
        self._at = 0
        return bool(piece)

    def _advance(self, end: int) -> None:
        self.line += self._text.count("\n", self._at, end)
        self._at = end

    def _next_place(self, start: int) -> int:
        """Return where the next character that is no white space stands, as far as is read."""
        match = _SPACE.match(self._text, start)
        return match.end() if match else start

    def peek(self) -> str:
        """Skip white space and return the character there, or nothing at the end."""
        place = self._next_place(self._at)
        while place == len(self._text) and self._more():
            place = self._next_place(self._at)
        skipped = self._text[self._at : place]
        if "\n" in skipped:
            self.indent = skipped.rpartition("\n")[2]
        elif skipped:
            self.indent = None
        self._advance(place)
        return self._text[place : place + 1]

    def peek_second(self) -> str:
        """Return the character behind the one here, without white space between."""
        place = self._next_place(self._at + 1)
        while place == len(self._text) and self._more():
            place = self._next_place(self._at + 1)
        return self._text[place : place + 1]

    def skip(self) -> None:
        """Go behind the character here."""
        self._at += 1
        self.indent = None

    def value(self) -> tuple[str, Any]:
        """Return the text and value of what stands here, and go behind it.

        Raises:
            Unusable: it is broken, also when more of the file is read.
        """
        while True:
            try:
                value, end = self.decoder.decode(self._text, self._at)
            except Unusable as why:
                too_long = len(self._text) - self._at > MAX_LINE
                if why.reason == "too_deep" or too_long or not self._more():
                    raise
                continue
            # A number may go on in the next piece.
            if self._text[end - 1] in '}]"' or end < len(self._text) or not self._more():
                raw = self._text[self._at : end]
                self._advance(end)
                self.indent = None
                return raw, value

    def skip_to_next(self, indent: str | None, reason: str, detail: str) -> Row:
        """Go to the next element on a line of its own, and return what was skipped as a row."""
        if indent is None:
            return self.rest(detail)
        start = re.compile(rf"\n{indent}(?={{)")
        match = start.search(self._text, self._at)
        while match is None and self._more():
            match = start.search(self._text, self._at)
        if match is None:
            return self.rest(detail)
        line, raw = self.line, self._text[self._at : match.start()].rstrip(", \t\r\n")
        self._advance(match.end())
        self.indent = indent
        return Row(line, raw, reason=(unreadable(raw) or (reason,))[0], detail=detail)

    def rest(self, detail: str) -> Row:
        """Return all that is left as one unreadable row."""
        while self._more():
            pass
        line, raw = self.line, self._text[self._at :]
        self._advance(len(self._text))
        return Row(line, raw, reason="unreadable_rest", detail=detail)


def _kind(value: Any) -> str:
    names: dict[type, str] = {list: "a list", str: "a text", bool: "true or false"}
    return "null" if value is None else names.get(type(value), "a number")


def _depth(value: Any) -> int:
    depth, level = 0, [value]
    while level:
        depth += 1
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
    return depth


def _has_lone_surrogate(value: Any) -> bool:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return True
    return False
