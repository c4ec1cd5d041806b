import json

import pytest

from ftool.recipe.file import load_recipe
from ftool.train.dry_run import dry_run
from ftool.train.run import train

pytestmark = pytest.mark.filterwarnings("ignore:.*unauthenticated:UserWarning")


def files(folder):
    return {
        path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


@pytest.mark.parametrize("method", ["lora", "full"])
def test_a_dry_run_foresees_the_run_and_writes_nothing(project, method):
    recipe = load_recipe(project / "recipe.yaml", [f"train.method={{kind: {method}}}"])
    before, told, notes = files(project), [], []
    found = dry_run(
        recipe, on_note=notes.append, on_progress=lambda *progress: told.append(progress)
    )
    assert files(project) == before and not (project / "runs").exists()
    assert told == [("try steps", done, 4) for done in range(5)]
    assert any(note.startswith("memory: about") for note in notes)
    run = train(recipe)
    log = run.steps_log()
    epoch = log[: found.steps_per_epoch]
    assert (found.steps, found.steps_per_epoch, found.steps_looked_at) == (len(log), 5, 5)
    assert found.tokens == sum(step["tokens"] for step in epoch)
    assert found.learned_tokens == sum(step["learned_tokens"] for step in epoch)
    assert found.examples == run.manifest()["dataset"]["rows"]["kept"]["train"]
    assert found.method == method and found.overlong == 0
    assert 0 < found.run_tokens < found.tokens and found.padding_ratio == 0
    assert 0.2 < found.saved_ratio < 1
    assert found.seconds == pytest.approx(found.seconds_per_step * found.steps)
    assert found.expected_memory_gib < found.available_memory_gib
    assert json.loads((run.path / "plan.json").read_text())["shared_prefix"] is True
    assert json.loads(json.dumps(found.as_dict()))["plan"]["total_steps"] == found.steps


def test_padded_data_that_begin_differently_have_nothing_to_gain(project):
    recipe = load_recipe(project / "recipe.yaml", ["train.shared_prefix=off"])
    found = dry_run(recipe)
    assert found.saved_ratio == 0
    assert found.run_tokens == pytest.approx(found.tokens / (1 - found.padding_ratio))


def test_a_run_shorter_than_the_tries_is_not_made_longer(project):
    told = []
    recipe = load_recipe(project / "recipe.yaml", ["train.max_steps=1"])
    found = dry_run(recipe, on_progress=lambda *progress: told.append(progress))
    assert found.steps == 1 and told[-1] == ("try steps", 2, 2)


def test_the_model_on_disk_stays_as_it_is_and_training_learns_the_same(project):
    recipe = load_recipe(project / "recipe.yaml")
    first = train(recipe, run="first")
    dry_run(recipe)
    second = train(recipe, run="second")
    assert [s["loss"] for s in first.steps_log()] == [s["loss"] for s in second.steps_log()]
