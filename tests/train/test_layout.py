from hypothesis import given
from hypothesis import strategies as st

from ftool.example import EncodedExample
from ftool.model.compute.batch import micro_batch
from ftool.train.layout import COUNTED_STEPS, lay_out, run_tokens
from ftool.train.plan import Plan


def example(name, prompt):
    return EncodedExample(name, (*prompt, 7, 8), (-100,) * (len(prompt) + 1) + (8,))


TENANTS = [
    example(f"{start}-{number}", (*range(start, start + 20), 200 + number))
    for number in range(3)
    for start in (20, 60)
]


def plan(*, size=9, tokens=999, shared=True, steps=1):
    return Plan("cpu", "float32", 64, size, tokens, shared, steps, steps, None, 100, {})


def test_what_rows_save_is_counted_without_the_learned_tokens():
    # Each tenant's 20 tokens run once instead of three times; a prompt has 22 unlearned tokens.
    found = lay_out(TENANTS, plan(), size=6, seed=1)
    assert found.saved_ratio == 2 * 40 / (6 * 22)
    assert (found.given, found.prompt, found.run, found.padding) == (138, 132, 58, 0)
    assert sorted(e.id for e in found.largest) == sorted(e.id for e in TENANTS)
    assert lay_out(TENANTS, plan(size=1), size=6, seed=1).saved_ratio == 0


def test_padding_is_told_apart_from_what_is_saved():
    data = [example("short", range(20, 22)), example("long", range(30, 38))]
    found = lay_out(data, plan(shared=False), size=2, seed=1)
    assert (found.given, found.run, found.padding) == (14, 20, 6)
    assert (found.saved_ratio, found.padding_ratio) == (0, 0.3)


def test_the_longest_example_is_looked_at_however_late_it_comes():
    steps = 3 * COUNTED_STEPS
    data = [example(str(n), range(20, 24)) for n in range(steps)]
    for place in (0, steps // 2, steps - 1):
        data[place] = example("long", range(20, 60))
        found = lay_out(data, plan(steps=steps), size=1, seed=5)
        assert [one.id for one in found.largest] == ["long"]
        assert COUNTED_STEPS <= found.steps <= COUNTED_STEPS + 1
        data[place] = example(str(place), range(20, 24))


@given(
    lengths=st.lists(st.integers(2, 40), min_size=1, max_size=6),
    shared=st.booleans(),
    prefix=st.integers(0, 20),
)
def test_tokens_run_are_those_of_the_batch(lengths, shared, prefix):
    part = [
        example(str(n), (*range(100, 100 + prefix), *range(n * 40, n * 40 + length)))
        for n, length in enumerate(lengths)
    ]
    batch = micro_batch(part, shared=shared)
    tokens, padding = run_tokens(part, shared=shared)
    assert tokens == batch.input_ids.numel()
    assert 0 <= padding < tokens
