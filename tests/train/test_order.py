from hypothesis import given
from hypothesis import strategies as st

from ftool.example import EncodedExample
from ftool.train.order import divided, global_batch, shares
from ftool.train.plan import Plan


@given(count=st.integers(1, 60), size=st.integers(1, 20), seed=st.integers(0, 2**32 - 1))
def test_an_epoch_holds_every_example_once(count, size, seed):
    steps = -(-count // size)
    for epoch in range(2):
        indices = [
            index
            for step in range(epoch * steps, (epoch + 1) * steps)
            for index in global_batch(count, size, seed=seed, step=step)
        ]
        assert sorted(indices) == list(range(count))


def test_epochs_and_seeds_differ():
    first = global_batch(50, 50, seed=1, step=0)
    assert first != global_batch(50, 50, seed=1, step=1)
    assert first != global_batch(50, 50, seed=2, step=0)
    assert first == global_batch(50, 50, seed=1, step=0)


def example(name, prompt):
    return EncodedExample(name, (*prompt, 7, 8), (-100,) * (len(prompt) + 1) + (8,))


TENANTS = [
    example(f"{start}-{number}", (*range(start, start + 20), 200 + number))
    for number in range(3)
    for start in (20, 60)
]


def plan(*, size=9, tokens=999, shared=True):
    return Plan("cpu", "float32", 64, size, tokens, shared, 1, 1, None, 100, {})


def names(parts):
    return [[example.id for example in part] for part in parts]


def test_examples_of_a_global_batch_that_begin_alike_come_together():
    parts = divided([0, 1, 3, 2, 4], TENANTS, plan(tokens=29))
    assert names(parts) == [["20-0", "20-1", "20-2"], ["60-0", "60-1"]]


@given(lengths=st.lists(st.integers(2, 200), min_size=1, max_size=40), count=st.integers(1, 6))
def test_processes_share_a_batch_by_tokens(lengths, count):
    made = [example(str(place), range(length)) for place, length in enumerate(lengths)]
    batch = list(reversed(range(len(made))))
    found = shares(batch, made, count)
    assert found == shares(batch, made, count) and len(found) == count
    assert sorted(index for share in found for index in share) == sorted(batch)
    tokens = [sum(len(made[index].input_ids) for index in share) for share in found]
    assert max(tokens) - min(tokens) <= max(lengths) + 2
    assert count > 1 or found == [batch]


def test_the_first_steps_of_sorted_data_draw_from_all_over():
    # What a dry run tries are these: never the beginning of the data alone.
    tried = [index for step in range(3) for index in global_batch(10_000, 16, seed=17, step=step)]
    assert {index // 1_000 for index in tried} == set(range(10))
