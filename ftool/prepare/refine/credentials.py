"""Keys, tokens and passwords: what tells them from words, placeholders and code."""

import base64
import binascii
import json
import re

Span = tuple[int, int]

TOKENS = {
    "AKIA": r"AKIA[A-Z0-9]{16}(?![A-Za-z0-9])",
    "ASIA": r"ASIA[A-Z0-9]{16}(?![A-Za-z0-9])",
    "ghp_": r"ghp_[A-Za-z0-9]{36,255}",
    "gho_": r"gho_[A-Za-z0-9]{36,255}",
    "ghu_": r"ghu_[A-Za-z0-9]{36,255}",
    "ghs_": r"ghs_[A-Za-z0-9]{36,255}",
    "ghr_": r"ghr_[A-Za-z0-9]{36,255}",
    "github_pat_": r"github_pat_[A-Za-z0-9_]{22,255}",
    "glpat-": r"glpat-[A-Za-z0-9_-]{20,255}",
    "xox": r"xox[abeoprs]-[A-Za-z0-9-]{10,255}",
    "sk_live_": r"sk_live_[A-Za-z0-9]{16,255}",
    "rk_live_": r"rk_live_[A-Za-z0-9]{16,255}",
    "sk-": r"sk-(?:[A-Za-z0-9]{32,255}|(?:proj|svcacct|admin|ant|or)-[A-Za-z0-9_-]{20,255})",
    "hf_": r"hf_[A-Za-z0-9]{30,100}",
    "AIza": r"AIza[A-Za-z0-9_-]{35}(?![A-Za-z0-9_-])",
    "npm_": r"npm_[A-Za-z0-9]{36}(?![A-Za-z0-9])",
    "pypi-": r"pypi-[A-Za-z0-9_-]{50,255}",
    "SG.": r"SG\.[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43}(?![A-Za-z0-9_-])",
}
"""Published beginning of a key -> the whole key."""

_SECRET_NAMES = (
    r"pass(?:word|wd|phrase|code)",
    r"passwor[dt]s?",
    r"kennwort",
    r"contrase(?:ñ|n)a",
    r"mot\s+de\s+passe",
    r"wachtwoord",
    r"pwd?|psw",
    r"(?:api|access|secret|private|auth|encryption|signing)[\s_-]?key(?:[\s_-]?id)?",
    r"secret(?:[\s_-]access[\s_-]key)?",
    r"(?:(?:api|access|auth|bearer|refresh|session)[\s_-]?)?token",
    r"pin",
)
_SECRET_NAME = re.compile(
    rf"(?<![a-z0-9])(?:{'|'.join(_SECRET_NAMES)})[\"'`]?\s{{0,3}}$", re.IGNORECASE
)
_SECRET_WORDS = (
    "pass",
    "pw",
    "psw",
    "kennw",
    "contrase",
    "wachtw",
    "key",
    "token",
    "secret",
    "pin",
)
_QUERY = re.compile(r"&#?\w+[=;]")
"""The next part of a web address, or a character written as an entity."""
_CODE = re.compile(r"[(\[]|\*\*|^[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+$")
_OF_PASSWORDS = re.compile(r"(?:pass|kennw|contrase|wachtw|p[sw]|pin)", re.IGNORECASE)
_NO_VALUE = re.compile(
    r"[\[<({$%*#]|https?:|(?:your|my|the|example|sample|process\.|os\.|self\.|env)[_.-]?",
    re.IGNORECASE,
)


_SAMPLE_WORDS = frozenset(
    re.findall(
        r"\w+",
        "example sample dummy placeholder fake test demo changeme change your my insert replace"
        " here redacted todo foo bar baz user username pass passwd password pwd secret admin root"
        " key token api apikey value abc123 xxx localhost postgres guest",
    )
)
_SEQUENCES = tuple(
    run * 2
    for run in (
        "0123456789",
        "1234567890",
        "abcdefghijklmnopqrstuvwxyz",
        "abcdefghijklmnopqrstuvwxyz0123456789",
        "abcdefghijklmnopqrstuvwxyz1234567890",
        "0123456789abcdef",
        "1234567890abcdef",
    )
)
_RESERVED_DOMAIN = re.compile(
    r"(?:^|[@.])(?:example(?:\.(?:com|org|net|edu))?|(?:\w+\.)?(?:test|invalid|localhost))$",
    re.IGNORECASE,
)
"""Source: RFC 2606 and RFC 6761."""
_SAMPLE_NUMBER = re.compile(
    r"(?:192\.0\.2|198\.51\.100|203\.0\.113)\.\d+$|2001:0?db8:|.*\b555.?01\d\d$"
)
"""Documentation addresses (RFC 5737, RFC 3849) and telephone numbers kept for fiction."""


