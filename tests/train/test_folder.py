import pytest
from tiny import write_recipe, write_tickets

from ftool.artifacts import BaseModel, PreparedDataset, write_json
from ftool.errors import RunError
from ftool.recipe.file import load_recipe
from ftool.train.folder import claim_run, finished_run, settle_plan
from ftool.train.plan import Plan

PLAN = Plan("cpu", "float32", 64, 8, 999, 57, 3, 9, None, 100, {})
BASE = BaseModel("base", None, "a" * 64)


def dataset(fingerprint="d" * 64):
    return PreparedDataset(None, "chat", ("a",), {}, {}, fingerprint)


@pytest.fixture
def recipe(tmp_path):
    write_tickets(tmp_path / "tickets.csv")
    return load_recipe(write_recipe(tmp_path, base="base"))


def test_a_new_run_gets_the_resolved_recipe_which_loads_back(tmp_path, recipe):
    folder = tmp_path / "runs/a"
    folder.mkdir(parents=True)
    assert finished_run(folder, recipe, dataset()) is None
    stored = load_recipe(folder / "recipe.yaml")
    assert stored.train == recipe.train
    source = stored.folder / stored.data.sources[0].path
    assert source.resolve() == (tmp_path / "tickets.csv").resolve()
    assert str(tmp_path) not in (folder / "recipe.yaml").read_text()


def test_an_interrupted_run_of_other_data_is_refused(tmp_path, recipe):
    finished_run(tmp_path, recipe, dataset())
    settle_plan(tmp_path, PLAN, dataset(), BASE, "t")
    seal = tmp_path / "checkpoints/step-000001/seal.json"
    seal.parent.mkdir(parents=True)
    seal.write_text("{}")
    assert finished_run(tmp_path, recipe, dataset()) is None
    with pytest.raises(RunError, match="dataset: dddddddddddd there, eeeeeeeeeeee here"):
        finished_run(tmp_path, recipe, dataset("e" * 64))


def test_the_first_plan_stays(tmp_path):
    assert settle_plan(tmp_path, PLAN, dataset(), BASE, "t") == PLAN
    other = Plan("cpu", "float32", 64, 2, 999, 0, 3, 5, None, 100, {})
    settled = settle_plan(tmp_path, other, dataset(), BASE, "t")
    assert (settled.total_steps, settled.shared_prefix) == (9, 57)
    assert settled.batch_size_per_device == 2
    with pytest.raises(RunError, match="another chat template"):
        settle_plan(tmp_path, PLAN, dataset(), BASE, "other")


def test_before_the_first_checkpoint_a_corrected_recipe_just_starts(tmp_path, recipe):
    finished_run(tmp_path, recipe, dataset())
    changed = recipe.model_copy(update={"seed": 3})
    assert finished_run(tmp_path, changed, dataset("e" * 64)) is None
    assert load_recipe(tmp_path / "recipe.yaml").seed == 3


def test_fresh_finds_a_free_name(tmp_path):
    for number in (1, 2):
        folder = tmp_path / "a"
        folder.mkdir()
        (folder / "recipe.yaml").write_text("x")
        write_json(folder / "manifest.json", {"ftool": "0"})
        claim_run(folder, fresh=True, on_note=lambda sentence: None)
        assert (tmp_path / f"a.old-{number}").is_dir() and not folder.exists()
