import errno
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from folders import RECIPE, write_dataset, write_run

from ftool.__main__ import main, run
from ftool.artifacts import Prediction, PreparedDataset, TrainingRun
from ftool.cli import TRIAL_ROWS
from ftool.errors import DataError, DeviceError, FtoolError, GateError, HubError
from ftool.eval.judge.findings import NO_COLUMNS, Columns
from ftool.eval.judge.gate import NO_GATES
from ftool.eval.report import label_report
from ftool.quiet import QUIET
from ftool.recipe.schema import Recipe

REPORT = {"schema": 1, "metrics": {"accuracy": {"value": 0.5, "low": 0.4, "high": 0.6}}}


class Stages:
    """Stand-ins for the stage functions: they note their arguments and return artifacts."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[tuple[str, Any, dict[str, Any]]] = []
        self.error: BaseException | None = None
        self.loses_to_floor = False
        for stage, name in (
            ("prepare.run", "prepare"),
            ("start.show", "show"),
            ("train.run", "train"),
            ("train.dry_run", "dry_run"),
            ("eval.run", "evaluate"),
            ("hub.push", "push"),
        ):
            module = ModuleType(f"ftool.{stage}")
            setattr(module, name, self._stand_in(name))
            monkeypatch.setitem(sys.modules, module.__name__, module)

    def _stand_in(self, name: str) -> Callable[..., Any]:
        def stage(subject: Any, **named: Any) -> Any:
            self.calls.append((name, subject, named))
            if self.error:
                raise self.error
            named["on_note"]("a note of the stage")
            return getattr(self, f"_{name}")(subject, **named)

        return stage

    def _prepare(self, recipe: Recipe, **_: Any) -> PreparedDataset:
        return write_dataset(Path("data") / recipe.data_name)

    def _show(self, *_: Any, **__: Any) -> list[Any]:
        pieces = (SimpleNamespace(text="refund", learned=True),)
        example = SimpleNamespace(
            id="a:1", split="train", label=None, pieces=pieces, tokens=1, learned_tokens=1, notes=()
        )
        return [example]

    def _train(self, recipe: Recipe, *, run: str | None, **_: Any) -> TrainingRun:
        return write_run(Path("runs") / (run or recipe.name))

    def _dry_run(self, recipe: Recipe, **_: Any) -> SimpleNamespace:
        numbers = dict.fromkeys(("saved_ratio", "padding_ratio", "seconds_per_step"), 0.5)
        counts = dict.fromkeys(
            ("examples", "overlong", "steps_looked_at", "tokens", "learned_tokens", "run_tokens"), 7
        )
        memory = dict.fromkeys(("expected_memory_gib", "available_memory_gib"), None)
        return SimpleNamespace(
            as_dict=lambda: {"steps": 12},
            base_model=recipe.model.base,
            method="lora",
            device="cpu",
            steps=12,
            steps_per_epoch=4,
            seconds=6.0,
            tokens_per_second=900.0,
            largest_examples=2,
            largest_tokens=50,
            measured_memory_gib=1.0,
            disk_gib=0.1,
            free_disk_gib=9.0,
            global_batch_size=8,
            activation_checkpointing=False,
            **numbers,
            **counts,
            **memory,
        )

    def _evaluate(self, *_: Any, **__: Any) -> SimpleNamespace:
        return SimpleNamespace(
            as_dict=lambda: REPORT,
            subject="support",
            split="validation",
            data=None,
            scored="validation",
            loses_to_floor=self.loses_to_floor,
            mode="loss",
            metrics={},
            examples=3,
            base=None,
            floor=None,
            unparsed=0,
            left_out={},
            per_label={},
            label_names=(),
            confusion=(),
            without_support=(),
            never_predicted=(),
            **dict.fromkeys(("calibration", "free_answers", "overlap", "learning")),
            paired={},
            slices={},
            gates=(),
            inputs={},
        )

    def _push(
        self, _: TrainingRun, *, repo: str, private: bool, dry_run: bool, **__: Any
    ) -> SimpleNamespace:
        return SimpleNamespace(
            repo=repo,
            url=None if dry_run else f"https://hub/{repo}",
            files=(("README.md", 10),),
            card="# Card",
            private=private,
            dry_run=dry_run,
        )

    @property
    def last(self) -> tuple[str, Any, dict[str, Any]]:
        return self.calls[-1]


@pytest.fixture
def stages(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Stages:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "environ", os.environ.copy())
    Path("support.yaml").write_text(RECIPE)
    return Stages(monkeypatch)


def test_prepare_takes_the_only_recipe_here_and_names_the_next_command(
    stages: Stages, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["prepare"]) == 0
    out, err = capsys.readouterr()
    assert stages.last[1].name == "support"
    assert "recipe: support.yaml" in err
    assert "a note of the stage" in err
    assert out.endswith("next: ftool train\n")


def test_prepare_hands_on_its_flags(stages: Stages) -> None:
    assert run(["prepare", "--fresh", "--workers", "2"]) == 0
    named = stages.last[2]
    assert (named["fresh"], named["workers"], named["trial"]) == (True, 2, None)


def test_a_dry_run_reads_some_rows_and_gives_advice(
    stages: Stages, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    advice = ModuleType("ftool.prepare.write.advice")
    advice.advise = lambda *_: [("few rows", "data.split.test=0.2")]  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, advice.__name__, advice)
    assert run(["prepare", "--dry-run"]) == 0
    assert stages.last[2]["trial"] == TRIAL_ROWS
    out = capsys.readouterr().out
    assert "advice: few rows\n  data.split.test=0.2\n" in out
    assert "report of this trial: data/support/report.html" in out
    assert out.endswith("next: ftool prepare\n")


def test_a_row_is_explained_and_nothing_is_prepared(
    stages: Stages, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("tickets.csv").write_text("message,intent\nwhere is my parcel,delivery\n")
    words = ["data.sources.0.path=tickets.csv", "data.sources.0.columns={}"]
    assert run(["prepare", "--explain", "tickets.csv:2", *words]) == 0
    out = capsys.readouterr().out
    assert out.startswith("tickets.csv:2  (as it was)\nwhere is my parcel,delivery\n")
    assert "too_short         passes  18 characters; at least 2\n" in out
    assert stages.calls == []


def test_overrides_reach_the_recipe_and_the_next_command(
    stages: Stages, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["prepare", "--recipe", "support", "data.split.test=0.2", "name=my-tickets"]) == 0
    recipe = stages.last[1]
    assert (recipe.data.split.test, recipe.name) == (0.2, "my-tickets")
    command = "next: ftool train --recipe support data.split.test=0.2 name=my-tickets\n"
    assert capsys.readouterr().out.endswith(command)


def test_train_hands_on_name_and_fresh(stages: Stages, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["train", "--run", "rank8", "--fresh", "train.method.r=8"]) == 0
    _, recipe, named = stages.last
    assert recipe.train.method.r == 8
    assert (named["run"], named["fresh"]) == ("rank8", True)
    assert capsys.readouterr().out.endswith("next: ftool eval runs/rank8\n")


def test_a_dry_run_trains_nothing_and_names_the_real_command(
    stages: Stages, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--recipe", "support", "--run", "b", "train.epochs=1"]
    assert run(["train", "--dry-run", *words]) == 0
    assert [name for name, _, _ in stages.calls] == ["dry_run"]
    assert stages.last[1].train.epochs == 1
    out = capsys.readouterr().out
    assert "(dry run, nothing was written)" in out
    assert out.endswith("next: ftool train --recipe support train.epochs=1 --run b\n")
    assert not Path("runs").exists()


def test_train_gives_its_result_as_json_alone(
    stages: Stages, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["train", "--dry-run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"steps": 12}
    assert run(["train", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["status"] == "finished"


def test_train_shows_steps_on_stderr(
    stages: Stages, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(["train"]) == 0
    assert {"on_note", "on_progress", "on_step"} <= stages.last[2].keys()


def test_show_takes_the_recipes_data_and_three_examples(
    stages: Stages, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["show"]) == 0
    _, recipe, named = stages.last
    assert recipe.name == "support"
    del named["on_note"]
    assert named == {"data": None, "split": None, "examples": 3, "only": None}
    out, err = capsys.readouterr()
    assert out.endswith("\na:1\ntrain, 1 token, 1 learned\n⟦refund⟧\n")
    assert "recipe: support.yaml\na note of the stage" in err


def test_show_hands_on_dataset_options_and_settings(stages: Stages) -> None:
    words = ["show", "seed=5", "data/other", "--split", "test", "--examples", "7", "--id", "a:1"]
    assert run(words) == 0
    _, recipe, named = stages.last
    del named["on_note"]
    assert recipe.seed == 5
    assert named == {"data": "data/other", "split": "test", "examples": 7, "only": "a:1"}


def test_show_shows_one_dataset_at_a_time(
    stages: Stages, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["show", "a", "b"]) == 2
    assert "only one dataset can be shown at a time, not 2: a, b" in capsys.readouterr().err
    assert stages.calls == []


@pytest.mark.parametrize("verb", ["prepare", "train"])
def test_a_word_that_is_no_setting_is_refused(
    stages: Stages, capsys: pytest.CaptureFixture[str], verb: str
) -> None:
    assert run([verb, "support"]) == 2
    err = capsys.readouterr().err
    assert "error: `support` is not a setting" in err
    assert "hint: write --recipe support if it is a recipe" in err
    assert stages.calls == []


def test_eval_takes_the_newest_finished_run_and_says_so(
    stages: Stages, capsys: pytest.CaptureFixture[str]
) -> None:
    for number, name in enumerate(("older", "newer", "oldest")):
        write_run(Path("runs") / name)
        age = (100, 200, 50)[number]
        os.utime(Path("runs") / name / "manifest.json", (age, age))
    assert run(["eval"]) == 0
    assert stages.last[1].path == Path("runs/newer")
    out, err = capsys.readouterr()
    assert "run: runs/newer (the newest finished one)" in err
    assert out.endswith("next: ftool push-to-hub runs/newer --repo OWNER/NAME --dry-run\n")


@pytest.mark.parametrize("name", ["rank8", "runs/rank8", "./runs/rank8"])
def test_eval_finds_a_run_by_name_and_by_folder(stages: Stages, name: str) -> None:
    write_run(Path("runs/rank8"))
    assert run(["eval", name, "--split", "test"]) == 0
    _, subject, named = stages.last
    assert isinstance(subject, TrainingRun)
    assert subject.path.name == "rank8"
    assert (named["recipe"], named["split"]) == (None, "test")


def test_eval_with_a_recipe_takes_the_run_of_that_name(stages: Stages) -> None:
    write_run(Path("runs/support"))
    write_run(Path("runs/newer"))
    assert run(["eval", "--recipe", "support"]) == 0
    _, subject, named = stages.last
    assert subject.path == Path("runs/support")
    assert named["recipe"].name == "support"


def test_what_loses_to_its_floor_is_not_proposed_for_publishing(
    stages: Stages, capsys: pytest.CaptureFixture[str]
) -> None:
    write_run(Path("runs/support"))
    assert run(["eval"]) == 0
    assert "next: ftool push-to-hub runs/support" in capsys.readouterr().out
    stages.loses_to_floor = True
    assert run(["eval"]) == 0
    assert "next:" not in capsys.readouterr().out


@pytest.mark.parametrize(
    "words", [["data.system=x"], ["support", "train.epochs=9", "eval.base=no"]]
)
def test_eval_refuses_settings_that_a_score_would_not_show(
    stages: Stages, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    write_run(Path("runs/support"))
    assert run(["eval", *words]) == 2
    unread = words[1] if len(words) > 1 else words[0]
    assert f"ftool eval does not read {unread}\n" in capsys.readouterr().err
    assert stages.calls == []


def test_eval_overrides_the_recipe_of_the_run(stages: Stages) -> None:
    write_run(Path("runs/support"), RECIPE + "seed: 99\n")
    assert run(["eval", "eval.base=false", "support"]) == 0
    recipe = stages.last[2]["recipe"]
    assert (recipe.seed, recipe.eval.base) == (99, False)


@pytest.mark.parametrize("name", ["HuggingFaceTB/SmolLM2-135M", "folder", "smollm2-135m-instruct"])
def test_eval_takes_what_is_no_run_as_a_plain_model(
    stages: Stages, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    Path("folder").mkdir()
    Path("folder/config.json").write_text("{}")
    assert run(["eval", name, "--data", "rows.csv"]) == 0
    _, subject, named = stages.last
    assert subject == name
    assert re.fullmatch(r"data/rows-[0-9a-f]{6}-validation", named["data"].as_posix())
    assert named["recipe"].name == "support"
    assert capsys.readouterr().out.endswith("next: ftool train\n")


def test_eval_of_an_unfinished_or_missing_run_never_asks_the_hub(
    stages: Stages, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("runs/broken").mkdir(parents=True)
    Path("runs/broken/recipe.yaml").write_text(RECIPE)
    Path("runs/broken/.lock").touch()
    assert run(["eval", "broken"]) == 3
    assert "runs/broken is not finished" in capsys.readouterr().err
    assert run(["eval", "runs/missing"]) == 3
    assert "there is no run runs/missing" in capsys.readouterr().err
    assert stages.calls == []


def test_eval_scores_one_model_at_a_time(
    stages: Stages, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["eval", "a", "b"]) == 2
    assert "only one model can be scored at a time, not 2: a, b" in capsys.readouterr().err


def test_json_is_all_that_stdout_holds(stages: Stages, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(Path("runs/support"))
    assert run(["eval", "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out) == REPORT
    assert "a note of the stage" in err


def test_eval_hands_on_columns_to_score_and_to_resample_by(stages: Stages) -> None:
    write_run(Path("runs/support"))
    assert run(["eval", "--slice", "channel", "--slice", "kind of [x]", "--group", "chat"]) == 0
    assert stages.last[2]["columns"] == Columns(["channel", "kind of [x]"], "chat")
    assert run(["eval"]) == 0
    assert stages.last[2]["columns"] == NO_COLUMNS


def test_eval_hands_on_gates_and_what_takes_longer(stages: Stages) -> None:
    for name in ("support", "production"):
        write_run(Path("runs") / name)
    words = ["--fail-under", "f1_macro=0.9", "--fail-under", "unparsed<=0.01"]
    words += ["--no-worse-than", "runs/production", "--margin", "0.01"]
    assert run(["eval", "support", *words, "--confidence", "--base-full"]) == 0
    asked = stages.last[2]
    assert asked["gates"].fail_under == ["f1_macro=0.9", "unparsed<=0.01"]
    assert asked["gates"].no_worse_than.path == Path("runs/production")
    assert asked["gates"].margin == 0.01
    assert asked["recipe"].eval.confidence and asked["recipe"].eval.base_examples is None
    assert run(["eval", "support"]) == 0
    assert stages.last[2]["gates"] == NO_GATES and stages.last[2]["recipe"] is None


@pytest.mark.parametrize("as_json", [True, False])
def test_a_gate_that_fails_ends_with_4_and_one_line(
    stages: Stages, capsys: pytest.CaptureFixture[str], as_json: bool
) -> None:
    write_run(Path("runs/support"))
    failed = {"gate": "accuracy >= 0.9", "found": "accuracy is 0.500", "passed": False}
    scored = stages._evaluate()
    scored.gates = (failed, failed | {"gate": "accuracy >= 0.1", "passed": True})
    stages._evaluate = lambda *_, **__: scored  # type: ignore[method-assign]
    words = ["--fail-under", "accuracy=0.9", "--junit", "ci/gates.xml"]
    assert run(["eval", *words, *(["--json"] if as_json else [])]) == 4
    out, err = capsys.readouterr()
    told = [line for line in err.splitlines() if line.startswith("error: ")]
    assert told == ["error: 1 of 2 gates failed: accuracy is 0.500, not accuracy >= 0.9"]
    assert "next:" not in out and (not as_json or json.loads(out) == REPORT)
    assert 'failures="1"' in Path("ci/gates.xml").read_text()
    failed["passed"] = True
    assert run(["eval", *words]) == 0
    assert "all 2 gates hold" in capsys.readouterr().out
    assert 'failures="0"' in Path("ci/gates.xml").read_text()


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["--margin", "0.01"], 2, "--margin belongs to --no-worse-than"),
        (["--junit", "gates.xml"], 2, "--junit: there is no gate"),
        (["--fail-under", "f1_macro=0.9", "--junit", "."], 2, "--junit: `.` is a folder"),
        (
            ["--fail-under", "f1_macro=0.9", "--junit", "runs/support/recipe.yaml/x"],
            2,
            "nothing can",
        ),
        (["--base-full", "eval.base=false"], 2, "--base-full: eval.base is false"),
        (["--no-worse-than", "suport"], 3, "no run runs/suport; did you mean `support`?"),
        (["--no-worse-than", "missing"], 3, "there is no run runs/missing"),
    ],
)
def test_half_a_gate_is_refused(
    stages: Stages, capsys: pytest.CaptureFixture[str], words: list[str], code: int, told: str
) -> None:
    write_run(Path("runs/support"))
    assert run(["eval", *words]) == code
    assert told in capsys.readouterr().err and stages.calls == []


def write_scored_run(name: str, right: int) -> None:
    """Write a run that has that many of 40 rows of its test split right."""
    write_run(Path("runs") / name)
    rows = [Prediction(f"{n}", "a", "a" if n < right else "b", "") for n in range(40)]
    report = label_report(rows, "ab", subject=name, split="test", mode="rank", inputs={})
    report.write(Path("runs") / name / "eval/test", rows)


def test_compare_judges_runs_against_the_first(
    stages: Stages, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, right in (("production", 20), ("rank8", 35)):
        write_scored_run(name, right)
    assert run(["compare", "runs/production", "rank8", "--split", "test"]) == 0
    out = capsys.readouterr().out
    assert "rank8: better than production by 37.5 points of accuracy" in " ".join(out.split())
    assert run(["compare", "production", "rank8", "--split", "test", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["paired"]["rank8"]["fixed"] == 15
    assert stages.calls == []


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        ([], 2, "a comparison needs two runs or more"),
        (["support"], 2, "a comparison needs two runs or more"),
        (["support", "runs/support"], 2, "a run cannot be compared with itself"),
        (["support", "missing"], 3, "there is no run runs/missing"),
        (["support", "other"], 3, "hint: run: ftool eval runs/support --split validation"),
    ],
)
def test_compare_says_what_it_needs(
    stages: Stages,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    code: int,
    told: str,
) -> None:
    for name in ("support", "other"):
        write_run(Path("runs") / name)
    assert run(["compare", *words]) == code
    out, err = capsys.readouterr()
    assert out == "" and told in err


def test_push_takes_repository_and_visibility_from_the_recipe_of_the_run(
    stages: Stages, capsys: pytest.CaptureFixture[str]
) -> None:
    write_run(Path("runs/support"), RECIPE + "hub: {repo: me/support}\n")
    assert run(["push-to-hub"]) == 0
    _, subject, named = stages.last
    assert subject.path == Path("runs/support")
    assert (named["repo"], named["private"], named["merged"]) == ("me/support", True, "auto")
    assert named["dry_run"] is False
    assert capsys.readouterr().out.endswith("next: hf download me/support\n")


def test_push_options_win_over_the_recipe(
    stages: Stages, capsys: pytest.CaptureFixture[str]
) -> None:
    write_run(Path("runs/support"), RECIPE + "hub: {repo: me/support}\n")
    words = ["push-to-hub", "support", "--repo", "us/other", "--public", "--adapter", "--dry-run"]
    assert run(words) == 0
    named = stages.last[2]
    assert (named["repo"], named["private"], named["merged"]) == ("us/other", False, False)
    assert named["dry_run"] is True
    out = capsys.readouterr().out
    assert "# Card" in out
    assert out.endswith("next: ftool push-to-hub runs/support --repo us/other --public --adapter\n")


def test_push_reads_the_hub_section_of_a_named_recipe(stages: Stages) -> None:
    write_run(Path("runs/support"))
    write_run(Path("runs/newer"))
    Path("support.yaml").write_text(RECIPE + "hub: {repo: me/new, private: false}\n")
    assert run(["push-to-hub", "--recipe", "support.yaml"]) == 0
    _, subject, named = stages.last
    assert subject.path == Path("runs/support")
    assert (named["repo"], named["private"]) == ("me/new", False)


def test_push_takes_settings_of_the_hub_over_those_of_the_run(
    stages: Stages, capsys: pytest.CaptureFixture[str]
) -> None:
    write_run(Path("runs/support"), RECIPE + "hub: {repo: me/support, license: mit}\n")
    words = ["hub.license=gemma", "hub.private=false", "hub.repo=me/new", "hub.merged=true"]
    assert run(["push-to-hub", "support", *words, "--dry-run"]) == 0
    _, subject, named = stages.last
    assert subject.path == Path("runs/support")
    assert (named["repo"], named["private"], named["merged"]) == ("me/new", False, True)
    assert named["license"] == "gemma"
    out = capsys.readouterr().out
    assert out.endswith(f"next: ftool push-to-hub runs/support --repo me/new {' '.join(words)}\n")


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("hub.license=apache2", "the nearest are `apache-2.0`"),
        ("hub.licence=mit", "did you mean `license`?"),
        ("other", "only one run can be published at a time, not 2: support, other"),
        ("train.epochs=1", "ftool push-to-hub does not read train.epochs=1"),
    ],
)
def test_push_refuses_what_it_cannot_use(
    stages: Stages, capsys: pytest.CaptureFixture[str], word: str, told: str
) -> None:
    write_run(Path("runs/support"), RECIPE + "hub: {repo: me/support}\n")
    assert run(["push-to-hub", "support", word]) == 2
    assert told in " ".join(capsys.readouterr().err.split())
    assert stages.calls == []


def test_push_without_a_repository_is_refused(
    stages: Stages, capsys: pytest.CaptureFixture[str]
) -> None:
    write_run(Path("runs/support"))
    assert run(["push-to-hub"]) == 2
    assert "hint: add --repo OWNER/NAME" in capsys.readouterr().err
    assert stages.calls == []


@pytest.mark.parametrize(
    ("words", "command"),
    [
        (["train", "--nonsense"], "ftool train"),
        (["train", "--run"], "ftool"),
        (["eval", "--split", "dev"], "ftool eval"),
        (["show", "--examples", "0"], "ftool show"),
        (["trane"], "ftool"),
    ],
)
def test_wrong_usage_ends_with_2_and_the_help_to_read(
    stages: Stages, capsys: pytest.CaptureFixture[str], words: list[str], command: str
) -> None:
    assert run(words) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert err.endswith(f"hint: run: {command} --help\n")


def test_a_mistyped_choice_has_a_nearest_one(
    stages: Stages, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["eval", "--split", "tset"]) == 2
    told = "'tset' is not one of 'validation', 'test', 'train'; did you mean `test`?"
    assert f"error: Invalid value for '--split': {told}" in " ".join(
        capsys.readouterr().err.split()
    )


@pytest.mark.parametrize(
    ("error", "code"), [(DataError, 3), (GateError, 4), (DeviceError, 5), (HubError, 6)]
)
def test_what_a_stage_refuses_becomes_its_exit_code(
    stages: Stages, capsys: pytest.CaptureFixture[str], error: type[FtoolError], code: int
) -> None:
    stages.error = error("tickets.csv: line 3 is broken", hint="mend it")
    assert run(["prepare"]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.endswith("error: tickets.csv: line 3 is broken\nhint: mend it\n")


def test_a_bug_keeps_its_traceback(stages: Stages, capsys: pytest.CaptureFixture[str]) -> None:
    stages.error = ZeroDivisionError("inside a stage")
    assert run(["prepare"]) == 70
    err = capsys.readouterr().err
    assert "ZeroDivisionError: inside a stage" in err
    assert "Traceback" in err
    assert err.splitlines()[-1].startswith("This is a bug in ftool")


def test_ctrl_c_ends_with_130(stages: Stages, capsys: pytest.CaptureFixture[str]) -> None:
    stages.error = KeyboardInterrupt()
    assert run(["prepare"]) == 130
    err = capsys.readouterr().err
    assert err.endswith("interrupted; the same command does the rest\n")
    assert "Traceback" not in err


def test_libraries_are_quiet_before_a_stage_is_imported(
    stages: Stages, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.environ.clear()
    os.environ["TRANSFORMERS_VERBOSITY"] = "info"
    run(["prepare"])
    assert os.environ == {**QUIET, "TRANSFORMERS_VERBOSITY": "info"}


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    from ftool.artifacts import ftool_version

    assert run(["--version"]) == 0
    assert capsys.readouterr().out == f"ftool {ftool_version()}\n"


def test_no_verb_shows_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([]) == 0
    assert "Usage: ftool [OPTIONS] COMMAND" in capsys.readouterr().out


@pytest.mark.parametrize("verb", ["prepare", "show", "train", "eval", "compare", "push-to-hub"])
def test_every_help_ends_with_two_examples(capsys: pytest.CaptureFixture[str], verb: str) -> None:
    assert run([verb, "--help"]) == 0
    *_, title, first, second = capsys.readouterr().out.rstrip().splitlines()
    assert title == "  Examples:"
    assert first.startswith(f"    ftool {verb} ")
    assert second.startswith(f"    ftool {verb} ")


def test_a_closed_pipe_is_quiet() -> None:
    shell = f"{sys.executable} -m ftool --help | true; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, check=False)
    assert done.stdout.strip() in {"0", "1"}
    assert done.stderr == ""


def test_sigterm_unwinds_and_ends_with_143(tmp_path: Path) -> None:
    program = """
