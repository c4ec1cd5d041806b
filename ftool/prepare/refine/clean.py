"""Rewrite text: encoding, unicode, quoted replies, signatures, white space.

Who wrote a text decides. Mail of users becomes plain text; what the assistant, the system or a
corpus says is right as it stands, in its tags, indentation and blank lines; code is nobody's mail.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal
from unicodedata import normalize

from ftool.example import Example, Message
from ftool.prepare.refine.code import rewrite_prose, without_code
from ftool.prepare.refine.html import is_html, strip_html

if TYPE_CHECKING:
    from ftool.recipe.blocks.data import Clean

_CONTROLS = {code: None for code in (*range(32), 127) if chr(code) not in "\t\n"}
_STRANGE = re.compile("[" + "".join(f"\\u{code:04x}" for code in _CONTROLS) + "]")
_NO_BREAK_SPACES = {0xA0: " ", 0x2007: " ", 0x202F: " "}

_MAY_BE_DAMAGED = re.compile(
    r"[^\x00-\x1a\x1c-\x7fäöüßÄÖÜàâçéèêëîïôùûñáíóúÉ€\u2013\u2014\u2019\u201c\u201d\u2026"
    r"\U000f0000-\U000ffffd]|[^\x00-\x7f]{2}"
)
"""What ftfy may change; damage takes two such characters in a row, or one that is rare. Private
characters stand for code meanwhile."""

_FTFY: dict[str, Any] = {
    "unescape_html": False,
    "fix_latin_ligatures": False,
    "fix_character_width": False,
    "uncurl_quotes": False,
    "normalization": None,
    "explain": False,
}
"""What ftfy does besides mending damage is folding, and stays off."""
_DECOMPOSED = re.compile(
    "[^\\W\\d_][\u0300-\u036f]+|[\u3040-\u30ff][\u3099\u309a]"
    "|[\u1100-\u1112][\u1161-\u1175][\u11a8-\u11c2]?"
)
"""A letter and its accents, a kana and its mark, the parts of a Korean syllable."""

_BLANK_LINES = re.compile(r"\n{3,}")
_INDENTED = re.compile(r"\n(?: {2,}|\t)\S")

_ATTRIBUTIONS = {
    "On ": "wrote",
    "Am ": "schrieb",
    "Le ": "a écrit",
    "El ": "escribió",
    "Op ": "schreef",
}
"""How the line above a quoted mail begins -> the verb it holds; it ends in a colon."""
LONGEST_ATTRIBUTION = 300
LINES_OF_AN_ATTRIBUTION = 3
_TIME_OR_ADDRESS = re.compile(r"\d{1,2}[:.h]\d{2}\b|\S@\S")

_SEPARATOR = re.compile(
    r"-{3,} ?(?:Original Message|Original Appointment|Ursprüngliche Nachricht"
    r"|Originalnachricht|Message d'origine|Message original|Mensaje original"
    r"|Oorspronkelijk bericht) ?-{3,}",
    re.IGNORECASE,
)
_HEADER_FIELD = re.compile(r"[*_]{0,2}([A-Za-zÀ-ÿ]{2,10}(?: el)?)[*_]{0,2} ?:")
_HEADER_FIELDS = {
    "From": ("Sent", "Date", "To", "Cc", "CC", "Subject"),
    "Von": ("Gesendet", "Datum", "An", "Cc", "CC", "Betreff"),
    "De": (
        *("Envoyé", "Date", "À", "Cc", "CC", "Objet"),
        *("Enviado", "Enviado el", "Fecha", "Para", "Asunto"),
    ),
    "Van": ("Verzonden", "Datum", "Aan", "Cc", "CC", "Onderwerp"),
}
"""The first field of an earlier mail's header -> those that may follow."""
FIELDS_OF_A_HEADER = 3

_QUOTE_CUES = (*_ATTRIBUTIONS.values(), "From:", "Von:", "De:", "De :", "Van:", "---")
_SIGNATURE = re.compile(r"^-- \n.*", re.MULTILINE | re.DOTALL)
_DEVICE_LINE = re.compile(
    r"sent from my \S+(?: [^\s.!?]+){0,4}\.?"
    r"(?:[.,;] (?:please )?(?:excuse|pardon|forgive)[^\n]{0,60})?"
    r"|sent from (?:mail for|outlook for|yahoo mail|proton ?mail)\b[^\n]{0,60}"
    r"|get outlook for (?:ios|android|mac)\b[^\n]{0,60}|outlook für [^\n]{1,60} herunterladen"
    r"|(?:diese nachricht wurde )?von mein(?:em|er) [^\n]{1,60} gesendet\.?"
    r"|gesendet (?:von (?:mein(?:em|er)|mail|outlook)|mit der) [^\n.!?]{1,60}"
    r"|envoyé (?:de|depuis) mon [^\n.!?]{1,60}|envoyé à partir d(?:e |')[^\n.!?]{1,60}"
    r"|enviado desde (?:mi|mail|outlook) [^\n.!?]{1,60}"
    r"|(?:verzonden|verstuurd) (?:vanaf mijn|vanuit) [^\n.!?]{1,60}"
)
LONGEST_DEVICE_LINE = 160


