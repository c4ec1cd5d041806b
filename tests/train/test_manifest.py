from ftool.artifacts import PreparedDataset, fingerprint
from ftool.recipe.file import load_recipe
from ftool.seal import sealed_files
from ftool.train.run import train

BESIDE = {"fingerprint", "saved_scores", "seconds"}
"""What is no part of what the fingerprint is made of."""


def manifest_of(project, *words):
    run = train(load_recipe(project / "recipe.yaml", words))
    return run, run.manifest()


def test_what_was_trained_on_what(project):
    run, manifest = manifest_of(project)
    dataset = PreparedDataset.open(project / "data/tiny")
    assert manifest["kind"] == "run" and manifest["status"] == "finished"
    assert manifest["steps"] == len(run.steps_log())
    assert manifest["dataset_fingerprint"] == dataset.fingerprint
    assert manifest["dataset"]["label_names"] == list(dataset.label_names)
    assert manifest["method"] == "lora"
    assert 0 < manifest["trainable_parameters"] < manifest["parameters"]
    assert manifest["model_files"] == sealed_files(run.model_path)
    content = {key: value for key, value in manifest.items() if key not in BESIDE}
    assert manifest["fingerprint"] == fingerprint(content)


def test_the_best_step_and_its_score(project):
    run, manifest = manifest_of(project)
    scores = {step["step"]: step["validation"] for step in run.steps_log() if step["validation"]}
    best = scores[manifest["best_step"]]["metrics"]
    assert manifest["best_metric"] == {"name": "f1_macro", "value": best["f1_macro"]}


def test_without_validation_no_step_is_best(project):
    _, manifest = manifest_of(project, "train.validate=null", "train.method={kind: full}")
    assert manifest["best_step"] is manifest["best_metric"] is None
    assert manifest["trainable_parameters"] == manifest["parameters"]
