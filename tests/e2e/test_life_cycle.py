"""The four verbs from raw files to a staged repository, by the command line."""

import json
import os
import subprocess
import sys
import time

import pytest
from datasets import load_dataset
from tiny import save_tiny_base, write_recipe, write_tickets
from transformers import AutoModelForCausalLM, AutoTokenizer

LIMIT_SECONDS = 60


def ftool(folder, *words, code=0, only_out=False):
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "COLUMNS": "80"}
    done = subprocess.run(
        [sys.executable, "-m", "ftool", *words],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout if only_out else done.stdout + done.stderr


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    folder = tmp_path_factory.mktemp("project")
    save_tiny_base(folder / "base")
    write_tickets(folder / "tickets.csv", count=60)
    write_recipe(folder, base="base")
    return folder


def test_raw_files_become_a_staged_repository(project):
    started = time.monotonic()
    assert "ftool train" in ftool(project, "prepare")
    assert "ftool eval" in ftool(project, "train", "--recipe", "recipe.yaml")
    evaluated = ftool(project, "eval", "runs/tiny", "--split", "test")
    for word in ("accuracy", "precision", "recall", "TF-IDF"):
        assert word in evaluated
    pushed = ftool(
        project, "push-to-hub", "runs/tiny", "--repo", "me/support-router", "--dry-run", "--merged"
    )
    assert "model.safetensors" in pushed and "support-router" in pushed
    assert time.monotonic() - started < LIMIT_SECONDS

    metrics = json.loads((project / "runs/tiny/eval/test/metrics.json").read_text())
    assert metrics["schema"] == 1 and metrics["examples"] == 12
    assert metrics["metrics"].keys() >= {"accuracy", "precision_macro", "recall_macro", "f1_macro"}
    assert metrics["base"]["examples"] == 12 and metrics["floor"]["examples"] == 12
    data = load_dataset(str(project / "data/tiny"))
    assert {name: split.num_rows for name, split in data.items()} == {
        "train": 36,
        "validation": 12,
        "test": 12,
    }
    tokenizer = AutoTokenizer.from_pretrained(project / "runs/tiny/model")
    model = AutoModelForCausalLM.from_pretrained(project / "runs/tiny/model")
    ids = tokenizer("hello", return_tensors="pt", add_special_tokens=False)["input_ids"]
    assert model(ids).logits.shape == (1, ids.shape[1], model.config.vocab_size)


MISTAKES = {
    "missing recipe": (["prepare", "--recipe", "nothing.yaml"], 2, "no recipe nothing.yaml"),
    "broken yaml": (["prepare", "--recipe", "broken.yaml"], 2, "not valid YAML"),
    "unknown key": (["train", "train.learning_rte=1"], 2, "did you mean `learning_rate`"),
    "missing file": (["prepare", "data.sources.0.path=no.csv", "data.name=m1"], 3, "no.csv"),
    "unknown column": (
        ["prepare", "data.sources.0.columns.prompt=mesage", "data.name=m2"],
        3,
        "did you mean `message`",
    ),
    "unknown label": (
        ["prepare", "data.label_names=[refund, other]", "data.name=m3"],
        3,
        "unknown_label",
    ),
    "empty file": (["prepare", "data.sources.0.path=empty.csv", "data.name=m4"], 3, "empty.csv"),
    "raw data in the way": (["prepare", "data.name=raw"], 3, "data/raw"),
    "no data": (["train", "data.name=never"], 3, "ftool prepare"),
    "no such base": (["train", "--run", "m5", "model.base=nobody/nothing"], 6, "nobody/nothing"),
    "no such folder": (["train", "--run", "m6", "model.base=./nothing"], 2, "./nothing"),
    "foreign run folder": (["train", "--run", "foreign"], 3, "not a run of ftool"),
    "no such run": (["eval", "runs/never"], 3, "runs/never"),
    "no such split": (["eval", "runs/foreign"], 3, "not a run"),
    "unknown verb": (["trian"], 2, "trian"),
    "unknown option": (["train", "--recip", "x"], 2, "--recip"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_a_sentence_and_loses_nothing(project, name):
    words, code, sentence = MISTAKES[name]
    (project / "broken.yaml").write_text("name: [", encoding="utf-8")
    (project / "empty.csv").write_text("", encoding="utf-8")
    for mine in (project / "data/raw/mine.csv", project / "runs/foreign/mine.txt"):
        mine.parent.mkdir(parents=True, exist_ok=True)
        mine.write_text("precious", encoding="utf-8")
    needs_recipe = words[0] in {"prepare", "train"} and "--recip" not in " ".join(words)
    if needs_recipe:
        words = [words[0], "--recipe", "recipe.yaml", *words[1:]]
    output = " ".join(ftool(project, *words, code=code).split())
    assert sentence in output
    assert (project / "data/raw/mine.csv").read_text() == "precious"
    assert (project / "runs/foreign/mine.txt").read_text() == "precious"


def test_any_file_can_be_scored_by_a_run_or_a_plain_model(project):
    if not (project / "runs/tiny/manifest.json").is_file():
        test_raw_files_become_a_staged_repository(project)
    write_tickets(project / "new.csv", count=9)
    scored = json.loads(
        ftool(project, "eval", "runs/tiny", "--data", "new.csv", "--json", only_out=True)
    )
    assert scored["examples"] == 9 and scored["floor"]["examples"] == 9
    assert scored["label_names"] == ["delivery", "refund", "refund_status"]
    plain = json.loads(
        ftool(project, "eval", "./base", "--data", "new.csv", "--json", only_out=True)
    )
    assert plain["examples"] == 9 and plain["base"] is None
