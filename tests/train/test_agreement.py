import json

import pytest
from tiny import recipe_of, tiny_model, tiny_tokenizer

from ftool.artifacts import TrainingRun
from ftool.errors import RunError
from ftool.train import agreement
from ftool.train.run import train


@pytest.mark.parametrize("method", ["lora", "full"])
def test_what_was_saved_has_the_scores_of_the_best_step(project, method):
    notes = []
    words = ["train.method={kind: full}"] if method == "full" else []
    words.append("train.learning_rate=0.001")
    run = train(recipe_of(project, *words), on_note=notes.append)
    validations = [step["validation"] for step in run.steps_log() if step["validation"]]
    best = [one for one in validations if one["best"]][-1]
    assert run.manifest()["saved_scores"] == pytest.approx(best["metrics"], abs=1e-6)
    (told,) = [note for note in notes if "scored again" in note]
    assert told.endswith(", as in training")


def test_a_model_that_was_not_saved_as_it_was_is_refused(project, monkeypatch):
    other = tiny_model(seed=5, vocabulary=len(tiny_tokenizer()))
    with monkeypatch.context() as patch:
        patch.setattr(agreement, "read_back", lambda model, folder: other)
        with pytest.raises(RunError, match="what was saved is not what was trained") as caught:
            train(recipe_of(project))
    assert "f1_macro" in caught.value.message and "loss" in caught.value.message
    folder = project / "runs/tiny"
    assert not (folder / "manifest.json").exists()
    train(recipe_of(project))
    assert TrainingRun.open(folder).status == "finished"


def test_where_the_last_step_is_kept_there_is_nothing_to_compare(project):
    for words in (["train.validate=null"], ["train.validate.restore_best=false"]):
        run = train(recipe_of(project, *words), run=f"r{len(words[0])}")
        manifest = json.loads((run.path / "manifest.json").read_text())
        is_best = manifest["best_step"] == manifest["steps"]
        assert (manifest["saved_scores"] is not None) == is_best
