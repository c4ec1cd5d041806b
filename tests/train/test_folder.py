from dataclasses import replace

import pytest
from folders import run_manifest

from ftool.artifacts import write_json
from ftool.errors import RunError
from ftool.seal import sealed_files
from ftool.train.folder import (
    claim_run,
    finished_run,
    resumed_checkpoint,
    settle_plan,
    tell_changes,
)
from ftool.train.plan import HALVED, Plan

PLAN = Plan("cpu", "float32", 64, 8, 999, True, 3, 9, None, 100, {})
IDENTITY = {"seed": 17, "train.learning_rate": 0.01, "dataset": "d" * 64}


def ignore(sentence):
    pass


def write_checkpoint(folder, step, *, best_step=None, identity=IDENTITY, plan=PLAN):
    """Write what `save_checkpoint` leaves, without weights."""
    from ftool.train.checkpoint import _seal_text

    path = folder / f"checkpoints/step-{step:06d}"
    path.mkdir(parents=True)
    write_json(path / "progress.json", {"step": step, "best_step": best_step})
    environment = {"versions": {"torch": "2.0"}, "threads": 2}
    origin = {"identity": identity, "plan": plan.as_dict(), "environment": environment}
    write_json(path / "origin.json", origin)
    (path / "seal.json").write_text(_seal_text(sealed_files(path)))
    return path


def write_finished(folder, **changes):
    (folder / "model").mkdir(parents=True)
    (folder / "model/weights").write_text("learned")
    files = sealed_files(folder / "model")
    write_json(
        folder / "manifest.json",
        run_manifest(**{"identity": IDENTITY, "model_files": files, **changes}),
    )


def test_a_new_folder_holds_nothing_to_return_or_resume(tmp_path):
    assert finished_run(tmp_path / "a", IDENTITY, on_note=ignore) is None
    assert resumed_checkpoint(tmp_path / "a", IDENTITY, on_note=ignore) is None


def test_the_checkpoint_of_another_run_is_refused_with_names_and_both_values(tmp_path):
    path = write_checkpoint(tmp_path, 2)
    assert resumed_checkpoint(tmp_path, IDENTITY, on_note=ignore) == path
    other = {**IDENTITY, "dataset": "e" * 64, "train.learning_rate": 0.02}
    with pytest.raises(RunError) as caught:
        resumed_checkpoint(tmp_path, other, on_note=ignore)
    assert caught.value.message == (
        f"{path} is of another run:\n"
        "  dataset: dddddddddddd there, eeeeeeeeeeee here\n"
        "  train.learning_rate: 0.01 there, 0.02 here"
    )
    assert "--run" in caught.value.hint and "--fresh" in caught.value.hint


def test_a_foreign_best_checkpoint_is_refused(tmp_path):
    write_checkpoint(tmp_path, 2, identity={**IDENTITY, "seed": 18})
    write_checkpoint(tmp_path, 3, best_step=2)
    with pytest.raises(RunError, match=r"step-000002 is of another run:\n  seed: 18 there, 17"):
        resumed_checkpoint(tmp_path, IDENTITY, on_note=ignore)


def test_a_finished_run_is_returned_or_refused(tmp_path):
    write_finished(tmp_path)
    assert finished_run(tmp_path, IDENTITY, on_note=ignore).path == tmp_path
    with pytest.raises(RunError, match=r"is of another run:\n  seed: 17 there, 3 here"):
        finished_run(tmp_path, {**IDENTITY, "seed": 3}, on_note=ignore)


def test_a_finished_run_whose_model_is_damaged_is_finished_again(tmp_path):
    write_finished(tmp_path)
    (tmp_path / "model/weights").write_text("LEARNED")
    notes = []
    assert finished_run(tmp_path, IDENTITY, on_note=notes.append) is None
    assert notes == [
        f"{tmp_path}/model is damaged: weights has other bytes; it is written anew",
    ]
    assert not (tmp_path / "manifest.json").exists()


def test_a_broken_manifest_is_written_again_and_a_foreign_one_is_not(tmp_path):
    (tmp_path / "manifest.json").write_text("{")
    assert finished_run(tmp_path, IDENTITY, on_note=ignore) is None
    manifest = run_manifest()
    write_json(tmp_path / "manifest.json", manifest)
    with pytest.raises(RunError, match="was not written by this version"):
        finished_run(tmp_path, IDENTITY, on_note=ignore)
    assert (tmp_path / "manifest.json").exists()


