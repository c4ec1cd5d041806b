import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny import tiny_model
from transformers import (
    get_constant_schedule_with_warmup,
    get_cosine_schedule_with_warmup,
    get_linear_schedule_with_warmup,
)

from ftool.recipe.blocks.train import Train
from ftool.train.optimizer import SCHEDULES, learning_rate, make_optimizer

THEIRS = {
    "cosine": get_cosine_schedule_with_warmup,
    "linear": get_linear_schedule_with_warmup,
    "constant": lambda optimizer, warmup, _: get_constant_schedule_with_warmup(optimizer, warmup),
}


@pytest.mark.parametrize("schedule", THEIRS)
@pytest.mark.parametrize(("total", "ratio", "warmup"), [(20, 0.15, 3), (20, 0, 0), (1, 1, 1)])
def test_the_schedule_is_transformers_without_its_zero(schedule, total, ratio, warmup):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.5)
    # Theirs begins with a step of 0 wherever there is a warm-up; the rest is one step longer.
    begins = 1 if warmup else 0
    scheduler = THEIRS[schedule](optimizer, warmup + begins, total + begins)
    train = Train(schedule=schedule, warmup_ratio=ratio, learning_rate=0.5)
    for step in range(-begins, total):
        expected = optimizer.param_groups[0]["lr"]
        if step < 0:
            assert expected == 0
        else:
            assert learning_rate(step, total_steps=total, train=train) == pytest.approx(expected)
        optimizer.step()
        scheduler.step()


@given(
    schedule=st.sampled_from(sorted(SCHEDULES)),
    total=st.integers(1, 5000),
    ratio=st.sampled_from([0, 1e-9, 0.03, 0.5, 1]) | st.floats(0, 1),
)
def test_every_step_learns(schedule, total, ratio):
    train = Train(schedule=schedule, warmup_ratio=ratio, learning_rate=0.5)
    steps = {0, total // 2, total - 1}
    rates = [learning_rate(step, total_steps=total, train=train) for step in steps]
    assert all(0 < rate <= 0.5 for rate in rates)


def test_without_a_warm_up_the_first_step_has_the_peak():
    assert learning_rate(0, total_steps=1, train=Train(warmup_ratio=0, learning_rate=0.5)) == 0.5
    assert learning_rate(0, total_steps=1, train=Train(warmup_ratio=1, learning_rate=0.5)) == 0.25


def test_only_matrices_decay_and_frozen_weights_are_left_out():
    model = tiny_model()
    model.lm_head.weight.requires_grad_(False)
    matrices, vectors = make_optimizer(model, Train(weight_decay=0.1)).param_groups
    assert (matrices["weight_decay"], vectors["weight_decay"]) == (0.1, 0.0)
    assert {p.ndim for p in matrices["params"]} == {2}
    assert {p.ndim for p in vectors["params"]} == {1}
    trainable = sum(p.requires_grad for p in model.parameters())
    assert len(matrices["params"]) + len(vectors["params"]) == trainable
