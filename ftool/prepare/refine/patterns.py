"""What personal data and secrets look like: a gate, a pattern and a test for each type."""

import ipaddress
import re
from collections.abc import Callable
from typing import NamedTuple

from ftool.prepare.refine.checksums import (
    IBAN_LENGTHS,
    NATIONAL_IDS_WITH_CUE,
    is_card,
    is_french,
    is_iban,
    is_italian,
    is_nino,
    is_spanish,
    is_ssn,
)
from ftool.prepare.refine.credentials import (
    TOKENS,
    find_assigned,
    find_bearer,
    find_json_web_token,
    find_token,
    may_assign,
    may_hold_token,
)
from ftool.prepare.refine.phones import (
    compact,
    find_announced,
    find_international,
    find_local,
    find_national,
    follows_id_word,
    group_ends,
)

Span = tuple[int, int]
"""Where a find begins and ends."""

_VERSION_WORDS = re.compile(
    r"\b(?:v|ver|vers|versions?|versión|versi[eo]n?e?|releases?|builds?|firmware|updat(?:ed?|ing)"
    r"|upgrad(?:ed?|ing)|downgrad(?:ed?|ing)|aktualisiert|mise à jour|install(?:ed|ing|iert|iere)?"
    r"|drivers?|treiber|apps?|sdk|patch(?:ed)?|software|package|paket|library|plugin|module|chrome"
    r"|firefox|android|ios|windows|sections?|rfc|chapter|clause|paragraph|article|annex|appendix"
    r"|figure|table|item|step|abschnitt|kapitel|ziffer|absatz|punkt|chapitre|sección|capítulo"
    r"|apartado|hoofdstuk|paragraaf|revision|rev|oid|§)(?!\w)|§",
    re.IGNORECASE,
)
_VERSION_BEHIND = re.compile(
    r"[ -](?:versions?|releases?|builds?|firmware|update|upgrade|drivers?|patch)\b", re.IGNORECASE
)
_ADDRESS_WORDS = re.compile(
    r"\b(?:ips?|ipv4|ip-adresse|address(?:es)?|adress[en]*|dirección|servers?|serveurs?|servidor"
    r"|hosts?|hostname|ping|gateway|dns|router|proxy|vpn|ssh|login|log(?:ged)? in|sign(?:ed)? in"
    r"|connect(?:ed|ing|ion)?|blocked|banned|whitelist(?:ed)?)\b",
    re.IGNORECASE,
)
_MOST_OF_VERSIONS = 31
"""The parts of a version or section are small; one address in 4,000 has no greater part."""
_CARD_WORDS = re.compile(r"card|visa|credit|debit|karte|carte|tarjeta|carta", re.IGNORECASE)
_CARD_GROUPS = re.compile(r"[0-9]+(?:[ -]?[0-9]{4,6}){0,4}(?:[ -]?[0-9]{1,6})?")
_LOCAL_PART = re.compile(r"[\w+%](?:[\w.+%'-]*[\w+%-])?$")
_FILE_ENDINGS = frozenset(
    re.findall(r"\w+", "png jpg jpeg gif svg webp css js json html htm php txt pdf")
)


class Pattern(NamedTuple):
    """One shape of one type: where it may be, and what of it is accepted."""

    kind: str
    regex: re.Pattern[str]
    accept: Callable[[re.Match[str]], Span | None]


def _whole(match: re.Match[str]) -> Span | None:
    return match.span()


def _first_group(match: re.Match[str]) -> Span | None:
    return match.span(1)


def _email(match: re.Match[str]) -> Span | None:
    """Take an address by its `@`, looking back for the local part."""
    at, text = match.start(), match.string
    local = _LOCAL_PART.search(text[max(0, at - 128) : at])
    ending = match.group().rpartition(".")[2].lower()
    if local is None or ending in _FILE_ENDINGS:
        return None
    is_repository = local.group() == "git" and text[match.end() : match.end() + 1] == ":"
    return None if is_repository else (at - len(local.group()), match.end())


def _ip4(match: re.Match[str]) -> Span | None:
    """Take an address of a machine, but no version, netmask or loopback."""
    try:
        address = ipaddress.IPv4Address(match.group())
    except ipaddress.AddressValueError:
        return None
    if address.packed[0] in {0, 127, 255}:
        return None
    is_known = address.is_private and address.packed[0] in {172, 192}
    return match.span() if is_known or not _is_version(match) else None


