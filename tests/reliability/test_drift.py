"""A run that would go on as another one is refused with names and both values."""

import functools
import json
import shutil

import pyarrow.parquet as parquet
import pytest
from reliability.harness import (
    CHECKPOINTED,
    KILLED,
    STEPS,
    copied,
    learned_bytes,
    poison_file,
    stop_after,
    training,
)

SETTINGS = {
    "model.dtype": "float32",
    "train.learning_rate": "1.0e-3",
    "train.max_steps": "7",
    "train.epochs": "5",
    "train.schedule": "linear",
    "train.warmup_ratio": "0.2",
    "train.weight_decay": "0.1",
    "train.max_grad_norm": "0.5",
    "train.global_batch_size": "4",
    "train.max_length": "100",
    "train.shared_prefix": "off",
    "train.method.r": "8",
    "train.method.alpha": "9",
    "train.method.dropout": "0.1",
    "train.validate.examples": "5",
    "train.validate.every": "2 steps",
    "eval.metric": "accuracy",
}
FOREIGN = ("train.learning_rate=0.5",)
FREE = {
    "train.batch_size_per_device": "8",
    "train.checkpoint.keep": "3",
    "train.checkpoint.every": "1 steps",
    "train.tracking": "[tensorboard]",
}


def change_base(project):
    poison_file(project / "base/model.safetensors", 0.5)
    return "base weights"


def change_template(project):
    file = project / "base/chat_template.jinja"
    file.write_text(file.read_text().replace("<|im_end|>\n", "<|im_end|>"))
    return "chat template"


def change_tokenizer(project):
    file = project / "base/tokenizer.json"
    content = json.loads(file.read_text())
    content["model"]["merges"].pop()
    file.write_text(json.dumps(content))
    return "tokenizer"


def change_data(project):
    from ftool.prepare.run import prepare
    from ftool.recipe.file import load_recipe

    tickets = project / "tickets.csv"
    tickets.write_text(tickets.read_text().replace("order 7", "order 77"))
    prepare(load_recipe(project / "recipe.yaml"), output=project / "data", fresh=True)
    return "dataset"


def change_seed(project):
    from ftool.prepare.run import prepare
    from ftool.recipe.file import load_recipe

    recipe = project / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace("name: tiny\n", "name: tiny\nseed: 18\n"))
    prepare(load_recipe(recipe), output=project / "data", fresh=True)
    return "seed: 17 there, 18 here"


def change_prepared_rows(project):
    (file,) = (project / "data/tiny/train").glob("*.parquet")
    table = parquet.read_table(file)
    parquet.write_table(table.take(list(reversed(range(table.num_rows)))), file)
    return "was changed since it was prepared: train/"


def copy_foreign_checkpoint(project):
    foreign = copied(project, project.with_name("foreign"))
    shutil.rmtree(foreign / "runs")
    assert training(foreign, "lora", words=FOREIGN).code == 0
    shutil.copytree(
        foreign / f"runs/lora/checkpoints/step-{STEPS:06d}",
        project / f"runs/lora/checkpoints/step-{STEPS:06d}",
    )
    return f"step-{STEPS:06d} is of another run:\n  train.learning_rate: 0.5 there, 0.01 here"


CHANGES = (
    change_base,
    change_template,
    change_tokenizer,
    change_data,
    change_seed,
    change_prepared_rows,
    copy_foreign_checkpoint,
)


def papers(run):
    """Return the state that a refusal must leave alone."""
    return {
        path.relative_to(run): path.read_bytes()
        for path in (run / "checkpoints").rglob("*")
        if path.is_file()
    }


def refused(project, name, **arguments):
    before = papers(project / "runs/lora")
    outcome = training(project, "lora", **arguments)
    assert outcome.code == 3, outcome
    assert name in outcome.message
    assert not (project / "runs/lora/manifest.json").exists()
    assert papers(project / "runs/lora") == before
    return outcome.message


@pytest.mark.parametrize("key", SETTINGS)
def test_a_changed_setting_is_refused_by_name(interrupted, tmp_path, key):
    project = copied(interrupted, tmp_path / "project")
    message = refused(project, f"  {key}: ", words=(f"{key}={SETTINGS[key]}",))
    assert "there" in message and "here" in message and "--fresh" in message


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_a_changed_input_is_refused_by_name(interrupted, tmp_path, change):
    project = copied(interrupted, tmp_path / "project")
    refused(project, change(project))


def test_a_foreign_best_checkpoint_is_refused(interrupted, tmp_path):
    project = copied(interrupted, tmp_path / "project")
    foreign = copied(interrupted, tmp_path / "foreign")
    shutil.rmtree(foreign / "runs")
    stop = functools.partial(stop_after, CHECKPOINTED + 1)
    assert training(foreign, "lora", fault=stop, words=FOREIGN).code == KILLED
    best = "runs/lora/checkpoints/step-000003"
    shutil.rmtree(project / best)
    shutil.copytree(foreign / best, project / best)
    refused(project, "step-000003 is of another run:\n  train.learning_rate: 0.5 there,")


def test_a_finished_run_of_other_settings_is_refused(finished, tmp_path):
    project = copied(finished, tmp_path / "project")
    outcome = training(project, "lora", words=("train.learning_rate=1.0e-3",))
    assert outcome.code == 3 and "train.learning_rate: 0.01 there, 0.001 here" in outcome.message


def test_the_same_run_is_finished_whatever_is_speed_and_paper(interrupted, expected, tmp_path):
    project = copied(interrupted, tmp_path / "project")
    words = tuple(f"{key}={value}" for key, value in FREE.items())
    outcome = training(project, "full", words=words)
    assert outcome.code == 0 and f"going on from step {CHECKPOINTED}" in outcome.notes
    losses = [step["loss"] for step in learned_bytes(project / "runs/full")[1]]
    assert losses == pytest.approx([step["loss"] for step in expected["full"][1]], abs=1e-4)


def test_fresh_and_another_name_are_the_ways_on(interrupted, tmp_path):
    project = copied(interrupted, tmp_path / "project")
    outcome = training(project, "lora", words=FOREIGN, fresh=True)
    assert outcome.code == 0 and not any("going on" in note for note in outcome.notes)
    assert (project / "runs/lora.old-1/checkpoints").is_dir()
