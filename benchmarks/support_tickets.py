"""Invented support tickets with the places of their personal data, the same every time."""

import random
import string
from collections.abc import Callable

Span = tuple[int, int, str]
Maker = Callable[[random.Random], str]

SEED = 17
NAMES = ("amelia", "noah", "zoe", "liam", "ines", "jonas", "lucie", "marco", "olga", "pavel")
IDS = ("order", "invoice", "ticket", "case", "booking", "transaction", "reference")
PHONES = (
    "({a}) 555-01##",
    "{a}-555-01##",
    "{a}.555.01##",
    "{a} 555 01##",
    "1-{a}-555-01##",
    "+1 {a} 555 01##",
    "+1-{a}-555-01##",
    "+1{a}55501##",
    "+1 ({a}) 555-01##",
    "({a}) 555-01## ext. 4#",
    "555-01##",
    "01632 960###",
    "(01632) 960 ###",
    "020 7946 0###",
    "(020) 7946 0###",
    "07700 900###",
    "07700 900 ###",
    "0808 157 0###",
    "+44 7700 900###",
    "+44 (0)20 7946 0###",
    "+447700900###",
    "0044 20 7946 0###",
    "030 23125 ###",
    "030/23125###",
    "(0221) 4710 ###",
    "0171-39200##",
    "+49 30 23125 ###",
    "+49 171 39200##",
    "+49 (0)40 66969 ###",
    "01 99 00 ## ##",
    "06.39.98.##.##",
    "06-39-98-##-##",
    "+33 6 39 98 ## ##",
    "+34 6## ### ###",
    "+39 3## ### ####",
    "+353 20 91# ####",
    "+61 4 9157 0###",
    "+81 90-####-####",
    "+91 98### #####",
)
ANNOUNCED_PHONES = (
    "{a}55501##",
    "07700900###",
    "0639980###",
    "015228817###",
    "6## ### ###",
    "## ## ## ##",
    "55501##",
)
PHONE_WORDS = ("Please call me on {}", "My phone is {}", "tel: {}", "mobile {}", "WhatsApp {}")
PHONE_TALK = (
    *("You can reach us at {}", "Try {} after six", "Phone number: {}", "I left {} as contact"),
    *("Her number is {}", "{} is where I answer", "Customer ({}) hung up", "Ring {}, please"),
)
EMAILS = (
    "{n}@example.com",
    "{n}.{m}@example.org",
    "{n}_{m}##@mail.example.net",
    "{n}+shop@example.com",
)
EMAIL_TALK = (
    *("Write to {}", "my email is {}.", "<{}> bounced", "Contact: {}", "E-mail:{}"),
    *("mailto:{}", "({})", "'{}' is not recognised", "Use {}; it is new"),
)
CARDS = (("4", 16), ("51", 16), ("2221", 16), ("37", 15), ("6011", 16), ("3566", 16), ("36", 14))
CARD_TALK = ("I paid with {}", "Card number: {}", "charged {} twice", "{} exp 12/29", "card {}.")
IBANS = {
    "DE": "#" * 18,
    "FR": "#" * 23,
    "GB": "WEST" + "#" * 14,
    "NL": "ABNA" + "#" * 10,
    "ES": "#" * 20,
}
IBAN_TALK = (
    "Refund to {}",
    "IBAN: {}",
    "my account {} at the bank",
    "{} is closed",
    "pay {} please",
)
IP_TALK = (
    "I log in from {}",
    "IP address {}",
    "blocked my IP {}.",
    "ping {} fails",
    "host {} is down",
)
ID_TALK = {
    "ssn": ("SSN {}", "my social security number is {}", "{} is my social", "social: {}"),
    "nino": ("NI number {}", "National Insurance {}", "my NINO is {}."),
    "spanish": ("DNI {}", "mi NIE es {}", "documento {}", "I am {} in Spain"),
    "french": ("sécurité sociale {}", "NIR: {}", "mon numéro est {}"),
    "cued": ("{}",),
}
SECRETS = (
    "AKIA" + "U" * 16,
    "ghp_" + "x" * 36,
    "github_pat_" + "x" * 60,
    "xoxb-" + "#" * 11 + "-" + "x" * 24,
    "sk_live_" + "x" * 24,
    "sk-proj-" + "x" * 40,
    "hf_" + "x" * 34,
    "AIza" + "x" * 35,
    "eyJhbGciOiJIUzI1NiJ9." + "eyJzdWIiOiI" + "x" * 16 + "." + "x" * 43,
)
SECRET_TALK = ("the key {} leaked", "Token: {}", "I use {} in the script.", "export KEY={}")
PASSWORDS = ("x" * 8 + "#!", "Winter####", "xx##-xx##", "qwerty###")
PASSWORD_TALK = (
    "password: {}",
    "my password is {}",
    "pwd={}",
    '{{"password": "{}"}}',
    "Passwort: {}",
)

