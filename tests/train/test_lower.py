import dataclasses
import json

import pytest
import torch
from tiny import recipe_of

from ftool.model.compute.memory import Memory
from ftool.train.dry_run import dry_run
from ftool.train.lower import frozen_blocks
from ftool.train.run import train

pytestmark = pytest.mark.filterwarnings("ignore:.*unauthenticated:UserWarning")
UPPER = "train.method={kind: lora, r: 4, layers: 1-1}"
ROOMY = Memory(1, 1, 1, 1, 1, 1, 1, 1.0, available=None)


def told_of(notes):
    return [note for note in notes if note.startswith("what frozen blocks make of tokens is")]


def test_frozen_blocks_are_those_below_the_adapters(project):
    assert frozen_blocks(recipe_of(project)) == 0
    assert frozen_blocks(recipe_of(project, UPPER)) == 1
    assert frozen_blocks(recipe_of(project, "train.method={kind: full}")) == 0


def test_kept_or_not_a_training_learns_the_same(project):
    notes, stages = [], []
    recipe = recipe_of(project, UPPER)
    kept = train(
        recipe,
        run="kept",
        on_note=notes.append,
        on_progress=lambda stage, done, total: stages.append((stage, done, total)),
    )
    off = train(recipe_of(project, UPPER, "train.shared_prefix=off"), run="off")
    (sentence,) = told_of(notes)
    assert sentence.startswith("what frozen blocks make of tokens is kept: blocks 0-0 run once")
    assert ("running the frozen blocks", 36, 36) in stages
    plans = [json.loads((run.path / "plan.json").read_text()) for run in (kept, off)]
    assert [plan["keeps_lower"] for plan in plans] == [True, False]
    assert plans[1]["reasons"]["keeps_lower"] == "it needs micro-batches that are rows"
    losses = [[step["loss"] for step in run.steps_log()] for run in (kept, off)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


@pytest.mark.parametrize(
    ("overrides", "why"),
    [
        (["train.epochs=1"], "in one pass nothing is read twice"),
        (["train.shared_prefix=off"], "it needs micro-batches that are rows"),
        (["train.compile=true"], "it works in one process and without compilation"),
    ],
)
def test_why_it_is_not_kept(project, monkeypatch, overrides, why):
    notes = []
    monkeypatch.setattr("torch.nn.Module.compile", lambda *_, **__: None)
    dry_run(recipe_of(project, UPPER, *overrides), on_note=notes.append)
    assert told_of(notes) == [f"what frozen blocks make of tokens is not kept: {why}"]


def test_it_is_not_kept_where_memory_is_short(project, monkeypatch):
    notes = []
    short = dataclasses.replace(ROOMY, available=100)
    monkeypatch.setattr("ftool.train.assemble.estimate_memory", lambda *_, **__: short)
    dry_run(recipe_of(project, UPPER), on_note=notes.append)
    (sentence,) = told_of(notes)
    assert sentence.endswith("is not kept: with it, memory may not be enough")


def test_what_is_kept_counts_for_the_memory(project, monkeypatch):
    monkeypatch.setattr("ftool.train.assemble.estimate_memory", lambda *_, **__: ROOMY)
    whole = dry_run(recipe_of(project)).plan["memory"]["baseline"]
    kept = dry_run(recipe_of(project, UPPER)).plan["memory"]["baseline"] - whole
    width = 32 * 4  # bytes of a state
    assert kept > 100 * width and kept % width == 0


def test_it_is_not_kept_where_memory_cannot_be_foreseen(project, monkeypatch):
    notes = []
    monkeypatch.setattr("ftool.train.assemble.estimate_memory", lambda *_, **__: None)
    dry_run(recipe_of(project, UPPER), on_note=notes.append)
    (sentence,) = told_of(notes)
    assert sentence.endswith("not kept: what this architecture needs besides cannot be foreseen")


def test_a_dry_run_counts_the_pass_over_the_frozen_blocks(project):
    tried = dry_run(recipe_of(project, UPPER))
    assert tried.plan["keeps_lower"]
    assert tried.seconds > tried.seconds_per_step * tried.steps


def test_nothing_is_told_where_every_block_learns(project):
    notes = []
    dry_run(recipe_of(project), on_note=notes.append)
    assert told_of(notes) == [] and torch.is_grad_enabled()