import sys, time, types
from ftool import __main__, cli
module = types.ModuleType("ftool.prepare.run")
def prepare(recipe, **_):
    try:
        print("ready", flush=True)
        time.sleep(30)
    finally:
        print("unwound", flush=True)
module.prepare = prepare
sys.modules["ftool.prepare.run"] = module
sys.argv = ["ftool", "prepare"]
__main__.main()
"""
    (tmp_path / "support.yaml").write_text(RECIPE)
    with subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=10)
    assert (process.returncode, out) == (143, "unwound\n")
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("number", "code"), [(errno.ENOSPC, 5), (errno.EROFS, 5), (errno.ENOTDIR, 3), (errno.EEXIST, 3)]
)
def test_what_the_disk_refuses_is_a_sentence(
    stages: Stages, capsys: pytest.CaptureFixture[str], number: int, code: int
) -> None:
    stages.error = OSError(number, os.strerror(number), "data")
    assert run(["prepare"]) == code
    err = capsys.readouterr().err
    assert f"error: data: {os.strerror(number)}" in err and "\nhint: " in err
    assert ("the disk takes no more" in err) == (number == errno.ENOSPC)


def test_a_closed_standard_output_is_no_bug(tmp_path: Path) -> None:
    shell = f"{sys.executable} -m ftool --version >&-"
    done = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr


class Library:
    """A C library that notes how its allocator is set."""

    def __init__(self) -> None:
        self.settings: list[tuple[int, int]] = []

    def mallopt(self, parameter: int, value: int) -> int:
        self.settings.append((parameter, value))
        return 1


@pytest.mark.parametrize(
    ("words", "environment", "settings"),
    [
        (["train"], {}, [(-4, 0), (-1, 2**31 - 1)]),
        (["train"], {"MALLOC_ARENA_MAX": "2"}, []),
        (["prepare"], {}, []),
    ],
)
def test_only_training_keeps_freed_memory_and_not_against_the_user(
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
    environment: dict[str, str],
    settings: list[tuple[int, int]],
) -> None:
    library = Library()
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    monkeypatch.setattr(os, "environ", kept | environment)
    monkeypatch.setattr(sys, "argv", ["ftool", *words])
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr("ctypes.CDLL", lambda _: library)
    monkeypatch.setattr("ftool.__main__.run", lambda _: 0)
    with pytest.raises(SystemExit):
        main()
    assert library.settings == settings
    assert ("THP_MEM_ALLOC_ENABLE" in os.environ) == bool(settings)


def test_a_c_library_without_that_setting_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", {})
    monkeypatch.setattr(sys, "argv", ["ftool", "train"])
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr("ctypes.CDLL", lambda _: object())
    monkeypatch.setattr("ftool.__main__.run", lambda _: 3)
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == 3
