"""NaN, infinity and nothing to learn end a run with step and cause, and are never sealed."""

import functools
import json

import pytest
from reliability.harness import (
    copied,
    not_finite,
    poison_file,
    poison_gradient,
    poison_loss,
    poison_moment,
    poison_validation,
    poison_weight,
    training,
)

NAN, INFINITY = float("nan"), float("inf")
# Three micro-batches a step, so the eighth call is of step 3.
FAULTS = {
    "loss NaN": (functools.partial(poison_loss, 8, NAN), 3, "the loss is nan"),
    "loss infinite": (functools.partial(poison_loss, 8, INFINITY), 3, "the loss is inf"),
    "gradient NaN": (functools.partial(poison_gradient, 8, NAN), 3, "the gradient norm is nan"),
    "weight NaN": (functools.partial(poison_weight, 1, NAN), 2, "the loss is nan"),
    "weight NaN at a save": (functools.partial(poison_weight, 2, NAN), 2, "is not finite"),
    "weight infinite at a save": (functools.partial(poison_weight, 4, INFINITY), 4, "the weight "),
    "moment infinite at a save": (
        functools.partial(poison_moment, 4, INFINITY),
        4,
        "the optimizer's exp_avg_sq of parameter",
    ),
    "weight NaN at the last save": (functools.partial(poison_weight, 6, NAN), 6, "is not finite"),
    "validation loss NaN": (
        functools.partial(poison_validation, NAN),
        3,
        "the validation loss is nan",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
@pytest.mark.parametrize("method", ["lora", "full"])
def test_what_is_not_finite_ends_the_run_with_step_cause_and_examples(
    clean, tmp_path, method, name
):
    fault, step, cause = FAULTS[name]
    project = copied(clean, tmp_path / "project")
    outcome = training(project, method, fault=fault)
    run = project / "runs" / method
    assert outcome.code == 3, outcome
    assert f"step {step}: " in outcome.message and cause in outcome.message
    assert f"runs/{method}/diverged.json" in outcome.message
    written = json.loads((run / "diverged.json").read_text())
    assert written["step"] == step and cause in written["cause"]
    assert len(written["examples"]) == 8 and all("tickets.csv" in id for id in written["examples"])
    assert not (run / "manifest.json").exists() and not (run / "model").exists()
    assert not_finite(run) == []


def test_settings_beyond_all_bounds(clean, tmp_path):
    project = copied(clean, tmp_path / "project")
    outcome = training(project, "full", words=("train.learning_rate=1.0e+38",))
    assert outcome.code == 2 and "train.learning_rate: 1e+38" in outcome.message, outcome
    outcome = training(project, "full", words=("train.weight_decay=1.0e+38",))
    assert outcome.code == 3 and "step " in outcome.message, outcome
    assert not_finite(project / "runs/full") == []


@pytest.mark.parametrize("value", [NAN, INFINITY])
@pytest.mark.parametrize("method", ["lora", "full"])
def test_a_base_model_that_is_not_finite_is_refused_before_the_first_step(
    clean, tmp_path, method, value
):
    project = copied(clean, tmp_path / "project")
    poison_file(project / "base/model.safetensors", value)
    outcome = training(project, method)
    assert outcome.code == 3, outcome
    assert "model.base: base: the weight lm_head.weight is not finite; no step" in outcome.message
    assert not (project / f"runs/{method}/steps.jsonl").exists()


def test_nothing_to_learn_is_refused(clean, tmp_path):
    project = copied(clean, tmp_path / "project")
    outcome = training(project, "lora", words=("train.max_length=9",))
    assert outcome.code == 3 and "every train example is longer than 9 tokens" in outcome.message
    assert not (project / "runs/lora/steps.jsonl").exists()


def test_a_file_of_an_earlier_end_does_not_stay(clean, tmp_path):
    project = copied(clean, tmp_path / "project")
    fault = functools.partial(poison_loss, 8, NAN)
    assert training(project, "lora", fault=fault).code == 3
    assert training(project, "lora").code == 0
    assert not (project / "runs/lora/diverged.json").exists()