def clean_unicode(text: str) -> str:
    """Repair mis-decoded characters, compose accents, and drop control characters.

    What is no damage keeps its form: quotation marks, wide characters, ligatures, entities, and
    signs that Unicode would take for others, such as that of Kelvin.
    """
    if not text.isascii() and _MAY_BE_DAMAGED.search(text):
        from ftfy import TextFixerConfig, fix_text

        text = fix_text(text, TextFixerConfig(**_FTFY))
        text = _DECOMPOSED.sub(lambda found: normalize("NFC", found.group()), text)
    text = unix_lines(text)
    return text.translate(_CONTROLS) if _STRANGE.search(text) else text


def plain_spaces(text: str) -> str:
    """Put a space in place of those that may not break."""
    return text if text.isascii() else text.translate(_NO_BREAK_SPACES)


def unix_lines(text: str) -> str:
    """End every line in one way."""
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text


def strip_quoted_replies(text: str) -> str:
    """Remove quoted earlier mails and the signature; a text that is nothing else stays.

    Quotes are known by the lines that mail programs put above them, in English, German, French,
    Spanish and Dutch. A closing such as "Best regards" belongs to the mail and stays.
    """
    unified = text.replace("\r\n", "\n")
    if "\n" not in unified:
        return text
    stripped = unified
    if any(cue in unified for cue in _QUOTE_CUES):
        stripped = "\n".join(_without_quotes(unified.split("\n")))
    if "-- \n" in stripped:
        stripped = _SIGNATURE.sub("", stripped)
    stripped = _without_device_line(stripped)
    return stripped if stripped.strip() else text


def _without_quotes(lines: list[str]) -> list[str]:
    """Leave out quoted lines, and all lines behind the header of an earlier mail."""
    kept: list[str] = []
    at = 0
    while at < len(lines):
        line = lines[at].strip(" \t*")
        if line.startswith("---") and _SEPARATOR.match(line):
            break
        if _is_header(lines, at):
            while kept and not kept[-1].strip(" _-\t"):
                kept.pop()
            break
        after = _after_attribution(lines, at)
        if after is None:
            kept.append(lines[at])
            at += 1
        else:
            at = after
    return kept


def _is_header(lines: list[str], at: int) -> bool:
    """Tell whether the header of a mail begins here: `From:` and two of its other fields."""
    names = (_field_name(line) for line in lines[at : at + 6])
    first = next(names)
    if first not in _HEADER_FIELDS:
        return False
    others = {name for name in names if name in _HEADER_FIELDS[first]}
    return len(others) >= FIELDS_OF_A_HEADER - 1


def _field_name(line: str) -> str:
    found = _HEADER_FIELD.match(line.lstrip(" \t")) if ":" in line[:24] else None
    return found[1] if found else ""


def _after_attribution(lines: list[str], at: int) -> int | None:
    """Return where the text goes on after the quoted mail that is announced here, if one is.

    Without `>` before its lines, a quote goes on to the end; the announcement must then name a
    time or an address, so that "On Monday he wrote:" stays.
    """
    verb = _ATTRIBUTIONS.get(lines[at][:3])
    if verb is None:
        return None
    announced = ""
    for end in range(at, min(at + LINES_OF_AN_ATTRIBUTION, len(lines))):
        announced = f"{announced} {lines[end].strip()}"
        if len(announced) > LONGEST_ATTRIBUTION:
            return None
        if announced.endswith(":") and verb in announced:
            after = _after_marked_lines(lines, end + 1)
            if after is None and _TIME_OR_ADDRESS.search(announced):
                return len(lines)
            return after
    return None


def _after_marked_lines(lines: list[str], at: int) -> int | None:
    """Return where lines with `>` before them end, or None where none begin."""
    last = None
    for number in range(at, len(lines)):
        if lines[number].startswith(">"):
            last = number
        elif lines[number].strip():
            break
    return None if last is None else last + 1


def _without_device_line(text: str) -> str:
    """Take off a last line that a telephone or mail program has added."""
    body = text.rstrip()
    start = body.rfind("\n") + 1
    line = body[start:].strip(" \t*_").casefold()
    is_added = len(line) <= LONGEST_DEVICE_LINE and _DEVICE_LINE.fullmatch(line)
    return body[:start] if is_added else text


