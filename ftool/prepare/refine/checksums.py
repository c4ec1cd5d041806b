"""Numbers that carry their own proof: cards, bank accounts and national ids."""

import re
from collections.abc import Callable
from datetime import date

CARD_PREFIXES: tuple[tuple[str, str, tuple[int, ...]], ...] = (
    ("4", "4", (13, 16, 19)),
    ("51", "55", (16,)),
    ("2221", "2720", (16,)),
    ("34", "34", (15,)),
    ("37", "37", (15,)),
    ("6011", "6011", (16, 19)),
    ("644", "659", (16, 19)),
    ("62", "62", (16, 17, 18, 19)),
    ("3528", "3589", (16, 17, 18, 19)),
    ("300", "305", (14, 16, 19)),
    ("3095", "3095", (14, 16, 19)),
    ("36", "36", (14, 16, 19)),
    ("38", "39", (14, 16, 19)),
    ("2200", "2204", (16, 17, 18, 19)),
    ("5018", "5018", (13, 14, 15, 16, 17, 18, 19)),
    ("5020", "5020", (13, 14, 15, 16, 17, 18, 19)),
    ("5038", "5038", (13, 14, 15, 16, 17, 18, 19)),
    ("5893", "5893", (13, 14, 15, 16, 17, 18, 19)),
    ("6304", "6304", (13, 14, 15, 16, 17, 18, 19)),
    ("6759", "6763", (13, 14, 15, 16, 17, 18, 19)),
    ("60", "60", (16,)),
    ("81", "82", (16,)),
)
"""First and last prefix of a card network, and the lengths of its numbers."""

IBAN_LENGTHS = {
    country: int(length)
    for country, length in re.findall(
        r"([A-Z]{2})(\d{2})",
        "AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DK18 DO28"
        " EE20 EG29 ES24 FI18 FK18 FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HR21 HU28 IE22 IL23"
        " IQ23 IS26 IT27 JO30 KW30 KZ20 LB28 LC32 LI21 LT20 LU20 LV21 LY25 MC27 MD24 ME22 MK19"
        " MN20 MR27 MT31 MU30 NI28 NL18 NO15 OM23 PK24 PL28 PS29 PT25 QA29 RO24 RS22 RU33 SA24"
        " SC31 SD18 SE24 SI19 SK24 SM27 SO23 ST25 SV28 TL23 TN24 TR26 UA29 VA22 VG24 XK20",
    )
}
"""Country -> characters of its account numbers (SWIFT IBAN registry)."""

_NOT_NINO = frozenset(("BG", "GB", "KN", "NK", "NT", "TN", "ZZ"))
_SPANISH_LETTERS = "TRWAGMYFPDXBNJZSQVHLCKE"
_ITALIAN_ODD = dict(
    zip(
        "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ",
        (
            *(1, 0, 5, 7, 9, 13, 15, 17, 19, 21),
            *(1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25),
            *(24, 23),
        ),
        strict=True,
    )
)
_PESEL_WEIGHTS = (1, 3, 7, 9, 1, 3, 7, 9, 1, 3, 1)
_PESEL_CENTURIES = (1900, 2000, 2100, 2200, 1800)


def is_luhn(digits: str) -> bool:
    """Tell whether digits end in their check digit.

    Source: ISO/IEC 7812-1, annex B.
    """
    doubled = (int(digit) * 2 for digit in digits[-2::-2])
    total = sum(int(digit) for digit in digits[::-2])
    return (total + sum(value - 9 if value > 9 else value for value in doubled)) % 10 == 0


def is_card(digits: str) -> bool:
    """Tell whether digits are a card number: a network's prefix, its length, the check digit."""
    return len(set(digits)) > 1 and _is_issued(digits) and is_luhn(digits)


def _is_issued(digits: str) -> bool:
    return any(
        first <= digits[: len(first)] <= last and len(digits) in lengths
        for first, last, lengths in CARD_PREFIXES
    )


