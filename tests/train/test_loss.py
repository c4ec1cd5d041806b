import pytest
import torch

from ftool.train.loss import normalized_loss


def test_micro_batches_add_up_to_the_mean_over_all_learned_tokens():
    losses = torch.tensor([1.0, 2.0, 6.0])
    parts = [normalized_loss(part, learned_tokens=3) for part in (losses[:1], losses[1:])]
    assert sum(part.item() for part in parts) == pytest.approx(3.0)


def test_the_mean_of_the_processes_is_the_mean_over_all_learned_tokens():
    parts = [
        normalized_loss(torch.tensor(part), learned_tokens=3, processes=2)
        for part in ([1.0], [2.0, 6.0])
    ]
    assert sum(part.item() for part in parts) / 2 == pytest.approx(3.0)