TRAPS = (
    "my {i} ######## is late",
    "{i} number is ##########",
    "{i} ~{m}-########",
    "{i} 11#-#######-####### has not come",
    "tracking 1Z999AA1########",
    "tracking number 94############ ####",
    "UPC 0 12345 6789# #",
    "SKU AB-####-## and #####-###",
    "ordered on 0#/1#/202#",
    "on 202#-0#-1# at 1#:##:##",
    "2#.0#.202# and 1#.3#.15",
    "since 1#-0#-2#",
    "it costs $1,2##.99 or 1.2##.5##,00 EUR",
    "$######## is wrong",
    "version 1#.#.#.# crashed",
    "v2.#.1#.#",
    "firmware 10.1#.#.#4 installed",
    "ISBN 978-3-16-148410-0",
    "ISBN 0-306-40615-2",
    "IMEI 35693803564380#",
    "serial 49015420323751####",
    "card 4111 1111 1111 1112 was refused by the form",
    "IBAN DE89 3704 0044 0532 0130 01 is a typo",
    "1## x 2## x 3## cm",
    "5#.#% of ####### users",
    "@{n}_{m} tagged me",
    "{n} @ the counter said so",
    "meet me @ 10",
    "open 09:00-17:30, call between 9 and 5",
    "icon@2x.png is missing",
    "I called 3 times in 2 days",
    "the phone cost 1299.00 in 2023",
    "phone model ######## is sold out",
    "password is incorrect",
    "Password: forgotten",
    "the token: invalid",
    "api_key=YOUR_API_KEY",
    "password: ********",
    "lines 1000000-2000000 of the log",
    "timestamp 17########",
    "my call about {i} ######## led nowhere",
    "item ~########",
    "SSN 000-12-3456 was rejected",
    "quote 666-45-6789",
    "100 200 300 pieces",
    "std::vector at 10:20:30",
    "coordinates 51.5073#, -0.1275#",
    "pi is 3.14159265#",
    "room 12-34, floor 5, 2019-2024",
    "zip 9021#-123#",
    "batch 2024 0315 0007",
    "flight BA #### on 2# May",
    "the sequence 1-2-3-4-5-6-7",
    "build 20240#1#.1",
    "netmask 255.255.255.0",
    "section 4.3.2.1 of the terms",
    "PO ####-####-####",
    "coupon SAVE-2024-1234",
    "key: value pairs",
    "reset my PIN, please",
    "1 000 000 000 views",
    "total 12 345 678,90",
    "license plate AB12 CDE",
    "10/12 or 24/7",
    "score 101-98, 3-2",
    "port 8080, 127.0.0.1",
    "the contact form shows error 50012345",
    "text size 12, ring size 7",
)
NEUTRAL = (
    "The parcel never came and nobody answers.",
    "I would like my money back as soon as possible.",
    "Thanks for the quick reply last week!",
    "How do I change the delivery address?",
    "It worked yesterday, today the page stays white.",
)


def filled(template: str, dice: random.Random) -> str:
    """Return a template with digits for `#`, `#` for `~`, and names, areas and words for ids."""
    named = (
        template.replace("{n}", dice.choice(NAMES))
        .replace("{m}", dice.choice(NAMES))
        .replace("{i}", dice.choice(IDS))
        .replace("{a}", str(dice.randrange(201, 989)))
    )
    signs = (dice.choice(string.digits) if sign == "#" else sign for sign in named)
    return "".join(signs).replace("~", "#")


