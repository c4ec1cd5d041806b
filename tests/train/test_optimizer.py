import pytest
import torch
from tiny import tiny_model
from transformers import (
    get_constant_schedule_with_warmup,
    get_cosine_schedule_with_warmup,
    get_linear_schedule_with_warmup,
)

from ftool.recipe.blocks.train import Train
from ftool.train.optimizer import learning_rate, make_optimizer

THEIRS = {
    "cosine": lambda o: get_cosine_schedule_with_warmup(o, 3, 20),
    "linear": lambda o: get_linear_schedule_with_warmup(o, 3, 20),
    "constant": lambda o: get_constant_schedule_with_warmup(o, 3),
}


@pytest.mark.parametrize("schedule", THEIRS)
def test_the_schedule_is_transformers(schedule):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.5)
    scheduler = THEIRS[schedule](optimizer)
    train = Train(schedule=schedule, warmup_ratio=0.15, learning_rate=0.5)
    for step in range(20):
        expected = optimizer.param_groups[0]["lr"]
        assert learning_rate(step, total_steps=20, train=train) == pytest.approx(expected)
        optimizer.step()
        scheduler.step()


def test_only_matrices_decay_and_frozen_weights_are_left_out():
    model = tiny_model()
    model.lm_head.weight.requires_grad_(False)
    matrices, vectors = make_optimizer(model, Train(weight_decay=0.1)).param_groups
    assert (matrices["weight_decay"], vectors["weight_decay"]) == (0.1, 0.0)
    assert {p.ndim for p in matrices["params"]} == {2}
    assert {p.ndim for p in vectors["params"]} == {1}
    trainable = sum(p.requires_grad for p in model.parameters())
    assert len(matrices["params"]) + len(vectors["params"]) == trainable
