import torch

from ftool.example import EncodedExample
from ftool.model.compute.batch import make_batch, make_row, micro_batch, pad_left


def test_targets_are_the_following_learned_tokens():
    batch = make_batch(
        [EncodedExample("a", (5, 6, 7), (-100, -100, 7)), EncodedExample("b", (8, 9), (-100, 9))]
    )
    assert batch.input_ids.tolist() == [[5, 6, 7], [8, 9, 0]]
    assert batch.position_ids.tolist() == [[0, 1, 2], [0, 1, 2]]
    assert batch.predicts.tolist() == [[False, True, False], [True, False, False]]
    assert batch.targets.tolist() == [7, 9]


def test_prompts_end_in_the_same_column():
    input_ids, real = pad_left([[1, 2, 3], [4]])
    assert input_ids.tolist() == [[1, 2, 3], [0, 0, 4]]
    assert torch.equal(real, torch.tensor([[True, True, True], [False, False, True]]))


SYSTEM = tuple(range(20, 30))
SHARED = [
    EncodedExample("a", (*SYSTEM, 7, 8, 9), (*[-100] * 11, 8, 9)),
    EncodedExample("b", (*SYSTEM, 3, 2, 1, 4), (*[-100] * 12, 1, 4)),
    EncodedExample("c", (6, 5), (-100, 5)),
]


def test_a_row_has_what_examples_begin_with_once_and_no_padding():
    batch = make_row(SHARED)
    assert batch.input_ids.tolist() == [[*SYSTEM, 7, 8, 9, 3, 2, 1, 4, 6, 5]]
    assert batch.position_ids.tolist() == [[*range(10), 10, 11, 12, 10, 11, 12, 13, 0, 1]]
    assert batch.targets.tolist() == [8, 9, 1, 4, 5]
    assert batch.predicts.nonzero()[:, 1].tolist() == [10, 11, 14, 15, 17]
    assert [tuple(node) for node in batch.row.nodes] == [
        (0, 10, 17),
        (10, 13, 13),
        (13, 17, 17),
        (17, 19, 19),
    ]
    moved = batch.to(torch.device("cpu"))
    assert moved.row == batch.row


def test_a_micro_batch_is_a_row_or_padded():
    assert micro_batch(SHARED, shared=True).input_ids.shape == (1, 19)
    assert micro_batch(SHARED, shared=False).input_ids.shape == (3, 14)
    assert micro_batch(SHARED, shared=False).row is None
