import json
from pathlib import Path

import pytest
from huggingface_hub import constants
from tiny_run import write_model_file, write_report, write_run

from ftool.artifacts import TrainingRun, ignore_note
from ftool.errors import RunError
from ftool.eval.report import Report
from ftool.hub.staging import is_model_file, public_recipe, staged

REVISION = "c" * 40


@pytest.fixture
def run(tmp_path: Path) -> TrainingRun:
    """An adapter on a base of the Hub, trained in a folder of this machine."""
    return write_run(
        tmp_path / "runs" / "tiny", base=tmp_path / "base", name="org/base", revision=REVISION
    )


def stage_files(run: TrainingRun, notes: list[str] | None = None) -> dict[str, str]:
    """Stage the adapter and return its texts."""

    def note(sentence: str) -> None:
        if notes is not None:
            notes.append(sentence)

    with staged(run, repo="me/bot", full=False, on_note=note) as stage:
        return {
            name: (stage.folder / name).read_text(encoding="utf-8", errors="replace")
            for name, _ in stage.files
        }


@pytest.mark.parametrize(
    ("name", "published"),
    [
        ("model.safetensors", True),
        ("model-00001-of-00002.safetensors", True),
        ("model.safetensors.index.json", True),
        ("tokenizer.model", True),
        ("chat_template.jinja", True),
        ("additional_chat_templates/tool.jinja", True),
        ("training_args.bin", False),
        ("optimizer.pt", False),
        ("trainer_state.json", False),
        ("predictions.jsonl", False),
        ("checkpoint-1/model.safetensors", False),
        ("README.md", False),
    ],
)
def test_only_known_files_are_published(name: str, published: bool) -> None:
    assert is_model_file(name) is published


def test_an_adapter_names_its_base_by_id_and_commit(run: TrainingRun, tmp_path: Path) -> None:
    before = (run.model_path / "adapter_config.json").read_text(encoding="utf-8")
    assert json.loads(before)["base_model_name_or_path"] == str(tmp_path / "base")
    config = json.loads(stage_files(run)["adapter_config.json"])
    assert config["base_model_name_or_path"] == "org/base"
    assert config["revision"] == REVISION
    assert config["r"] == 4
    assert (run.model_path / "adapter_config.json").read_text(encoding="utf-8") == before


def test_where_files_lay_is_forgotten(run: TrainingRun, tmp_path: Path) -> None:
    path = run.model_path / "tokenizer_config.json"
    settings = json.loads(path.read_text(encoding="utf-8"))
    leftovers = {"name_or_path": str(tmp_path), "is_local": True, "local_files_only": True}
    write_model_file(run, path.name, json.dumps(settings | leftovers))
    assert json.loads(stage_files(run)["tokenizer_config.json"]) == settings


def test_what_is_left_out_is_told(run: TrainingRun) -> None:
    write_model_file(run, "training_args.bin", b"x")
    notes: list[str] = []
    assert "training_args.bin" not in stage_files(run, notes)
    assert "not published: training_args.bin" in notes
    assert any("names no licence" in note for note in notes)


def test_the_recipe_keeps_no_folder(run: TrainingRun) -> None:
    recipe = run.recipe()
    sources = [
        source.model_copy(update={"path": path})
        for source in recipe.data.sources
        for path in (
            "../../raw/*.csv",
            "hf://org/data",
            "sqlite:////home/anna/desk.db",
            "C:\\a\\b.csv",
        )
    ]
    changed = recipe.model_copy(
        update={
            "data": recipe.data.model_copy(update={"sources": sources}),
            "model": recipe.model.model_copy(update={"chat_template": Path("/home/x/chat.jinja")}),
        }
    )
    public = public_recipe(changed, run.base_model)
    paths = [source.path for source in public.data.sources]
    assert paths == ["*.csv", "hf://org/data", "desk.db", "b.csv"]
    assert public.model.chat_template == Path("chat.jinja")
    assert public.model.base == "org/base"
    assert public.train == recipe.train


@pytest.mark.parametrize("hidden", ["{run}/x", "{home}/x", "{cache}", "{base}"])
def test_a_local_path_is_refused(run: TrainingRun, tmp_path: Path, hidden: str) -> None:
    names = {
        "run": run.path.resolve(),
        "home": Path.home(),
        "cache": constants.HF_HUB_CACHE,
        "base": tmp_path / "base",
    }
    write_model_file(run, "chat_template.jinja", "{# " + hidden.format(**names) + " #}")
    with pytest.raises(RunError, match=r"chat_template\.jinja holds the local path"):
        stage_files(run)
    assert not list(run.path.glob(".push-*"))


def test_a_secret_is_refused(run: TrainingRun) -> None:
    write_model_file(run, "chat_template.jinja", "hf_" + "a" * 20)
    with pytest.raises(RunError, match=r"chat_template\.jinja holds what looks like a secret"):
        stage_files(run)


def test_similar_text_is_no_local_path(run: TrainingRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/root")
    write_model_file(run, "chat_template.jinja", f"/root and /rooting, {run.path}er")
    assert "/rooting" in stage_files(run)["chat_template.jinja"]


def test_a_report_changed_by_hand_is_refused(run: TrainingRun) -> None:
    write_report(run)
    path = run.path / "eval" / "test" / "metrics.json"
    path.write_text(path.read_text(encoding="utf-8").replace("0.66", "0.99"), encoding="utf-8")
    with pytest.raises(RunError, match="was changed after"):
        stage_files(run)


def test_slices_are_named_by_the_data_and_stay_here(run: TrainingRun) -> None:
    write_report(run)
    folder = run.path / "eval" / "test"
    parts = {"customer": [{"value": "Jane Doe"}]}
    Report.read(folder).with_blocks(slices=parts).write(folder, [])
    assert "Jane Doe" in (folder / "metrics.json").read_text(encoding="utf-8")
    staged_files = stage_files(run)
    assert "Jane Doe" not in "".join(map(str, staged_files.values()))
    assert json.loads(staged_files["metrics/test.json"])["slices"] == {}


def test_weights_are_linked_and_stay(run: TrainingRun) -> None:
    weights = run.model_path / "adapter_model.safetensors"
    before = weights.read_bytes()
    with staged(run, repo="me/bot", full=False, on_note=ignore_note) as stage:
        assert (stage.folder / weights.name).samefile(weights)
    assert weights.read_bytes() == before
