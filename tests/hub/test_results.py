from ftool.hub.results import learning_curve, results


def estimate(value):
    return {"value": value, "low": value - 0.1, "high": value + 0.1}


def report(f1, floor, **changes):
    names = ("accuracy", "precision_macro", "recall_macro", "f1_macro")
    made = {
        "examples": 10,
        "mode": "rank",
        "metrics": {name: estimate(f1) for name in names},
        "per_label": {"a_b": {"precision": 1.0, "recall": 0.5, "f1": 0.667, "support": 4}},
        "label_names": ["a_b", "c"],
        "confusion": [[2, 1, 1], [0, 6, 0]],
        "unparsed": {"count": 1},
        "base": {"metrics": {name: estimate(0.1) for name in names}, "examples": 5},
        "floor": {"metrics": {"f1_macro": estimate(floor)}, "examples": 10, "name": "TF-IDF"},
        "inputs": {"dataset": "d"},
    }
    return made | changes


def test_tuned_base_and_floor_stand_side_by_side():
    text = results({"test": report(0.9, 0.8)}, dataset_fingerprint="d", best_step=None)
    assert "|  | tuned | base model | floor: TF-IDF |" in text
    line = "| F1 (macro) | 0.900 (0.800 to 1.000) | 0.100 (0.000 to 0.200) | 0.800"
    assert line in text
    assert r"| a\_b | c | 1 |" in text and "| a\\_b | no label could be read | 1 |" in text
    assert "1 answer named no declared label" in text
    assert "not beaten" not in text


def test_what_flatters_is_said():
    text = results({"validation": report(0.7, 0.8)}, dataset_fingerprint="other", best_step=4)
    assert "The floor is not beaten" in text
    assert "chose the best checkpoint" in text
    assert "other data than the run's own" in text
    assert "No evaluation was run" in results({}, dataset_fingerprint="d", best_step=None)


def test_the_curve_shows_loss_and_validations():
    steps = [{"step": n, "loss": 5.0 - n, "validation": None} for n in range(1, 4)]
    steps[1]["validation"] = {"metrics": {"loss": 2.5, "f1_macro": 0.5}}
    text = learning_curve(steps, best_step=2, best="Best at 2.")
    assert "4.000 `█▅▁` 2.000" in text
    assert "| 2 (best) | 3.000 | 2.500 | 0.500 |" in text and text.endswith("Best at 2.")


def test_what_was_not_scored_is_said():
    made = report(0.9, 0.8, left_out={"template_refuses": 3})
    text = results({"test": made}, dataset_fingerprint="d", best_step=None)
    assert "3 examples (template_refuses 3)" in text
    made = report(0.9, 0.8, left_out={})
    assert "Not scored" not in results({"test": made}, dataset_fingerprint="d", best_step=None)
