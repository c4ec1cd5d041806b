import torch

from ftool.example import EncodedExample
from ftool.model.batch import make_batch, make_shared_batch, pad_left, shared_prefix


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


SHARED = [
    EncodedExample("a", (5, 6, 7, 8, 9), (-100, -100, -100, 8, 9)),
    EncodedExample("b", (5, 6, 7, 4), (-100, -100, -100, 4)),
    EncodedExample("c", (5, 6, 3, 2, 1, 4), (-100, -100, -100, -100, 1, 4)),
]


def test_the_prefix_ends_before_the_token_that_predicts_the_first_learned_one():
    assert shared_prefix(SHARED) == 2
    assert shared_prefix(SHARED[:2]) == 2
    assert shared_prefix(SHARED[2:]) == 3
    assert shared_prefix([EncodedExample("a", (1, 2), (-100, 2))]) == 0


def test_examples_stand_behind_one_prefix_and_see_only_it_and_themselves():
    batch = make_shared_batch(SHARED, prefix=2)
    assert batch.input_ids.tolist() == [[5, 6, 7, 8, 9, 7, 4, 3, 2, 1, 4]]
    assert batch.position_ids.tolist() == [[0, 1, 2, 3, 4, 2, 3, 2, 3, 4, 5]]
    assert batch.targets.tolist() == [8, 9, 4, 1, 4]
    assert batch.row.prefix == 2