def _is_version(match: re.Match[str]) -> bool:
    """Tell whether numbers with dots are a version or a section.

    The nearest word about them decides; without any, what has small parts alone is no address.
    """
    before = match.string[max(0, match.start() - 32) : match.start()]
    version = max((found.end() for found in _VERSION_WORDS.finditer(before)), default=-1)
    address = max((found.end() for found in _ADDRESS_WORDS.finditer(before)), default=-1)
    if version == address:
        is_small = all(int(part) <= _MOST_OF_VERSIONS for part in match.group().split("."))
        return is_small or _VERSION_BEHIND.match(match.string, match.end()) is not None
    return version > address


def _ip6(match: re.Match[str]) -> Span | None:
    try:
        address = ipaddress.IPv6Address(match.group())
    except ipaddress.AddressValueError:
        return None
    parts = [part for part in match.group().split(":") if part]
    is_slice = len(parts) < 3 and all(len(part) < 3 for part in parts)
    return None if is_slice or address.is_loopback else match.span()


def _iban(match: re.Match[str]) -> Span | None:
    """Take as many characters as the country's account numbers have."""
    start, text = match.start() - 2, match.string
    length = IBAN_LENGTHS.get(text[start : start + 2].upper(), 0)
    if not length:
        return None
    account = re.compile(rf"[A-Za-z0-9](?:[ -]?[A-Za-z0-9]){{{length - 1}}}(?!\w)")
    found = account.match(text, start)
    return found.span() if found is not None and is_iban(compact(found.group())) else None


def _card(match: re.Match[str]) -> Span | None:
    """Take the longest card number that ends with a group; digits in a row may be an id.

    Thirteen in a row are a bar code or a time stamp where nothing says card.
    """
    start, text = match.start(), match.string
    if match.group().isdigit():
        announced = _CARD_WORDS.search(text, max(0, start - 40), start)
        if follows_id_word(text, start) or (len(match.group()) == 13 and not announced):
            return None
    for end, count in reversed(group_ends(match)):
        number = text[start:end]
        if 13 <= count <= 19 and _CARD_GROUPS.fullmatch(number) and is_card(compact(number)):
            return start, end
    return None


def _national_id(test: Callable[[str], bool], before: int = 0) -> Callable[..., Span | None]:
    """Return what takes an id that passes a test and begins some characters before the match."""

    def accept(match: re.Match[str]) -> Span | None:
        start = match.start() - before
        text = match.string[start : match.end()]
        is_id = test(compact(text).upper()) and not follows_id_word(match.string, start)
        return (start, match.end()) if is_id else None

    return accept


def _announced_id(match: re.Match[str]) -> Span | None:
    """Take a plain number with the name of its kind close before it."""
    digits = compact(match.group())
    before = match.string[max(0, match.start() - 40) : match.start()].lower()
    for cue, length, test in NATIONAL_IDS_WITH_CUE:
        if len(digits) == length and re.search(rf"\b(?:{cue})\b[^0-9]*$", before) and test(digits):
            return match.span()
    return None


def _compiled(kind: str, regex: str, accept: Callable[[re.Match[str]], Span | None]) -> Pattern:
    return Pattern(kind, re.compile(regex), accept)


NUMBER = re.compile(r"[0-9](?:[^0-9\n]{0,3}[0-9]){5,}+")
"""The gate of `NUMBERS`: digits close to one another; they are looked for there alone."""
BEFORE_NUMBER = 10
"""Characters before those digits that may belong to them: `GB82 WEST ` of an account, `+ (`."""
BEHIND_NUMBER = 8
"""Characters behind them that may: the last letter of an id."""
_DOTTED = re.compile(r"[0-9]\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]")
_VALUE = r"[\"'`]?([^\s\"'`<>,;]{4,200})"
_BASE64 = r"[A-Za-z0-9_-]"
_BETWEEN = r"(?: - |[ -]?\(|\)[ -]?|[ .\-/])?"
"""What may stand between two digits of a telephone number."""
_NOT_BEHIND = r"(?!\w|[.-][0-9])"

