"""Telephone numbers: what tells them from dates, prices, ids and other digits."""

import re

_TWO_DIGIT_COUNTRIES = frozenset(
    re.findall(
        r"\d\d",
        "20 27 30 31 32 33 34 36 39 40 41 43 44 45 46 47 48 49 51 52 53 54 55 56 57 58 60 61 62 63"
        " 64 65 66 81 82 84 86 90 91 92 93 94 95 98",
    )
)
_THREE_DIGIT_COUNTRIES = re.compile(
    r"2[1-69][0-9]|3[578][0-9]|42[013]|5[09][0-9]|6[789][0-9]|8[058][0-9]|9[679][0-9]"
)
_NATIONAL_DIGITS = {
    "1": (10, 10),
    "7": (10, 10),
    "31": (9, 9),
    "32": (8, 9),
    "33": (9, 9),
    "34": (9, 9),
    "41": (9, 9),
    "44": (9, 10),
    "45": (8, 8),
    "46": (7, 9),
    "47": (8, 8),
    "48": (9, 9),
    "49": (6, 11),
    "52": (10, 10),
    "55": (10, 11),
    "61": (6, 10),
    "81": (9, 10),
    "86": (9, 11),
    "91": (10, 10),
    "351": (9, 9),
    "353": (7, 9),
    "420": (9, 9),
}
"""Country -> fewest and most digits behind its code (ITU-T E.164 national plans)."""
_MOST_DIGITS = 15

_CUE = re.compile(
    r"(?<![^\W_])(?:(?:tele|mobile|cell|smart)?phones?|phone_?(?:number|no)|tel|telefon\w*|t[ée]l[ée]fon\w*|t[ée]l[ée]phone|rufnummer|call(?:s|ed"
    r"|ing)?|mobiles?|m[óo]vil|cell|cellular|cellulare|celular|fone|handy|portable|ring|whats\s?app|sms"
    r"|text(?:ed)?\s+(?:me|us|him|her)|fax|dial|landline|hotline|reach\s+(?:me|us|him|her)"
    r"|contact(?:\s+(?:me|us|number|no))|(?:my|her|his|our)\s+number|anrufen|appeler|llamar)"
    r"(?![^\W_])",
    re.IGNORECASE,
)
_CUE_BEHIND = re.compile(
    r" is (?:my|our|the|his|her) (?:\w+ )?(?:phone|mobile|cell|whatsapp|landline|telephone)"
    r"| ?\((?:phone|mobile|cell|home|work|tel|office|whatsapp)\b",
    re.IGNORECASE,
)
_ID_WORDS = (
    r"(?:orders?|invoices?|tracking|tickets?|cases?|ref|reference|accounts?|acct|serial|sku|skus"
    r"|isbn|ean|upc|gtin|imei|items?|products?|parts?|model|booking|reservation|confirmation"
    r"|transactions?|policy|(?:customer|member|user)\s+(?:number|no|nr)|membership|ids?|codes?|po|parcel|shipment|package"
    r"|batch|lot|version|article|asin|vin|claim|receipt|voucher|coupon|build|error"
    r"|bestellnummer|bestellung|auftrag|rechnung|kundennummer|commande|pedido|factura"
    r"|zip|postcode|serie|licen[cs]e|passport|meter)"
)
_ID = re.compile(rf"(?<![^\W_]){_ID_WORDS}(?![^\W_])", re.IGNORECASE)
_ID_CLOSE = re.compile(
    rf"(?<![^\W_]){_ID_WORDS}(?:[\s_]*(?:number|no|nr|num|id|code|is|was|to|of))*\W{{0,4}}$",
    re.IGNORECASE,
)
_DATE = re.compile(
    r"(?:\d\d?([ ./-])\d\d?\1(?:(?:19|20)\d\d|(?<! )\d\d)"
    r"|(?:19|20)\d\d([ ./-])(?:0?[1-9]|1[0-2])\2(?:0?[1-9]|[12]\d|3[01]))(?![0-9])"
)
_STAMP = re.compile(r"(?:19|20)\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])(?:\d{4,6})?|1[67]\d{8}")
_PAIRS = re.compile(r"0[1-9](?:([ .-]?)\d\d)(?:\1\d\d){3}")
_BYTES = re.compile(r"0\d(?: 0\d){3,}")
_EXTENSION = re.compile(r",? ?(?:x|ext\.?|extension) ?[0-9]{1,6}(?![\w-])", re.IGNORECASE)
_AMOUNT_BEHIND = re.compile(
    r"\s?(?:[%€$£¥]|(?:eur|usd|gbp|inr|vnd|idr|jpy|dollars?|euros?|pounds?|points?|views|times|users"
    r"|people|units|pieces|miles|km|kg|g|ml|mb|gb|kb|bytes|ms|hours?|minutes?|days)\b)",
    re.IGNORECASE,
)
_SENTENCE_END = re.compile(r"[.!?;]\s+(?=[^\W\d_]{2})")
_OTHER_SHAPE = re.compile(
    r"[0-9]{3}-[0-9]{2}-[0-9]{4}|[0-9]{1,3}(?:\.[0-9]{1,3}){3}|[0-9]+\.[0-9]{1,2}|[0-9]{1,3}\.[0-9]{4,}"
    r"|(?:[0-9][ .\-/]){3,}[0-9]+|(?:19|20)[0-9]{2} ?- ?(?:19|20)[0-9]{2}|[0-9]{5}-[0-9]{4}"
)
"""An id, an address or version, decimals, a list of digits, years, a ZIP code."""
_GROUP = re.compile(r"[0-9]+")

