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
_FOREIGN = frozenset(("button", "form", "input", "label", "nav", "template", "video", "script"))
"""Elements that no mail has; those that `_TAGS` lacks are XML, components or type parameters."""
_OF_MAIL = _TAGS - _FOREIGN
_TAG = re.compile(r"<(/?)([a-z][\w:.-]*)(?:\s[^<>]*)?/?>", re.IGNORECASE)
_PAGE = re.compile(
    r"\s*+(?:<!--(?:(?!-->).)*+-->\s*+)*+(?:<!doctype html|<html[\s>]|<body[\s>])",
    re.IGNORECASE | re.DOTALL,
)
_OF_CODE = re.compile(r"\{\{|\{%|<[%?]|className=|\s(?:v-\w+|ng-\w+|on\w+|[@:]\w+)=", re.IGNORECASE)
"""Templates, components and handlers."""
_BREAK = re.compile(r"<br\s*/?>", re.IGNORECASE)
FEWEST_BREAKS = 2
_TALK_OF_TAGS = re.compile(
    r"\b(?:x?html5?|xml|css|jsx|dom|markup|web ?page|webseite)\b"
    r"|\w <(?:br|p|div)\b[^<>]*>(?=[\s?,.;]|$)",
    re.IGNORECASE,
)
"""The language is named, or a tag stands among words as one of them: `what does <br> do`."""
_NO_TAG = re.compile(r"<(?=/?([A-Za-z][^\s/>]*))")


@cache
def html_reader() -> str:
    """Return which library reads HTML, with its version: broken HTML means more than one thing."""
    if importlib.util.find_spec("selectolax") is None:
        return "html.parser"
    return f"selectolax {importlib.metadata.version('selectolax')}"


def is_html(text: str, *, whole: bool = False) -> bool:
    """Tell whether a text is surely an HTML mail or page, and not one that talks of HTML.

    It begins as a page, or all of it stands inside elements that mail programs write, or it is
    prose with line breaks as tags. A snippet among words, a tag in a question, XML, components
    and type parameters are none of these.

    Args:
        text: the text.
        whole: whether tags among prose are no sign: a corpus has documents, not mails.
    """
    if "<" not in text or ">" not in text:
        return False
    if _PAGE.match(text):
        return True
    tags = _TAG.findall(text)
    names = [name.lower() for _, name in tags]
    ended = {name.lower() for slash, name in tags if slash}
    is_mail = bool(tags) and names[0] in _OF_MAIL and ended <= _OF_MAIL
    if not is_mail or not _FOREIGN.isdisjoint(names) or _OF_CODE.search(text):
        return False
    return _is_wrapped(text, ended) or (not whole and _has_tags_for_line_breaks(text))


def _is_wrapped(text: str, ended: set[str]) -> bool:
    """Tell whether nothing but white space stands outside of elements that are ended."""
    depth = position = 0
    for tag in _TAG.finditer(text):
        if not depth and text[position : tag.start()].strip():
            return False
        position = tag.end()
        if tag[2].lower() in ended:
            depth = max(0, depth - 1) if tag[1] else depth + 1
    return bool(ended) and not text[position:].strip()


def _has_tags_for_line_breaks(text: str) -> bool:
    """Tell whether a text is prose, not about HTML, whose line breaks are tags."""
    return len(_BREAK.findall(text)) >= FEWEST_BREAKS and not _TALK_OF_TAGS.search(text)


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