GATES: tuple[tuple[Callable[[str], object], tuple[Pattern, ...]], ...] = (
    (
        lambda text: "PRIVATE KEY-----" in text,
        (
            _compiled(
                "SECRET",
                r"-----BEGIN (?:[A-Z]+ ){0,3}PRIVATE KEY-----"
                r"(?:(?:[^\"-]|-(?!-))*+-----END (?:[A-Z]+ ){0,3}PRIVATE KEY-----"
                r"|(?:\s+[A-Za-z0-9+/=]{16,})+)",
                _whole,
            ),
        ),
    ),
    (
        may_hold_token,
        (_compiled("SECRET", "|".join(TOKENS.values()), find_token),),
    ),
    (
        lambda text: "eyJ" in text,
        (
            _compiled(
                "SECRET",
                rf"(eyJ{_BASE64}{{5,2000}})\.{_BASE64}{{5,4000}}\.{_BASE64}{{10,2000}}",
                find_json_web_token,
            ),
        ),
    ),
    (
        lambda text: "earer " in text,
        (_compiled("SECRET", r"[Bb]earer ([A-Za-z0-9._~+/=-]{20,2000})", find_bearer),),
    ),
    (
        lambda text: "://" in text and "@" in text,
        (_compiled("SECRET", r"://([^\s/:@?#<>{}\[\]]{1,100}:[^\s/@]{1,200})@", _first_group),),
    ),
    (
        may_assign,
        (
            _compiled("SECRET", rf"[:=]>?\s{{0,3}}{_VALUE}", find_assigned),
            _compiled("SECRET", rf" is[: ]{{1,2}}{_VALUE}", find_assigned),
        ),
    ),
    (
        lambda text: "@" in text,
        (
            _compiled(
                "EMAIL",
                r"@(?<![^\w+%-]@)(?:(?!-)[^\W_](?:[\w-]{0,62})\.){1,8}"
                r"(?:[a-z]{2,24}|[A-Z]{2,24}|[A-Z][a-z]{1,2}|xn--[a-z0-9-]{2,60})(?![\w@])",
                _email,
            ),
        ),
    ),
    (
        _DOTTED.search,
        (
            _compiled(
                "IP",
                rf"[0-9](?<![\w.][0-9])[0-9]{{0,2}}(?:\.[0-9]{{1,3}}){{3}}{_NOT_BEHIND}",
                _ip4,
            ),
        ),
    ),
    (
        lambda text: "::" in text or text.count(":") >= 7,
        (
            _compiled(
                "IP",
                r"[0-9A-Fa-f:](?<![\w:.][0-9A-Fa-f:])[0-9A-Fa-f]{0,3}"
                r"(?::[0-9A-Fa-f]{0,4}){2,8}(?![\w:]|\.[0-9])",
                _ip6,
            ),
        ),
    ),
)
"""When a text is looked at, and for what; of two finds in one place the earlier pattern's stands.

A pattern begins with the characters that it can begin with, and looks back behind them: then the
engine skips all others without trying.
"""