Span = tuple[int, int]


def compact(text: str) -> str:
    """Return the ASCII letters and digits of a number that is written in groups."""
    return "".join(sign for sign in text if sign.isascii() and sign.isalnum())


def group_ends(match: re.Match[str]) -> list[tuple[int, int]]:
    """Return the end of every group of digits of a match, and the digits up to there."""
    ends, count = [], 0
    for group in _GROUP.finditer(match.string, match.start(), match.end()):
        count += len(group.group())
        ends.append((group.end(), count))
    return ends


def follows_id_word(text: str, start: int) -> bool:
    """Tell whether a number is announced as an order, an invoice, a serial number and the like."""
    return _ID_CLOSE.search(text, max(0, start - 40), start) is not None


def find_international(match: re.Match[str]) -> Span | None:
    """Take a number behind `+` with the digits that its country has."""
    most = _country_digits(match)
    return _cut(match, *most) if most is not None else None


def _country_digits(match: re.Match[str], prefix: int = 0) -> Span | None:
    """Return how many digits the number has with its country code, or None without a country."""
    digits = compact(match.group().replace("+", ""))[prefix:]
    code = digits[0] if digits[0] in "17" else digits[:2]
    if len(code) == 2 and code not in _TWO_DIGIT_COUNTRIES:
        code = digits[:3]
        if not _THREE_DIGIT_COUNTRIES.fullmatch(code):
            return None
    fewest, most = _NATIONAL_DIGITS.get(code, (7, _MOST_DIGITS - len(code)))
    trunk = "(0)" in match.group()
    return len(code) + fewest + trunk, len(code) + most + trunk


def find_local(match: re.Match[str]) -> Span | None:
    """Take three groups as in North America, unless they are announced as an id."""
    if follows_id_word(match.string, match.start()):
        return None
    return match.start(), _with_extension(match.string, match.end())


def find_national(match: re.Match[str]) -> Span | None:
    """Take a number with a trunk `0` or `00` in groups, unless it is a date, decimal or id."""
    text = match.group()
    is_pairs = _PAIRS.match(text) is not None
    digits = compact(text)
    if _OTHER_SHAPE.fullmatch(text) or (text[:2] == "00" and not text[2].isdigit()):
        return None
    if follows_id_word(match.string, match.start()) or (not is_pairs and _is_time(text)):
        return None
    if digits.startswith("00"):
        country = _country_digits(match, prefix=2)
        return _cut(match, country[0] + 2, country[1] + 2) if country else None
    if _BYTES.match(text):
        return None
    if is_pairs:
        return _cut(match, 10, 10)
    if text.count(".") == 1 and len(digits) == len(text) - 1:
        return None
    return _cut(match, 9, 12)


def find_announced(match: re.Match[str]) -> Span | None:
    """Take any plausible number that a word such as `phone` or `call` announces."""
    text, start = match.string, match.start()
    if _is_time(match.group()) or _OTHER_SHAPE.fullmatch(match.group()):
        return None
    if _AMOUNT_BEHIND.match(text, match.end()) or not _is_announced(text, start, match.end()):
        return None
    first = _GROUP.match(text, start)
    if first is not None and len(first.group()) >= 7:
        if _AMOUNT_BEHIND.match(text, first.end()) or len(first.group()) > _MOST_DIGITS:
            return None
        return start, _with_extension(text, first.end())
    return _cut(match, 7, _MOST_DIGITS)


def _is_announced(text: str, start: int, end: int) -> bool:
    """Tell whether the nearest word of the sentence that names a number names a phone."""
    before = _SENTENCE_END.split(text[max(0, start - 48) : start])[-1]
    cue = max((found.end() for found in _CUE.finditer(before)), default=-1)
    named = max((found.end() for found in _ID.finditer(before)), default=-1)
    if named > cue:
        return False
    return cue >= 0 or _CUE_BEHIND.match(text, end) is not None


def _is_time(text: str) -> bool:
    """Tell whether digits begin with a date, or are a date or a second count without separators."""
    return _DATE.match(text) is not None or _STAMP.fullmatch(text) is not None


def _cut(match: re.Match[str], fewest: int, most: int) -> Span | None:
    """Return the longest run of whole groups with a plausible count of digits."""
    for end, count in reversed(group_ends(match)):
        if fewest <= count <= most:
            return match.start(), _with_extension(match.string, end)
    return None


def _with_extension(text: str, end: int) -> int:
    extension = _EXTENSION.match(text, end)
    return extension.end() if extension is not None else end


def phone_key(text: str) -> str:
    """Return what the same number has in common however it is written.

    Country code, trunk zero and extension go, so `+44 7700 900123` is `07700 900123`.
    """
    number = _EXTENSION.sub("", text).replace("(0)", "")
    digits = compact(number.replace("+", ""))
    if number.startswith("+") or digits.startswith("00"):
        digits = digits.removeprefix("00")
        if digits[0] in "17":
            return digits[1:]
        return digits[2 if digits[:2] in _TWO_DIGIT_COUNTRIES else 3 :]
    if len(digits) == 11 and digits[0] == "1":
        return digits[1:]
    return digits.removeprefix("0")
