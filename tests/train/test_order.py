from hypothesis import given
from hypothesis import strategies as st

from ftool.train.order import global_batch, micro_batches


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


def test_micro_batches_hold_the_batch_by_length():
    lengths = [9, 1, 5, 7, 3]
    every = [0, 1, 2, 3, 4]
    assert micro_batches(every, lengths, size=2, tokens=99) == [[1, 4], [2, 3], [0]]
    assert micro_batches(every, lengths, size=9, tokens=10) == [[1, 4], [2], [3], [0]]
    assert micro_batches(every, lengths, size=9, tokens=1) == [[1], [4], [2], [3], [0]]


def test_a_shared_prefix_counts_once():
    lengths = [12, 11, 14, 13]
    every = [0, 1, 2, 3]
    assert micro_batches(every, lengths, size=9, tokens=20, prefix=10) == [[1, 0, 3, 2]]
    assert micro_batches(every, lengths, size=9, tokens=16, prefix=10) == [[1, 0, 3], [2]]
    assert micro_batches(every, lengths, size=2, tokens=99, prefix=10) == [[1, 0], [3, 2]]
