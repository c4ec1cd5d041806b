import pytest

from ftool.prepare.refine.patterns import GATES, NUMBER, NUMBERS
from ftool.prepare.refine.redact import find_personal_data


def found(text: str) -> list[tuple[str, str]]:
    return [(f.kind, text[f.start : f.end]) for f in find_personal_data(text)]


@pytest.mark.parametrize(
    "address",
    [
        "jo@example.com",
        "jo.o'neil+shop@mail.example.co.uk",
        "JO@EXAMPLE.COM",
        "Jo_1@Example.Com",
        "jörg@münchen.example.de",
        "a-b%c@x-y.example.org",
    ],
)
@pytest.mark.parametrize("around", ["{}", "<{}>", "({}),", "mail:{}.", "'{}'", "{}.Thanks", "a={}"])
def test_email(address: str, around: str) -> None:
    assert found(around.format(address)) == [("EMAIL", address)]


@pytest.mark.parametrize(
    "text",
    [
        *("@jo", "jo @ example", "meet @ 10", "icon@2x.png", "a@b", "jo@@example.com", "jo@1.2"),
        "git@example.com:team/project",
    ],
)
def test_no_email(text: str) -> None:
    assert found(text) == []


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("CARD", "4111 1111 1111 1111"),
        ("CARD", "4111-1111-1111-1111"),
        ("CARD", "4111111111111111"),
        ("CARD", "3782 822463 10005"),
        ("IBAN", "DE89 3704 0044 0532 0130 00"),
        ("IBAN", "gb82west12345698765432"),
        ("IBAN", "GB82 WEST 1234 5698 7654 32"),
        ("IP", "203.0.113.7"),
        ("IP", "192.168.1.254"),
        ("IP", "2001:db8::1"),
        ("IP", "2001:0db8:85a3:0000:0000:8a2e:0370:7334"),
        ("NATIONAL_ID", "078-05-1120"),
        ("NATIONAL_ID", "AB123456C"),
        ("NATIONAL_ID", "AB 12 34 56 C"),
        ("NATIONAL_ID", "12345678Z"),
        ("NATIONAL_ID", "12345678-z"),
        ("NATIONAL_ID", "X1234567L"),
        ("NATIONAL_ID", "X-1234567-L"),
        ("NATIONAL_ID", "RSSMRA85T10A562S"),
        ("NATIONAL_ID", "2 55 08 14 168 025 38"),
        ("NATIONAL_ID", "255081416802538"),
    ],
)
def test_structured(kind: str, value: str) -> None:
    for around in ("{}", "it is {}.", "({})", "{} ok", "{}, 12 of 34"):
        assert found(around.format(value)) == [(kind, value)]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("my ssn is 078051120", "078051120"),
        ("Social Security number: 078 05 1120", "078 05 1120"),
        ("BSN 111222333", "111222333"),
        ("PESEL: 44051401359", "44051401359"),
        ("Steuer-ID 86 095 742 719", "86 095 742 719"),
    ],
)
def test_announced_ids(text: str, value: str) -> None:
    assert found(text) == [("NATIONAL_ID", value)]
    assert ("NATIONAL_ID", value) not in found(value)


@pytest.mark.parametrize(
    "text",
    [
        "card 4111 1111 1111 1112",
        "order 4111111111111111",
        "EAN or so 4006381333931",
        "IMEI 356938035643809",
        "IBAN DE89 3704 0044 0532 0130 01",
        "version 1.2.3.4 and v1.2.3.4",
        "firmware update to 10.1.2.3",
        "section 4.3.2.1",
        "1.2.3.4.5 and 256.1.1.1 and 01.02.03.04",
        "netmask 255.255.255.0, 127.0.0.1, 0.0.0.0, ::1, ::",
        "std::vector, 10:20:30, a[1::2], be::ad",
        "00:1A:2B:3C:4D:5E",
        "SSN 000-12-3456, order 123-45-6789",
        "GB123456C or 12345678A",
        "tracking 1Z999AA10123456784, 9400 1000 0000 0000 0000 00",
        "4 28 5 13 15 26 11 13 32",
        "1 000 000 000 or 12 345 678,90 or 12,345,678.90",
    ],
)
def test_traps(text: str) -> None:
    assert found(text) == []


VERSIONS = [
    "Since firmware 1.3.2.1 the printer stops",
    "see section 4.2.1.3 of the manual",
    "Please install 1.3.2.2.",
    "upgraded from 1.3.2.1 to 1.3.2.2",
    "v2.0.0.1 and V 2.0.0.1",
    "SNMP OID 1.3.6.1.2.1 or 1.3.6.1",
    "## 4.2.1.3 Setup",
    "the 96.0.4.2 release",
    "Kapitel 12.40.3.1 und Abschnitt 3.1.2.64",
    "versión 40.1.2.3",
    "driver 31.0.101.44",
]
ADDRESSES = [
    ("I log in from {}", "5.6.7.8"),
    ("server at {}", "81.2.69.160"),
    ("ip: {}", "1.2.3.4"),
    ("IP {} is blocked", "4.3.2.1"),
    ("after the update the host {} is down", "9.8.7.6"),
    ("{} again", "192.168.0.12"),
    ("{} again", "81.2.69.160"),
    ("connected to {}", "10.0.0.5"),
]


@pytest.mark.parametrize("text", VERSIONS)
def test_versions_and_sections_are_no_addresses(text: str) -> None:
    assert found(text) == []


@pytest.mark.parametrize(("text", "address"), ADDRESSES)
def test_addresses_beside_other_words(text: str, address: str) -> None:
    assert found(text.format(address)) == [("IP", address)]


def test_the_earlier_pattern_has_the_place() -> None:
    assert found("call 4111 1111 1111 1111") == [("CARD", "4111 1111 1111 1111")]
    assert found("https://jo:s3cret@example.com") == [("SECRET", "jo:s3cret")]


def test_card_before_expiry_and_code() -> None:
    assert found("4111 1111 1111 1111 12/29 123") == [("CARD", "4111 1111 1111 1111")]
    assert found("4111 1111 1111 1111 123") == [("CARD", "4111 1111 1111 1111")]


def test_gates_stay_shut_on_plain_text() -> None:
    text = "The parcel never came, and nobody answers. It is late; 2 of 3."
    assert not any(gate(text) for gate, _ in GATES)
    assert NUMBER.search(text) is None
    assert {pattern.kind for pattern in NUMBERS} == {"IBAN", "CARD", "NATIONAL_ID", "PHONE"}
