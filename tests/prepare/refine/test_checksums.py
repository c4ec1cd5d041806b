from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftool.prepare.refine.checksums import (
    IBAN_LENGTHS,
    is_bsn,
    is_card,
    is_french,
    is_german_tax_id,
    is_iban,
    is_italian,
    is_luhn,
    is_nino,
    is_pesel,
    is_spanish,
    is_ssn,
)

GOOD: list[tuple[Callable[[str], bool], str]] = [
    (is_card, "4111111111111111"),
    (is_card, "378282246310005"),
    (is_card, "30569309025904"),
    (is_card, "6011111111111117"),
    (is_card, "3530111333300000"),
    (is_card, "2223003122003222"),
    (is_iban, "DE89370400440532013000"),
    (is_iban, "GB82WEST12345698765432"),
    (is_iban, "gb82west12345698765432"),
    (is_iban, "NO9386011117947"),
    (is_iban, "MT84MALT011000012345MTLCAST001S"),
    (is_ssn, "078051120"),
    (is_nino, "AB123456C"),
    (is_spanish, "12345678Z"),
    (is_spanish, "X1234567L"),
    (is_italian, "RSSMRA85T10A562S"),
    (is_french, "255081416802538"),
    (is_french, "180032A00400103"),
    (is_bsn, "111222333"),
    (is_pesel, "44051401359"),
    (is_german_tax_id, "86095742719"),
]
BAD: list[tuple[Callable[[str], bool], str]] = [
    (is_card, "4111111111111112"),
    (is_card, "0000000000000000"),
    (is_card, "9111111111111110"),
    (is_card, "356938035643809"),  # an IMEI: Luhn is right, no network has it
    (is_iban, "DE89370400440532013001"),
    (is_iban, "DE8937040044053201300"),
    (is_iban, "ZZ89370400440532013000"),
    (is_ssn, "000121234"),
    (is_ssn, "666121234"),
    (is_ssn, "900121234"),
    (is_ssn, "123001234"),
    (is_ssn, "123120000"),
    (is_nino, "GB123456C"),
    (is_spanish, "12345678A"),
    (is_italian, "RSSMRA85T10A562T"),
    (is_french, "255081416802539"),
    (is_bsn, "111222334"),
    (is_bsn, "000000000"),
    (is_bsn, "11122233"),
    (is_pesel, "44051401358"),
    (is_pesel, "44993401359"),
    (is_german_tax_id, "86095742718"),
    (is_german_tax_id, "12345678903"),
]


@pytest.mark.parametrize(("test", "number"), GOOD)
def test_numbers_that_prove_themselves(test: Callable[[str], bool], number: str) -> None:
    assert test(number)


@pytest.mark.parametrize(("test", "number"), BAD)
def test_numbers_that_do_not(test: Callable[[str], bool], number: str) -> None:
    assert not test(number)


@given(st.text("0123456789", min_size=1, max_size=18), st.data())
def test_one_wrong_digit_is_noticed(digits: str, data: st.DataObject) -> None:
    whole = next(digits + last for last in "0123456789" if is_luhn(digits + last))
    place = data.draw(st.integers(0, len(whole) - 1))
    other = data.draw(st.sampled_from([sign for sign in "0123456789" if sign != whole[place]]))
    assert not is_luhn(whole[:place] + other + whole[place + 1 :])


@given(st.text("0123456789", min_size=18, max_size=18))
def test_exactly_one_pair_of_check_digits_fits(account: str) -> None:
    fits = [check for check in range(2, 99) if is_iban(f"DE{check:02d}{account}")]
    assert len(fits) == 1


def test_lengths_of_accounts() -> None:
    assert IBAN_LENGTHS["NO"] == 15
    assert IBAN_LENGTHS["RU"] == 33
    assert len(IBAN_LENGTHS) > 80
