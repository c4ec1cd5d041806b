import json
import os
import shutil

import pytest
import torch
from tiny import tiny_model

from ftool.artifacts import TrainingStep
from ftool.errors import DeviceError, DivergedError, RunError
from ftool.recipe.blocks.train import Train
from ftool.train import checkpoint
from ftool.train.checkpoint import (
    Progress,
    best_of,
    checkpoint_of,
    damage_of,
    first_not_finite,
    load_optimizer,
    load_origin,
    load_progress,
    load_weights,
    newest_checkpoint,
    prune_checkpoints,
    save_checkpoint,
)
from ftool.train.optimizer import make_optimizer

ORIGIN = {"identity": {"seed": 17}, "plan": {}, "environment": {}}


def trained(steps=2):
    model = tiny_model()
    optimizer = make_optimizer(model, Train())
    for step in range(steps):
        model(torch.tensor([[5, 6, 7 + step]])).logits.sum().backward()
        optimizer.step()
    return model, optimizer


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "checkpoints"


@pytest.fixture
def save(folder):
    model, optimizer = trained()

    def save(step, **progress):
        return save_checkpoint(folder, model, optimizer, Progress(step, **progress), ORIGIN)

    return save


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_weights_moments_progress_and_origin_come_back_bit_equal(folder):
    model, optimizer = trained()
    progress = Progress(7, best_step=3, best_metric=0.5, best_loss=1.0, since_best=1, log_bytes=9)
    path = save_checkpoint(folder, model, optimizer, progress, ORIGIN)
    other, other_optimizer = tiny_model(seed=9), make_optimizer(tiny_model(seed=9), Train())
    load_weights(path, other)
    load_optimizer(path, other_optimizer)
    for mine, theirs in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.equal(mine, theirs)
    for key, state in optimizer.state_dict()["state"].items():
        for name, value in state.items():
            assert torch.equal(value, other_optimizer.state_dict()["state"][key][name])
    assert (load_progress(path), load_origin(path)) == (progress, ORIGIN)


def test_a_step_whose_validation_was_left_off_comes_back_until_it_is_scored(folder, save):
    step = TrainingStep(4, 0.5, 90, 30, 1.25, 1e-3, 0.7, 812.5, 1.5)
    progress = load_progress(save(4, best_step=2, best_metric=0.5, best_loss=1.0, unscored=step))
    assert progress.unscored == step
    assert progress.after(4, 0.4, 1.1).unscored is None
    assert progress.after(4, 0.6, 0.9) == Progress(4, 4, 0.6, 0.9)


