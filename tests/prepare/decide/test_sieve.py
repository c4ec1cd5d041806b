import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ftool.prepare.decide.sieve import Sieve

HASHES = st.lists(st.integers(0, 2**64 - 1), max_size=50).map(lambda v: np.array(v, np.uint64))


@given(HASHES)
def test_what_is_in_it_passes(hashes: np.ndarray) -> None:
    assert Sieve.of(hashes).may_hold(hashes).all()


def test_few_others_pass_and_an_empty_one_holds_nothing() -> None:
    draw = np.random.default_rng(1).integers(0, 2**64, 200_000, dtype=np.uint64)
    sieve = Sieve.of(draw[:100_000])
    assert sieve.may_hold(draw[:100_000]).all()
    assert sieve.may_hold(draw[100_000:]).mean() < 0.08
    assert not Sieve.of(draw[:0]).may_hold(draw).any()