def clean_white_space(text: str) -> str:
    """Drop trailing spaces, outer white space and more than one blank line; indentation stays."""
    if " \n" in text or "\t" in text:
        text = "\n".join([line.rstrip(" \t") for line in text.split("\n")])
    return (_BLANK_LINES.sub("\n\n", text) if "\n\n\n" in text else text).strip()


def trim(text: str) -> str:
    """Drop white space around a text, and what only pads its lines where none is indented.

    In a text with indented lines, blank lines, tabs and trailing spaces may mean something too.
    """
    start = len(text) - len(text.lstrip())
    if not _INDENTED.search(text, start):
        return clean_white_space(text)
    return text[text.rfind("\n", 0, start) + 1 :].rstrip()


Writer = Literal["user", "assistant", "corpus"]
"""Who says a text; system messages are as right as answers."""
RULES = ("html", "unicode", "quoted_replies", "white_space")
"""In this order: tags are read first, and what is left is tidied last."""


@dataclass(slots=True)
class _Cleaning:
    """Rewrites texts as the recipe says, and takes note of the rules that changed something."""

    settings: "Clean"
    changed: set[str] = field(default_factory=set)

    def text(self, text: str, writer: Writer) -> str:
        """Rewrite one text."""
        if text.isascii() and text.isprintable() and "<" not in text:
            # A line without markup: no other rule finds anything in it.
            line = text.strip() if writer == "user" else text.rstrip()
            if len(line) < len(text):
                self.changed.add("white_space")
            return line
        if writer == "assistant" and self._is_sound(text):
            return self._noted("white_space", text, str.rstrip)
        text = self._noted("white_space", text, unix_lines)
        return rewrite_prose(text, partial(self._prose, writer=writer))

    def label(self, text: str) -> str:
        """Rewrite a label, which is one line."""
        if text.isascii() and text.isprintable() and "  " not in text and text == text.strip():
            return text
        if self.settings.unicode and not text.isascii():
            text = self._noted("unicode", text, clean_unicode)
        return self._noted("white_space", text, lambda label: " ".join(label.split()))

    def _prose(self, text: str, writer: Writer) -> str:
        trimmed = _TRIMMED[writer]
        if self._is_html(text, writer):
            text, trimmed = self._noted("html", text, strip_html), clean_white_space
        if self.settings.unicode:
            text = self._noted("unicode", text, clean_unicode)
        if writer == "user":
            if self.settings.unicode:
                text = self._noted("unicode", text, plain_spaces)
            if self.settings.quoted_replies == "strip":
                text = self._noted("quoted_replies", text, strip_quoted_replies)
        return self._noted("white_space", text, trimmed)

    def _is_sound(self, text: str) -> bool:
        """Tell whether an answer is surely as it should be but for white space at its end."""
        return self.settings.html != "strip" and text.isascii() and not _STRANGE.search(text)

    def _is_html(self, text: str, writer: Writer) -> bool:
        if self.settings.html == "auto":
            if writer == "user":
                return is_html(without_code(text))
            return writer == "corpus" and is_html(text, whole=True)
        return self.settings.html == "strip" and "<" in text

    def _noted(self, rule: str, text: str, cleaner: Callable[[str], str]) -> str:
        cleaned = cleaner(text)
        if cleaned != text:
            self.changed.add(rule)
        return cleaned


_TRIMMED: dict[Writer, Callable[[str], str]] = {
    "user": trim,
    "assistant": str.rstrip,
    "corpus": str.rstrip,
}


def clean(example: Example, settings: "Clean") -> tuple[Example, frozenset[str]]:
    """Rewrite every text of an example; what tools return stays as it is.

    Returns:
        The cleaned example, the same object where nothing changed, and the `RULES` that changed it.
    """
    cleaning = _Cleaning(settings)
    label = cleaning.label(example.label) or None if example.label is not None else None
    text = cleaning.text(example.text, "corpus") if example.text is not None else None
    messages = tuple(_clean_message(message, cleaning) for message in example.messages)
    if (
        label is not None
        and messages
        and messages[-1].content != label
        and (example.completion == example.label)
    ):
        messages = (*messages[:-1], replace(messages[-1], content=label))
    if (text, messages, label) == (example.text, example.messages, example.label):
        return example, _NOTHING  # a copy would cost more than the rules
    cleaned = replace(example, text=text, messages=messages, label=label)
    return cleaned, frozenset(cleaning.changed)


_NOTHING: frozenset[str] = frozenset()


def _clean_message(message: Message, cleaning: _Cleaning) -> Message:
    if message.role == "tool":
        return message
    content = cleaning.text(message.content, "user" if message.role == "user" else "assistant")
    return message if content == message.content else replace(message, content=content)