@pytest.mark.parametrize(
    "file", ["weights.safetensors", "optimizer.pt", "progress.json", "origin.json", "seal.json"]
)
@pytest.mark.parametrize("damage", ["flip", "cut", "remove"])
def test_a_damaged_checkpoint_is_set_aside_and_the_one_before_is_used(folder, save, file, damage):
    good, bad = save(1), save(2)
    content = bytearray((bad / file).read_bytes())
    content[len(content) // 2] ^= 1
    if damage == "remove":
        (bad / file).unlink()
    else:
        (bad / file).write_bytes(content if damage == "flip" else content[: len(content) // 2])
    with pytest.raises(RunError, match="missing or damaged"):
        checkpoint_of(folder, 2)
    notes = []
    assert newest_checkpoint(folder, on_note=notes.append) == good
    aside = folder.parent / "quarantine/step-000002"
    assert aside.is_dir() and names(folder) == ["step-000001"]
    (note,) = notes
    assert note.startswith(f"{bad} was moved to {aside}: ")
    is_unsealed = (file, damage) == ("seal.json", "remove")
    assert ("it is not sealed" if is_unsealed else f"{file} ") in note


@pytest.mark.parametrize("text", ["{}", "[]", "7", "null", '{"files": 7}', '{"files": {}}', "["])
def test_a_seal_of_another_kind_is_damage(save, text):
    path = save(1)
    (path / "seal.json").write_text(text)
    assert damage_of(path) == "seal.json has other bytes"


def test_a_seal_that_says_the_same_in_other_bytes_is_damage(save):
    path = save(1)
    (path / "seal.json").write_text(json.dumps(json.loads((path / "seal.json").read_text())))
    assert damage_of(path) == "seal.json has other bytes"


def test_a_file_more_and_a_wrong_name_are_damage(save):
    path = save(1)
    (path / "weights.bin").write_bytes(b"x")
    assert damage_of(path) == "weights.bin was not there"
    (path / "weights.bin").unlink()
    assert damage_of(path.rename(path.with_name("step-000009"))) == "it holds step 1"


def test_a_checkpoint_without_seal_does_not_count_and_quarantine_overwrites_nothing(folder, save):
    for _ in range(2):
        (save(1) / "seal.json").unlink()
        assert newest_checkpoint(folder) is None
    assert names(folder.parent / "quarantine") == ["step-000001", "step-000001-2"]


def test_a_checkpoint_counts_only_with_the_best_that_it_counts_on(folder, save):
    first, best = save(1), save(2, best_step=2, best_metric=1.0, best_loss=1.0)
    newest = save(3, best_step=2, best_metric=1.0, best_loss=1.0)
    assert (best_of(newest), best_of(best), best_of(first)) == (best, None, None)
    assert newest_checkpoint(folder) == newest
    (best / "weights.safetensors").write_bytes(b"")
    notes = []
    assert newest_checkpoint(folder, on_note=notes.append) == first
    assert notes[0].endswith("it counts on step-000002: weights.safetensors has other bytes")
    assert names(folder) == ["step-000001"]


def test_the_order_is_that_of_the_steps_not_of_the_names(folder, save):
    save(999_999)
    newest = save(1_000_000)
    assert newest_checkpoint(folder) == newest
    (folder / "step-old").mkdir()
    prune_checkpoints(folder, keep=1, best_step=None)
    assert names(folder) == ["step-1000000", "step-old"]


def test_the_newest_and_the_best_stay(folder, save):
    for step in range(1, 6):
        save(step)
    prune_checkpoints(folder, keep=2, best_step=2)
    assert names(folder) == ["step-000002", "step-000004", "step-000005"]


def test_what_is_half_removed_no_longer_counts(folder, save, monkeypatch):
    for step in (1, 2, 3):
        save(step)
    monkeypatch.setattr(shutil, "rmtree", lambda path: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        prune_checkpoints(folder, keep=2, best_step=None)
    assert damage_of(folder / "step-000001") == "it is not sealed"
    monkeypatch.undo()
    prune_checkpoints(folder, keep=2, best_step=None)
    assert names(folder) == ["step-000002", "step-000003"]


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan")])
def test_weights_and_moments_that_are_not_finite_are_never_sealed(folder, value):
    model, optimizer = trained()
    with torch.no_grad():
        optimizer.state[model.lm_head.weight]["exp_avg"][0, 0] = value
    with pytest.raises(DivergedError, match=r"step 4: the optimizer's exp_avg of parameter \d+ is"):
        save_checkpoint(folder, model, optimizer, Progress(4), ORIGIN)
    with torch.no_grad():
        model.lm_head.weight[0, 0] = value
    with pytest.raises(DivergedError, match=r"step 4: the weight lm_head\.weight is not finite"):
        save_checkpoint(folder, model, optimizer, Progress(4), ORIGIN)
    assert not folder.exists()


def test_the_first_tensor_that_is_not_finite_is_named():
    good = [("none", torch.zeros(0)), ("whole", torch.ones(2, dtype=torch.int64))]
    assert first_not_finite([*good, ("real", torch.ones(2, 2))]) is None
    assert first_not_finite([("large", torch.full((9,), 3e38))]) is None
    both = torch.tensor([float("inf"), float("-inf")])
    assert first_not_finite([*good, ("both", both)]) == "both"
    assert first_not_finite([*good, ("half", torch.tensor([1.0, 65536.0]).half())]) == "half"


def test_a_disk_that_takes_no_more_is_a_sentence_and_leaves_nothing_behind(
    folder, save, monkeypatch
):
    good = save(1)
    monkeypatch.setattr(
        torch, "save", lambda state, path: (_ for _ in ()).throw(RuntimeError("no space"))
    )
    with pytest.raises(DeviceError, match=r"cannot be written \(no space\); \d+\.\d GiB are free"):
        save(2)
    assert names(folder) == ["step-000001"]
    assert newest_checkpoint(folder) == good


def test_the_seal_is_last_and_all_before_it_is_on_the_disk(folder, save, monkeypatch):
    """A power cut loses what was not synced: at every instant a seal needs all of its files."""
    synced, checked = set(), []
    replace = checkpoint.Path.replace

    def inode(path):
        return (path.stat().st_dev, path.stat().st_ino, path.stat().st_size)

    def note(descriptor):
        found = os.fstat(descriptor)
        synced.add((found.st_dev, found.st_ino, found.st_size))

    def watch(path, target):
        if target.name == "seal.json":
            files = [path, *(file for file in target.parent.iterdir() if file != path)]
            checked.extend(inode(file) in synced for file in files)
        return replace(path, target)

    monkeypatch.setattr(os, "fsync", note)
    monkeypatch.setattr(checkpoint.Path, "replace", watch)
    path = save(1)
    assert checked == [True] * 5
    assert {inode(path)[1], inode(folder)[1], inode(folder.parent)[1]} <= {one[1] for one in synced}


def test_other_parameters_are_refused(folder):
    model, optimizer = trained()
    path = save_checkpoint(folder, model, optimizer, Progress(1), ORIGIN)
    with pytest.raises(RunError, match="other parameters"):
        load_weights(path, tiny_model(vocabulary=301))
    model.lm_head.weight.requires_grad_(False)
    with pytest.raises(RunError, match="other parameters"):
        load_weights(path, model)


def test_the_lower_loss_decides_a_tie():
    progress = Progress().after(1, 0.5, 2.0)
    assert progress.after(2, 0.5, 1.9).best_step == 2
    worse = progress.after(2, 0.5, 2.1)
    assert (worse.best_step, worse.since_best, worse.step) == (1, 1, 2)
    assert progress.after(2, 0.4, 0.1).best_step == 1