NUMBERS: tuple[Pattern, ...] = (
    _compiled("IBAN", r"[0-9](?<=[A-Za-z]{2}[0-9])(?<!\w[A-Za-z]{2}[0-9])[0-9]", _iban),
    _compiled("CARD", r"[2-8](?<![\w.-][2-8])(?:[ -]?[0-9]){12,18}(?![0-9])", _card),
    _compiled(
        "NATIONAL_ID",
        rf"[0-8](?<![\w.$€£#-][0-8])[0-9]{{2}}-[0-9]{{2}}-[0-9]{{4}}{_NOT_BEHIND}",
        _national_id(is_ssn),
    ),
    _compiled(
        "NATIONAL_ID",
        r"[0-9](?<=(?i:[ABCEGHJ-PRSTW-Z][ABCEGHJ-NPRSTW-Z])[0-9])(?<!\w\w\w[0-9])[0-9]{5}"
        r"[A-Da-d](?!\w)",
        _national_id(is_nino, before=2),
    ),
    _compiled(
        "NATIONAL_ID",
        r"[0-9](?<=[ABCEGHJ-PRSTW-Z][ABCEGHJ-NPRSTW-Z] [0-9])(?<!\w\w\w [0-9])[0-9]"
        r"(?: ?[0-9]{2}){2} ?[A-D](?!\w)",
        _national_id(is_nino, before=3),
    ),
    _compiled(
        "NATIONAL_ID",
        r"[0-9](?<![\w.-][0-9])[0-9]{7}-?[A-HJ-NP-TV-Za-hj-np-tv-z](?!\w)",
        _national_id(is_spanish),
    ),
    _compiled(
        "NATIONAL_ID",
        r"[0-9](?<=[XYZxyz][0-9])(?<!\w\w[0-9])[0-9]{6}-?[A-HJ-NP-TV-Za-hj-np-tv-z](?!\w)",
        _national_id(is_spanish, before=1),
    ),
    _compiled(
        "NATIONAL_ID",
        r"[0-9](?<=[XYZxyz]-[0-9])(?<!\w\w-[0-9])[0-9]{6}-?[A-HJ-NP-TV-Za-hj-np-tv-z](?!\w)",
        _national_id(is_spanish, before=2),
    ),
    _compiled(
        "NATIONAL_ID",
        r"[0-9L-NP-V](?<=(?i:[A-Z]{6}[0-9L-NP-V]))(?<!\w{7}[0-9L-NP-V])"
        r"[0-9L-NP-V][A-EHLMPRST][0-9L-NP-V]{2}[A-Z][0-9L-NP-V]{3}[A-Z](?!\w)",
        _national_id(is_italian, before=6),
    ),
    _compiled(
        "NATIONAL_ID",
        r"[12](?<![\w.-][12]) ?[0-9]{2} ?(?:0[1-9]|1[0-2]|[2-9][0-9]) ?(?:[0-9]{2}|2[ABab])"
        r" ?[0-9]{3} ?[0-9]{3} ?[0-9]{2}(?!\w)",
        _national_id(is_french),
    ),
    _compiled(
        "NATIONAL_ID",
        r"[0-9](?<![\w.-][0-9])(?:[ .-]?[0-9]){8,10}(?!\w|[.-][0-9])",
        _announced_id,
    ),
    _compiled(
        "PHONE",
        rf"\+(?<![\w+]\+)\(?[1-9](?:{_BETWEEN}[0-9]){{7,16}}(?![0-9])",
        find_international,
    ),
    _compiled(
        "PHONE",
        r"[(0-9](?<![\w.$€£#-][(0-9])"
        r"(?:(?<=\()[0-9]{3}\)[ .\-/]{0,2}[0-9]{3}[ .-]?[0-9]{4}"
        r"|(?<=[0-9])(?:(?<=1)[ .-]?[0-9]{3}|[0-9]{2})([.-])[0-9]{3}\1[0-9]{4}"
        r"|(?<=1)[ .-](?:\([2-9][0-9]{2}\)|[2-9][0-9]{2})[ .-]?[2-9][0-9]{2}[ .-][0-9]{4}"
        r"|(?<=[2-9])[0-9]{2}[ /][2-9][0-9]{2}[ -][0-9]{4}"
        r"|(?<=5)55[.-][0-9]{4}|(?<=8) ?\([0-9]{3}\) ?[0-9]{3}-[0-9]{2}-[0-9]{2})"
        r"(?![0-9A-WYZa-wyz_]|[.-][0-9])",
        find_local,
    ),
    _compiled(
        "PHONE",
        r"[(0](?<![\w.,/$€£#-][(0])(?<![0-9] [(0])(?:(?<=\()0[0-9]{1,5}\) ?[/-]? ?"
        r"|(?<=0)[0-9]{1,5}(?: ?[\-/] ?|[ .]))(?:\(0\) ?)?"
        r"[0-9]{2,9}(?:[ .\-/][0-9]{2,8}){0,4}(?:-[0-9]{1,5})?(?!\w|[.,\-/][0-9])",
        find_national,
    ),
    _compiled(
        "PHONE",
        r"[(0-9](?<![\w.,$€£#-][(0-9])(?:(?<=\()[0-9]{1,5}\)|(?<=[0-9]))"
        rf"(?:{_BETWEEN}[0-9]){{5,15}}(?!\w|,[0-9])",
        find_announced,
    ),
)
"""What digits close to one another may be, in the order in which it is believed."""
