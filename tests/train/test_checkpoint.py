import pytest
import torch
from tiny import tiny_model

from ftool.errors import RunError
from ftool.recipe.schema import Train
from ftool.train.checkpoint import (
    Progress,
    checkpoint_of,
    load_optimizer,
    load_progress,
    load_weights,
    newest_checkpoint,
    prune_checkpoints,
    save_checkpoint,
)
from ftool.train.optimizer import make_optimizer


def trained(steps=2):
    model = tiny_model()
    optimizer = make_optimizer(model, Train())
    for step in range(steps):
        model(torch.tensor([[5, 6, 7 + step]])).logits.sum().backward()
        optimizer.step()
    return model, optimizer


def test_weights_moments_and_progress_come_back_bit_equal(tmp_path):
    model, optimizer = trained()
    progress = Progress(7, best_step=3, best_metric=0.5, best_loss=1.0, since_best=1, log_bytes=9)
    path = save_checkpoint(tmp_path, model, optimizer, progress)
    other, other_optimizer = tiny_model(seed=9), make_optimizer(tiny_model(seed=9), Train())
    load_weights(path, other)
    load_optimizer(path, other_optimizer)
    for mine, theirs in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.equal(mine, theirs)
    for key, state in optimizer.state_dict()["state"].items():
        for name, value in state.items():
            assert torch.equal(value, other_optimizer.state_dict()["state"][key][name])
    assert load_progress(path) == progress


@pytest.mark.parametrize("file", ["weights.safetensors", "optimizer.pt", "progress.json"])
@pytest.mark.parametrize("damage", ["flip", "cut", "remove"])
def test_a_damaged_checkpoint_is_passed_over(tmp_path, file, damage):
    model, optimizer = trained()
    good = save_checkpoint(tmp_path, model, optimizer, Progress(1))
    bad = save_checkpoint(tmp_path, model, optimizer, Progress(2)) / file
    content = bytearray(bad.read_bytes())
    content[len(content) // 2] ^= 1
    if damage == "remove":
        bad.unlink()
    else:
        bad.write_bytes(content if damage == "flip" else content[: len(content) // 2])
    assert newest_checkpoint(tmp_path) == good
    with pytest.raises(RunError, match="missing or damaged"):
        checkpoint_of(tmp_path, 2)


def test_a_checkpoint_without_seal_does_not_count(tmp_path):
    model, optimizer = trained()
    (save_checkpoint(tmp_path, model, optimizer, Progress(1)) / "seal.json").unlink()
    assert newest_checkpoint(tmp_path) is None


def test_the_newest_and_the_best_stay(tmp_path):
    model, optimizer = trained()
    for step in range(1, 6):
        save_checkpoint(tmp_path, model, optimizer, Progress(step))
    prune_checkpoints(tmp_path, keep=2, best_step=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "step-000002",
        "step-000004",
        "step-000005",
    ]


def test_weights_that_are_not_finite_are_never_sealed(tmp_path):
    model, optimizer = trained()
    with torch.no_grad():
        model.lm_head.weight[0, 0] = float("inf")
    with pytest.raises(RunError, match=r"step 4: the weights lm_head\.weight are not finite"):
        save_checkpoint(tmp_path, model, optimizer, Progress(4))
    assert newest_checkpoint(tmp_path) is None


def test_other_parameters_are_refused(tmp_path):
    model, optimizer = trained()
    path = save_checkpoint(tmp_path, model, optimizer, Progress(1))
    model.lm_head.weight.requires_grad_(False)
    with pytest.raises(RunError, match="other parameters"):
        load_weights(path, model)


def test_the_lower_loss_decides_a_tie():
    progress = Progress().after(1, 0.5, 2.0)
    assert progress.after(2, 0.5, 1.9).best_step == 2
    worse = progress.after(2, 0.5, 2.1)
    assert (worse.best_step, worse.since_best, worse.step) == (1, 1, 2)
    assert progress.after(2, 0.4, 0.1).best_step == 1