def random_secret(template: str, dice: random.Random) -> str:
    """Return a key: letters and digits for `x`, capitals and digits for `U`, digits for `#`."""
    choices = {
        "x": string.ascii_letters + string.digits,
        "U": string.ascii_uppercase + string.digits,
        "#": string.digits,
    }
    prefix = next(
        (end for end in ("AKIA", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiI") if template.startswith(end)),
        "",
    )
    for known in ("xoxb-", "github_pat_", "sk-proj-", "ghp_", "hf_", "AIza", "sk_live_"):
        prefix = known if template.startswith(known) else prefix
    rest = template[len(prefix) :]
    return prefix + "".join(dice.choice(choices.get(sign, sign)) for sign in rest)


def card(dice: random.Random) -> str:
    """Return a card number with its check digit, in a row, in groups or with dashes."""
    prefix, length = dice.choice(CARDS)
    digits = prefix + "".join(dice.choice(string.digits) for _ in range(length - len(prefix) - 1))
    number = next(
        digits + last
        for last in string.digits
        if sum(
            sum(divmod(int(sign) * (1 + place % 2), 10))
            for place, sign in enumerate(reversed(digits + last))
        )
        % 10
        == 0
    )
    separator = dice.choice(("", " ", "-"))
    cuts = (0, 4, 10, 15) if length < 16 else (0, 4, 8, 12, 16)
    return separator.join(number[cuts[at] : cuts[at + 1]] for at in range(len(cuts) - 1))


def iban(dice: random.Random) -> str:
    """Return an account number with its check digits, in a row or in groups of four."""
    country, shape = dice.choice(sorted(IBANS.items()))
    account = filled(shape, dice)
    value = int("".join(str(int(sign, 36)) for sign in account + country + "00"))
    whole = f"{country}{98 - value % 97:02d}{account}"
    return dice.choice((whole, " ".join(whole[at : at + 4] for at in range(0, len(whole), 4))))


def national_id(dice: random.Random) -> tuple[str, str]:
    """Return the kind of a national id and an id with its check signs."""
    kind = dice.choice(("ssn", "nino", "spanish", "french", "cued"))
    number = dice.randrange(10**7, 10**8)
    if kind == "ssn":
        return (
            kind,
            f"{dice.randrange(1, 665):03d}-{dice.randrange(1, 99):02d}-{number % 9000 + 1:04d}",
        )
    if kind == "nino":
        pairs = [f"{number // 10**power % 100:02d}" for power in (4, 2, 0)]
        return kind, dice.choice(("", " ")).join(("AB", *pairs, dice.choice("ABCD")))
    if kind == "spanish":
        return kind, f"{number}{'TRWAGMYFPDXBNJZSQVHLCKE'[number % 23]}"
    if kind == "french":
        birth = f"{dice.choice('12')}{dice.randrange(30, 99)}0{dice.randrange(1, 9)}"
        first = f"{birth}75{number % 10**6:06d}"
        return kind, f"{first}{97 - int(first) % 97:02d}"
    while (sum(int(sign) * (9 - at) for at, sign in enumerate(str(number))) % 11) == 10:
        number = dice.randrange(10**7, 10**8)
    return kind, f"{number}{sum(int(sign) * (9 - at) for at, sign in enumerate(str(number))) % 11}"


def address(dice: random.Random) -> str:
    """Return an address of the documentation ranges or of a private network."""
    low = dice.randrange(1, 255)
    shapes = (f"203.0.113.{low}", f"198.51.100.{low}", f"192.168.1.{low}", f"10.20.{low}.7")
    return dice.choice((*shapes, f"2001:db8::{low:x}", f"2001:db8:0:1::{low:x}:8a2e"))


def phone(dice: random.Random) -> tuple[str, str]:
    """Return what is said around a phone number, and the number."""
    if dice.random() < 0.25:
        return dice.choice(PHONE_WORDS), filled(dice.choice(ANNOUNCED_PHONES), dice)
    return dice.choice(PHONE_WORDS + PHONE_TALK), filled(dice.choice(PHONES), dice)


def said(dice: random.Random) -> tuple[str, str, str]:
    """Return a type, what is said around its value, and the value."""
    kind = dice.choice(("PHONE", "PHONE", "EMAIL", "CARD", "IBAN", "IP", "NATIONAL_ID", "SECRET"))
    if kind == "PHONE":
        return kind, *phone(dice)
    if kind == "EMAIL":
        return kind, dice.choice(EMAIL_TALK), filled(dice.choice(EMAILS), dice)
    if kind == "NATIONAL_ID":
        name, value = national_id(dice)
        return kind, "my BSN is {}" if name == "cued" else dice.choice(ID_TALK[name]), value
    if kind == "SECRET" and dice.random() < 0.4:
        return kind, dice.choice(PASSWORD_TALK), random_secret(dice.choice(PASSWORDS), dice)
    if kind == "SECRET":
        return kind, dice.choice(SECRET_TALK), random_secret(dice.choice(SECRETS), dice)
    talk, make = {
        "CARD": (CARD_TALK, card),
        "IBAN": (IBAN_TALK, iban),
        "IP": (IP_TALK, address),
    }[kind]
    return kind, dice.choice(talk), make(dice)


def ticket(dice: random.Random) -> tuple[str, list[Span]]:
    """Return a ticket and where its personal data is."""
    text, spans = "", []
    for _ in range(dice.randrange(2, 6)):
        luck = dice.random()
        text += " " * bool(text)
        if luck < 0.35:
            kind, talk, value = said(dice)
            start = len(text) + talk.replace("{{", "{").index("{}")
            spans.append((start, start + len(value), kind))
            text += talk.format(value)
        else:
            text += filled(dice.choice(TRAPS), dice) if luck < 0.75 else dice.choice(NEUTRAL)
        text += "" if text[-1] in ".!?" else "."
    return text, spans


def tickets(rows: int) -> list[tuple[str, list[Span]]]:
    """Return the same tickets every time."""
    dice = random.Random(SEED)
    return [ticket(dice) for _ in range(rows)]


def documents(rows: int) -> list[str]:
    """Return texts of about 100 words without personal data, a number in every other one."""
    dice = random.Random(SEED)
    words = " ".join(NEUTRAL).split()
    texts = []
    for row in range(rows):
        parts = [dice.choice(words) for _ in range(100)]
        parts[50] = filled("order ######## of 202#-0#-1#", dice) if row % 2 else parts[50]
        texts.append(" ".join(parts))
    return texts
