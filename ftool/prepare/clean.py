"""Rewrite text: encoding, unicode, HTML, quoted replies, signatures, white space."""

import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

from ftool.example import Example, Message

if TYPE_CHECKING:
    from ftool.recipe.schema import Clean

_CONTROLS = {code: None for code in (*range(32), 127) if chr(code) not in "\t\n"}
_NO_BREAK_SPACES = {0xA0: " ", 0x2007: " ", 0x202F: " "}
_REPLACED: dict[int, str | None] = {**_CONTROLS, **_NO_BREAK_SPACES}
_STRANGE = re.compile("[" + "".join(f"\\u{code:04x}" for code in _REPLACED) + "]")

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

_QUOTE = re.compile(
    r"^On [^\n]{4,200}(?:\n[^\n>]{1,200})?\bwrote:[ \t]*\n(?:[ \t]*\n)*(?:>[^\n]*(?:\n|\Z))+",
    re.MULTILINE,
)
_ORIGINAL_MESSAGE = re.compile(r"^-{3,} ?Original Message ?-{3,}.*", re.MULTILINE | re.DOTALL)
_SIGNATURE = re.compile(r"^-- \n.*", re.MULTILINE | re.DOTALL)
_SENT_FROM = re.compile(r"^[ \t]*Sent from my \S+(?: \S+){0,4}\s*\Z", re.MULTILINE)


def clean_unicode(text: str) -> str:
    """Repair mis-decoded characters, compose accents, and drop control characters.

    Quotation marks keep their form: that is style, not damage.
    """
    if not text.isascii() or "&" in text:
        from ftfy import TextFixerConfig, fix_text

        text = fix_text(text, TextFixerConfig(uncurl_quotes=False, explain=False))
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return text.translate(_REPLACED) if _STRANGE.search(text) else text


def strip_html(text: str) -> str:
    """Turn HTML into text with line breaks for blocks; what is no HTML tag stays as written."""
    reader = _TextOfHtml()
    try:
        reader.feed(text)
        reader.close()
    except AssertionError:  # the parser's answer to some malformed declarations
        return text
    return "".join(reader.parts)


class _TextOfHtml(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self._hidden = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002
        if tag in _HIDDEN:
            self._hidden += 1
        elif tag not in _TAGS:
            self.handle_data(self.get_starttag_text() or "")
        elif tag in _BLOCKS:
            self._break(tag)
        elif tag in {"td", "th"}:
            self.handle_data(" ")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002
        if tag in _BLOCKS:
            self._break(tag)
        elif tag not in _TAGS:
            self.handle_data(self.get_starttag_text() or "")

    def handle_endtag(self, tag: str) -> None:
        if tag in _HIDDEN:
            self._hidden = max(0, self._hidden - 1)
        elif tag not in _TAGS:
            self.handle_data(f"</{tag}>")
        elif tag in _BLOCKS:
            self._break(tag)

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.parts.append(data)

    def _break(self, tag: str) -> None:
        """Begin a new line, unless one has just begun; `br` always breaks."""
        text = "".join(self.parts[-2:])
        if tag == "br" or not text.endswith("\n"):
            self.handle_data("\n")


def strip_quoted_replies(text: str) -> str:
    """Remove quoted earlier mails and the signature; a text that is nothing else stays."""
    unified = text.replace("\r\n", "\n")
    stripped = _ORIGINAL_MESSAGE.sub("", _QUOTE.sub("", unified))
    stripped = _SENT_FROM.sub("", _SIGNATURE.sub("", stripped))
    return stripped if stripped.strip() else text


def clean_white_space(text: str) -> str:
    """Drop trailing spaces, outer white space and more than one blank line; indentation stays."""
    text = "\n".join(line.rstrip(" \t") for line in text.split("\n"))
    return re.sub(r"\n{3,}", "\n\n", text).strip()


def _html(text: str, setting: str) -> str:
    is_html = setting == "strip" or (setting == "auto" and _has_html(text))
    return strip_html(text) if "<" in text and is_html else text


def _has_html(text: str) -> bool:
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


CLEANERS: dict[str, Callable[[str, Any], str]] = {
    "html": _html,
    "unicode": lambda text, setting: clean_unicode(text) if setting else text,
    "quoted_replies": lambda text, setting: (
        strip_quoted_replies(text) if setting == "strip" else text
    ),
}
"""Setting -> what it does, in this order: tags are read before entities turn into `<`."""

MAIL_ONLY = frozenset(("quoted_replies",))
"""Cleaners for what users write; an assistant may quote on purpose."""


def clean_text(text: str, settings: "Clean", *, by_user: bool = False) -> str:
    """Rewrite one text as the recipe says."""
    for name, cleaner in CLEANERS.items():
        if by_user or name not in MAIL_ONLY:
            text = cleaner(text, getattr(settings, name))
    return clean_white_space(text)


def clean(example: Example, settings: "Clean") -> Example:
    """Rewrite every text of an example; what tools return stays as it is."""
    label = clean_text(example.label, settings) or None if example.label is not None else None
    if example.text is not None:
        return replace(example, text=clean_text(example.text, settings), label=label)
    messages = tuple(_clean_message(message, settings) for message in example.messages)
    return replace(example, messages=messages, label=label)


def _clean_message(message: Message, settings: "Clean") -> Message:
    if message.role == "tool":
        return message
    content = clean_text(message.content, settings, by_user=message.role == "user")
    return message if content == message.content else replace(message, content=content)
