import torch

from ftool.example import EncodedExample
from ftool.model.batch import make_batch, pad_left


def test_targets_are_the_following_learned_tokens():
    batch = make_batch(
        [EncodedExample("a", (5, 6, 7), (-100, -100, 7)), EncodedExample("b", (8, 9), (-100, 9))]
    )
    assert batch.input_ids.tolist() == [[5, 6, 7], [8, 9, 0]]
    assert batch.position_ids.tolist() == [[0, 1, 2], [0, 1, 2]]
    assert batch.predicts.tolist() == [[False, True, False], [True, False, False]]
    assert batch.targets.tolist() == [7, 9]
    assert batch.tokens == 5


def test_prompts_end_in_the_same_column():
    input_ids, real = pad_left([[1, 2, 3], [4]])
    assert input_ids.tolist() == [[1, 2, 3], [0, 0, 4]]
    assert torch.equal(real, torch.tensor([[True, True, True], [False, False, True]]))
