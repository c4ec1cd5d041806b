import pytest

from ftool.prepare.refine.phones import compact, follows_id_word, phone_key
from ftool.prepare.refine.redact import find_personal_data


def phones(text: str) -> list[str]:
    return [text[f.start : f.end] for f in find_personal_data(text) if f.kind == "PHONE"]


@pytest.mark.parametrize(
    "number",
    [
        "(212) 555-0123",
        "(212)555-0123",
        "212-555-0123",
        "212.555.0123",
        "212 555 0123",
        "1-212-555-0123",
        "1 (212) 555-0123",
        "+1 212 555 0123",
        "+12125550123",
        "212-555-0123 x45",
        "212-555-0123, ext. 45",
        "555-0123",
        "01632 960123",
        "(01632) 960 123",
        "020 7946 0958",
        "07700 900123",
        "+44 (0)20 7946 0958",
        "+447700900123",
        "0044 20 7946 0958",
        "030 23125 123",
        "030/23125-12",
        "(0151) 23456789",
        "+49 171 3920012",
        "01 99 00 12 34",
        "06.39.98.12.34",
        "+33 6 39 98 12 34",
        "+34 612 345 678",
        "+353 20 915 1234",
        "+91 11 4903 1234",
        "0800-89-1131",
        "8 (912) 345-67-89",
    ],
)
def test_numbers_that_need_no_announcement(number: str) -> None:
    assert phones(f"Hi, {number}. Thanks") == [number]
    assert phones(number) == [number]
    assert phones(f"the customer ({number}) hung up") == [number]


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("call me on 2125550123 please", "2125550123"),
        ("my mobile is 07700900123", "07700900123"),
        ("Tel. 5550123", "5550123"),
        ("WhatsApp 20 93 45 85. 2 items", "20 93 45 85"),
        ('{"user_phone": "2125550123"}', "2125550123"),
        ("phone_number=2125550123", "2125550123"),
        ("Telefon: 612 345 678", "612 345 678"),
        ("2125550123 is my phone number", "2125550123"),
        ("2125550123 (mobile)", "2125550123"),
        ("order 1234567, phone 2125550123", "2125550123"),
        ("fone 11 91234-5678", "11 91234-5678"),
        ("Téléphone : 0639981234", "0639981234"),
    ],
)
def test_plain_numbers_need_one(text: str, number: str) -> None:
    assert phones(text) == [number]


@pytest.mark.parametrize(
    "text",
    [
        "order 2125550123",
        "I called about order 2125550123",
        "order number: 212-555-0123",
        "number 2125550123",
        "on 01.02.2024 10.30",
        "call on 2024-05-12 or 12-05-2024",
        "phone 20240512",
        "call 1700000000",
        "phone for 1299.00 or 1,299.00",
        "phone with 12345678 points",
        "my phone broke. Invoice total 12345678",
        "I have no phone. There were 12345678 of them",
        "ISBN 0-306-40615-2 and 978-3-16-148410-0",
        "pi is 3.14159265",
        "call the sequence 1-2-3-4-5-6-7",
        "Boston, MA 02110-1301, call me",
        "the iPhone 12345678",
        "bytes 01 02 03 04 05",
        "mobile 2008-2010",
        "$2125550123 or #2125550123 to call",
        "call between 9 - 5 or 10-12",
        "+1 212 55",
        "12+4477009001",
        "quote 666-45-6789, ring 666-45-6789",
        "call 1.2.3.4444444",
    ],
)
def test_other_numbers_stay(text: str) -> None:
    assert phones(text) == []


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("+44 7700 900123 2 times", "+44 7700 900123"),
        ("+1 212 555 0123 12/05", "+1 212 555 0123"),
        ("01632 960123 10 items", "01632 960123"),
        ("12 212-555-0123", "212-555-0123"),
    ],
)
def test_a_number_ends_where_its_country_says(text: str, number: str) -> None:
    assert phones(text) == [number]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("+44 7700 900123", "07700 900123"),
        ("+44 (0)20 7946 0958", "020 7946 0958"),
        ("0044 20 7946 0958", "(020) 7946-0958"),
        ("+1 (212) 555-0123", "212.555.0123 x12"),
        ("1-212-555-0123", "2125550123"),
        ("+353 20 915 1234", "020 915 1234"),
    ],
)
def test_one_number_has_one_key(one: str, other: str) -> None:
    assert phone_key(one) == phone_key(other)


def test_different_numbers_have_different_keys() -> None:
    assert phone_key("212-555-0123") != phone_key("312-555-0123")


def test_words_of_ids() -> None:
    assert compact("12-34 (5)") == "12345"
    assert compact("1Ë2") == "12"
    assert follows_id_word("Order number is: 123", 17)
    assert follows_id_word("order_id 123", 9)
    assert not follows_id_word("order it by phone 123", 18)
