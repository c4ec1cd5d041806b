"""HTML to text, by selectolax where it is installed, else by the standard library."""

import importlib.metadata
import importlib.util
import re
from functools import cache
from html.parser import HTMLParser
from typing import Any

_BLOCKS = frozenset(
    re.findall(
        r"\w+",
        "address article blockquote br dd div dl dt footer form h1 h2 h3 h4 h5 h6 header hr li main"
        " nav ol p pre section table tr ul",
    )
)
_HIDDEN = frozenset(("script", "style", "head", "title", "template"))
_INLINE = frozenset(
    re.findall(
        r"\w+",
        "a abbr b body button center cite code em font html i img input kbd label link meta s small"
        " span strong sub sup tbody td tfoot th thead u video",
    )
)
_TAGS = _BLOCKS | _HIDDEN | _INLINE
_START_TAG = re.compile(r"<([a-z][a-z0-9]*)(\s[^<>]*)?/?>")
_END_TAG = re.compile(r"</([a-z][a-z0-9]*)\s*>")
_NO_TAG = re.compile(r"<(?=/?([A-Za-z][^\s/>]*))")


@cache
def html_reader() -> str:
    """Return which library reads HTML, with its version: broken HTML means more than one thing."""
    if importlib.util.find_spec("selectolax") is None:
        return "html.parser"
    return f"selectolax {importlib.metadata.version('selectolax')}"


def has_html(text: str) -> bool:
    """Tell whether a text holds a real tag.

    An inline tag alone, such as `<b>` or `<label>`, may be a placeholder or a type parameter: it
    needs its end tag or an attribute.
    """
    if "<" not in text:
        return False
    lower = text.lower()
    ended = set(_END_TAG.findall(lower))
    return any(
        name in _BLOCKS or (name in _TAGS and (name in ended or "=" in attributes))
        for name, attributes in _START_TAG.findall(lower)
    )


def strip_html(text: str) -> str:
    """Turn HTML into text with line breaks for blocks; what is no HTML tag stays as written."""
    return _by_standard_library(text) if html_reader() == "html.parser" else _by_selectolax(text)


class _Lines:
    """Text in which blocks begin and end lines."""

    def __init__(self) -> None:
        self.parts: list[str] = []

    def start(self, tag: str) -> None:
        """Take note of the start of an element."""
        if tag in _BLOCKS:
            self.end_line(tag)
        elif tag in {"td", "th"}:
            self.parts.append(" ")

    def end_line(self, tag: str) -> None:
        """Begin a new line, unless one has just begun; `br` always breaks."""
        if tag == "br" or not "".join(self.parts[-2:]).endswith("\n"):
            self.parts.append("\n")


def _by_selectolax(text: str) -> str:
    from selectolax.lexbor import LexborHTMLParser

    def shown(found: re.Match[str]) -> str:
        return "<" if found[1].lower() in _TAGS else "&lt;"

    lines = _Lines()
    node: Any = LexborHTMLParser(_NO_TAG.sub(shown, text)).body
    depth = 0
    while node is not None:  # down, along and up again: no nesting is too deep
        tag = node.tag
        if tag == "-text":
            lines.parts.append(node.text_content or "")
        elif tag not in _HIDDEN:
            lines.start(tag)
            if node.child is not None:
                node, depth = node.child, depth + 1
                continue
            _leave(lines, tag)
        while node.next is None and depth > 0:
            node, depth = node.parent, depth - 1
            _leave(lines, node.tag)
        node = node.next if depth > 0 else None
    return "".join(lines.parts)


def _leave(lines: _Lines, tag: str) -> None:
    if tag in _BLOCKS and tag not in {"br", "hr"}:  # those two have no end
        lines.end_line(tag)


def _by_standard_library(text: str) -> str:
    reader = _TextOfHtml()
    try:
        reader.feed(text)
        reader.close()
    except AssertionError:  # the parser's answer to some malformed declarations
        return text
    return "".join(reader.lines.parts)


class _TextOfHtml(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.lines = _Lines()
        self._hidden = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002
        if tag in _HIDDEN:
            self._hidden += 1
        elif tag not in _TAGS:
            self.handle_data(self.get_starttag_text() or "")
        elif not self._hidden:
            self.lines.start(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in _HIDDEN:
            self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        if tag in _HIDDEN:
            self._hidden = max(0, self._hidden - 1)
        elif tag not in _TAGS:
            self.handle_data(f"</{tag}>")
        elif tag in _BLOCKS and not self._hidden:
            self.lines.end_line(tag)

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.lines.parts.append(data)
