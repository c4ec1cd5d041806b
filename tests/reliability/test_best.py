"""The best and the newest checkpoint never go, and nothing goes before the new one is sealed."""

import functools
import itertools
import json
import random
from pathlib import Path

import pytest
from reliability.harness import cases, copied, training

from ftool.train.checkpoint import damage_of

STEPS = 8
WORDS = (
    f"train.max_steps={STEPS}",
    "train.checkpoint={every: 1 steps, keep: 2}",
    "train.validate={every: 1 steps, examples: 4, patience: null}",
)


def watch_saves(losses, tally):
    """Give every validation a loss, and write down the sound checkpoints around every save."""
    from ftool.train import run
    from ftool.train.validate import Validator

    save, prune = run.save_checkpoint, run.prune_checkpoints

    def note(event):
        there = [path.name for path in Path("runs/lora/checkpoints").glob("step-*")]
        sound = [name for name in there if not damage_of(Path("runs/lora/checkpoints") / name)]
        steps = sorted(int(name.removeprefix("step-")) for name in sound)
        with tally.open("a") as file:
            file.write(json.dumps([event, steps]) + "\n")

    def saved(*arguments):
        note("before")
        path = save(*arguments)
        note("sealed")
        return path

    def pruned(*arguments, **named):
        prune(*arguments, **named)
        note("pruned")

    run.save_checkpoint, run.prune_checkpoints = saved, pruned
    run.score_saved = lambda *_, **__: None  # the losses are invented
    Validator.score = lambda self, model, *, step: {"loss": losses[step - 1]}
    Validator.goodness = lambda self, scores: -scores["loss"]


@pytest.mark.parametrize("trial", range(cases(4)))
def test_best_and_newest_stay_at_every_instant(clean, tmp_path, trial):
    luck = random.Random(trial)
    losses = [luck.uniform(0, 9) for _ in range(STEPS)]
    project, tally = copied(clean, tmp_path / "project"), tmp_path / "tally"
    fault = functools.partial(watch_saves, losses, tally)
    outcome = training(project, "lora", words=WORDS, fault=fault)
    assert outcome.code == 0, outcome
    events = [json.loads(line) for line in tally.read_text().splitlines()]
    assert [event for event, _ in events] == ["before", "sealed", "pruned"] * STEPS
    best = list(itertools.accumulate(range(STEPS), lambda a, b: min(a, b, key=losses.__getitem__)))
    for number, (event, sound) in enumerate(events):
        step = number // 3 + (event != "before")
        wanted = {step, step - 1, best[step - 1] + 1} - {0} if step else set()
        assert wanted <= set(sound), (event, step, losses)
        if event == "sealed":
            assert set(events[number - 1][1]) | {step} == set(sound)
        if event == "pruned":
            assert wanted == set(sound)