def is_iban(account: str) -> bool:
    """Tell whether an account number without spaces has its country's length and check digits.

    Source: ISO 13616; the check is ISO 7064 mod 97-10.
    """
    account = account.upper()
    if len(account) != IBAN_LENGTHS.get(account[:2]) or not account[2:4].isdigit():
        return False
    return int("".join(str(int(sign, 36)) for sign in account[4:] + account[:4])) % 97 == 1


def is_ssn(digits: str) -> bool:
    """Tell whether nine digits may be a US Social Security number.

    Source: SSA, randomization of 2011: no area 000, 666 or 900-999, group 00 or serial 0000.
    """
    area, group, serial = digits[:3], digits[3:5], digits[5:]
    return area not in {"000", "666"} and area < "900" and group != "00" and serial != "0000"


def is_nino(text: str) -> bool:
    """Tell whether two letters, six digits and a letter may be a UK National Insurance number.

    Source: HMRC National Insurance Manual, NIM39110.
    """
    return text[:2] not in _NOT_NINO


def is_spanish(text: str) -> bool:
    """Tell whether a DNI or NIE ends in its letter (the number modulo 23)."""
    text = text.upper()
    number = text[:-1].translate(str.maketrans("XYZ", "012"))
    return _SPANISH_LETTERS[int(number) % 23] == text[-1]


def is_italian(text: str) -> bool:
    """Tell whether a codice fiscale ends in its letter.

    Source: Decreto ministeriale 23 dicembre 1976, art. 8.
    """
    odd = sum(_ITALIAN_ODD[sign] for sign in text[0:15:2])
    even = sum(int(sign) if sign.isdigit() else ord(sign) - ord("A") for sign in text[1:15:2])
    return chr(ord("A") + (odd + even) % 26) == text[15]


def is_french(text: str) -> bool:
    """Tell whether a NIR ends in its key, 97 - number mod 97; Corsica's 2A and 2B are 19 and 18.

    Source: INSEE, numéro d'inscription au répertoire.
    """
    number = text[:-2].upper().replace("2A", "19").replace("2B", "18")
    return number.isdigit() and 97 - int(number) % 97 == int(text[-2:])


def is_bsn(digits: str) -> bool:
    """Tell whether nine digits pass the Dutch test of eleven, the last one counting negative."""
    total = sum(int(digit) * weight for digit, weight in zip(digits, range(9, 1, -1), strict=False))
    return len(digits) == 9 and int(digits) > 0 and (total - int(digits[8])) % 11 == 0


def is_pesel(digits: str) -> bool:
    """Tell whether eleven digits are a Polish PESEL: a date of birth and a weighted check digit."""
    total = sum(int(digit) * weight for digit, weight in zip(digits, _PESEL_WEIGHTS, strict=False))
    century, month = divmod(int(digits[2:4]), 20)
    try:
        date(_PESEL_CENTURIES[century] + int(digits[:2]), month, int(digits[4:6]))
    except ValueError:
        return False
    return len(digits) == 11 and total % 10 == 0


def is_german_tax_id(digits: str) -> bool:
    """Tell whether eleven digits are a German tax id: one or two repeats and a check digit.

    Source: Bundeszentralamt für Steuern, Steuer-Identifikationsnummer; ISO 7064 mod 11,10.
    """
    if len(digits) != 11 or digits[0] == "0" or len(set(digits[:10])) not in {8, 9}:
        return False
    product = 10
    for digit in digits[:10]:
        total = (int(digit) + product) % 10 or 10
        product = total * 2 % 11
    return (11 - product) % 10 == int(digits[10])


NATIONAL_IDS_WITH_CUE: tuple[tuple[str, int, Callable[[str], bool]], ...] = (
    (r"ssn|social\s+security", 9, is_ssn),
    (r"bsn|burgerservicenummer|sofinummer", 9, is_bsn),
    (r"pesel", 11, is_pesel),
    (
        r"steuer-?id\w*|steuer-?identifikations\w*|idnr|german\s+tax|tax[\s-]+(?:id|number)",
        11,
        is_german_tax_id,
    ),
)
"""What announces a plain number, its digits, and its test."""