def test_a_resumed_run_keeps_what_is_learned_and_takes_what_is_speed(tmp_path):
    assert settle_plan(tmp_path, PLAN, None, is_auto=True) == PLAN
    path = write_checkpoint(tmp_path, 2)
    other = Plan("cuda", "float32", 32, 2, 99, True, 4, 5, 1, 7, {}, True)
    settled = settle_plan(tmp_path, other, path, is_auto=True)
    assert settled == Plan("cuda", "float32", 64, 2, 99, True, 3, 9, None, 7, {}, True)
    without = Plan("cpu", "float32", 64, 8, 999, False, 3, 9, None, 100, {})
    assert settle_plan(tmp_path, without, path, is_auto=True).shared_prefix is False
    plain = write_checkpoint(tmp_path, 3, plan=without)
    assert settle_plan(tmp_path, PLAN, plain, is_auto=True).shared_prefix is False


@pytest.mark.parametrize(
    ("began", "now", "rows", "keeps", "told"),
    [
        (True, True, True, True, ""),
        (False, False, True, False, ""),
        (True, False, True, False, "was kept before and is not now"),
        (False, True, True, False, "this run began without"),
        (False, True, False, False, "this run began without"),
    ],
)
def test_frozen_blocks_are_kept_as_the_run_began(tmp_path, began, now, rows, keeps, told):
    before = replace(PLAN, keeps_lower=began, shared_prefix=rows)
    path, notes = write_checkpoint(tmp_path, 2, plan=before), []
    plan = replace(PLAN, keeps_lower=now)
    settled = settle_plan(tmp_path, plan, path, is_auto=True, on_note=notes.append)
    assert settled.keeps_lower == keeps
    assert len(notes) == bool(told) and all(told in note for note in notes)


def test_micro_batches_that_became_smaller_stay_so_unless_the_recipe_says_a_size(tmp_path):
    less = replace(PLAN, micro_batch_tokens=9, reasons={HALVED: "memory was not enough"})
    write_json(tmp_path / "plan.json", less.as_dict())
    assert settle_plan(tmp_path, PLAN, None, is_auto=True) == less
    assert settle_plan(tmp_path, PLAN, None, is_auto=False) == PLAN
    elsewhere = replace(PLAN, device="cuda")
    assert settle_plan(tmp_path, elsewhere, None, is_auto=True) == elsewhere
    write_json(tmp_path / "plan.json", PLAN.as_dict())
    assert settle_plan(tmp_path, PLAN, None, is_auto=True) == PLAN
    larger = replace(PLAN, micro_batch_tokens=9_999)
    assert settle_plan(tmp_path, larger, None, is_auto=True) == PLAN
    assert settle_plan(tmp_path, larger, None, is_auto=False) == larger
    (tmp_path / "plan.json").write_text("{")
    assert settle_plan(tmp_path, PLAN, None, is_auto=True) == PLAN


def test_other_versions_and_threads_are_told(tmp_path):
    path, notes = write_checkpoint(tmp_path, 2), []
    tell_changes(path, {"versions": {"torch": "2.0"}, "threads": 2}, notes.append)
    assert notes == []
    tell_changes(path, {"versions": {"torch": "2.1"}, "threads": 4}, notes.append)
    assert notes == [
        "since the checkpoint, threads 2 became 4, torch 2.0 became 2.1: the last bits may differ"
    ]


@pytest.mark.parametrize("left", ["recipe.yaml", "checkpoints"])
def test_fresh_moves_whatever_is_left_of_a_run_to_a_free_name(tmp_path, left):
    for number in (1, 2):
        folder = tmp_path / "a"
        folder.mkdir()
        (folder / left).write_text("x")
        (folder / ".lock").touch()
        claim_run(folder, fresh=True, on_note=ignore)
        assert (tmp_path / f"a.old-{number}" / left).exists() and not folder.exists()


def test_fresh_leaves_an_empty_folder_where_it_is(tmp_path):
    folder = tmp_path / "a"
    folder.mkdir()
    (folder / ".lock").touch()
    claim_run(folder, fresh=True, on_note=ignore)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