def is_sample(value: str) -> bool:
    """Tell whether a value stands in code as an example: no person's and of no use to anybody.

    Every word of it is one of those that samples are made of, or it is a run of the alphabet or of
    one sign, or of a range that is kept for documentation.
    """
    lower = value.casefold()
    if "example" in lower and "@" not in lower:
        return True
    if _RESERVED_DOMAIN.search(lower) or _SAMPLE_NUMBER.match(lower):
        return True
    body = re.sub(
        r"^(?:sk|pk|rk|ghp|gho|hf|npm|xoxb|akia|glpat)[-_]?(?:live_|test_|proj-)?", "", lower
    )
    words = [word for word in re.split(r"[\W_]+", body) if word]
    return bool(words) and all(
        word in _SAMPLE_WORDS
        or word.rstrip("0123456789") in _SAMPLE_WORDS
        or len(set(word)) < 3
        or any(word in run for run in _SEQUENCES)
        for word in words
    )


def find_token(match: re.Match[str]) -> Span | None:
    """Take a key that does not continue a word and is no row of `x`."""
    start, text = match.start(), match.string
    body = match.group()[4:]
    is_filler = len(set(body.lower())) < 6 or "EXAMPLE" in body
    return None if is_filler or (start and text[start - 1].isalnum()) else match.span()


def find_json_web_token(match: re.Match[str]) -> Span | None:
    """Take three base64url parts whose first is a JSON object that names an algorithm.

    Source: RFC 7519 and RFC 7515.
    """
    head = match.group(1)
    try:
        header = json.loads(base64.urlsafe_b64decode(head + "=" * (-len(head) % 4)))
    except (binascii.Error, ValueError, RecursionError):
        return None
    return match.span() if isinstance(header, dict) and "alg" in header else None


def find_assigned(match: re.Match[str]) -> Span | None:
    """Take a value behind the name of a secret that is neither a word nor a placeholder."""
    name = _SECRET_NAME.search(match.string, max(0, match.start() - 40), match.start())
    if name is None:
        return None
    start = match.start(1)
    query = _QUERY.search(match.string, start, match.end(1) + 1)
    value = match.string[start : query.start() if query else match.end(1)].rstrip(".)]}?:")
    is_password = _OF_PASSWORDS.match(name.group()) is not None
    if len(value) < (4 if is_password else 6) or _NO_VALUE.match(value) or _CODE.search(value):
        return None
    return (start, start + len(value)) if _is_secret(value, is_password) else None


def _is_secret(value: str, is_password: bool) -> bool:
    has_letter = any(sign.isalpha() for sign in value)
    has_digit = any(sign.isdigit() for sign in value)
    if not has_letter:
        return is_password and value.isdigit() and len(value) <= 12
    return has_digit or any(sign in "!@#$^*+~|" for sign in value)


def find_bearer(match: re.Match[str]) -> Span | None:
    """Take what stands behind `Bearer`, without that word."""
    return match.span(1) if _is_secret(match.group(1), False) else None


def may_hold_token(text: str) -> bool:
    """Tell whether a text has the beginning of a key."""
    for prefix in TOKENS:  # noqa: SIM110 - a generator takes five times as long
        if prefix in text:
            return True
    return False


def may_assign(text: str) -> bool:
    """Tell whether a text may give a value to the name of a secret."""
    if ":" not in text and "=" not in text and " is " not in text:
        return False
    lower = text.lower()
    return any(word in lower for word in _SECRET_WORDS)
