"""A token that ftool can reach is found in nothing that it writes, prints, raises or sends."""

import subprocess
import sys
from pathlib import Path

import pytest
from loopback_hub import LoopbackHub
from tiny import save_tiny_base, write_recipe, write_tickets
from tiny_run import seal_again, write_run

from ftool import __main__ as program
from ftool.artifacts import PreparedDataset, ignore_note
from ftool.credentials import masked
from ftool.errors import FtoolError, HubError, RecipeError, RunError
from ftool.example import SPLITS
from ftool.hub.refusal import hub_errors
from ftool.hub.staging import staged
from ftool.recipe.file import load_recipe

REPO = "tester/tiny"
ENVIRONMENT = "hf_EnvironmentCanary0123456789abcdef"
LOGIN = "hf_LoginFileCanary0123456789abcdefg"
TRACKER = "wandbCanary0123456789abcdef"
REMOTE = "ghp_RemoteCanary0123456789abcdefABCDEF0123"
ROW = "hf_DataRowCanary0123456789abcdefghij"
PASSWORD = "Canary-pass9word"
CANARIES = (ENVIRONMENT, LOGIN, TRACKER, REMOTE, ROW, PASSWORD)
LIFE_CYCLE = """
import sys
from ftool.__main__ import run
verbs = (
    ["prepare"],
    ["show", "--examples", "60"],
    ["train", "train.epochs=1", "train.tracking=[tensorboard]"],
    ["eval", "--json"],
    ["push-to-hub", "--repo", sys.argv[1], "--dry-run"],
    ["push-to-hub", "--repo", sys.argv[1]],
)
for verb in verbs:
    assert run(verb) == 0, verb
"""


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, LoopbackHub, str]:
    """A project that went through all verbs with every kind of secret around it."""
    folder = tmp_path_factory.mktemp("lived")
    project, home = folder / "project", folder / "home"
    (project / ".git").mkdir(parents=True)
    home.mkdir()
    write_recipe(project, base=save_tiny_base(folder / "base"))
    tickets = write_tickets(project / "tickets.csv")
    with tickets.open("a", encoding="utf-8") as file:
        file.write(f"my key is {ROW} and the refund is late,refund,customer-90\n")
        file.write(f"log in with password: {PASSWORD} please,delivery,customer-91\n")
        file.write(f"see https://joe:{PASSWORD}@example.org/a about it,delivery,customer-92\n")
    remote = f'[remote "origin"]\n\turl = https://me:{REMOTE}@github.com/me/x.git\n'
    (project / ".git/config").write_text(remote, encoding="utf-8")
    (home / "token").write_text(LOGIN, encoding="utf-8")
    with LoopbackHub(folder / "hub", token=ENVIRONMENT) as hub:
        around = {
            "HF_HOME": str(home),
            "WANDB_API_KEY": TRACKER,
            "FTOOL_CACHE": str(home / "ftool"),
        }
        done = subprocess.run(
            [sys.executable, "-c", LIFE_CYCLE, REPO],
            cwd=project,
            env=hub.environment() | around,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    return project, hub, done.stdout + done.stderr


def found_in(content: bytes) -> list[str]:
    return [canary for canary in CANARIES if canary.encode() in content]


def test_nothing_printed_holds_a_secret(lived: tuple[Path, LoopbackHub, str]) -> None:
    printed = lived[2]
    assert "[SECRET_1]" in printed  # the row was shown, without its key
    assert found_in(printed.encode()) == []


@pytest.mark.parametrize(
    "pattern",
    [
        "data/tiny/manifest.json",
        "data/tiny/README.md",
        "data/tiny/report.html",
        "runs/tiny/recipe.yaml",
        "runs/tiny/plan.json",
        "runs/tiny/steps.jsonl",
        "runs/tiny/manifest.json",
        "runs/tiny/model/*.json",
        "runs/tiny/checkpoints/*/*",
        "runs/tiny/**/*tfevents*",
        "runs/tiny/eval/*/*.json*",
    ],
)
def test_no_file_holds_a_secret(lived: tuple[Path, LoopbackHub, str], pattern: str) -> None:
    files = [file for file in lived[0].glob(pattern) if file.is_file()]
    assert files
    assert {
        file.name: found_in(file.read_bytes()) for file in files if found_in(file.read_bytes())
    } == {}


def test_no_other_file_holds_a_secret_but_the_raw_ones(
    lived: tuple[Path, LoopbackHub, str],
) -> None:
    project = lived[0]
    holding = {
        file.relative_to(project).as_posix()
        for file in project.rglob("*")
        if file.is_file() and found_in(file.read_bytes())
    }
    # Rows as they were, for the next preparation, behind a folder of their owner alone.
    work = {name for name in holding if name.startswith("data/.tiny.work/")}
    assert (project / "data/.tiny.work").stat().st_mode & 0o077 == 0
    assert holding - work <= {"tickets.csv", ".git/config", "data/tiny/rejected.jsonl"}
    assert (project / "data/tiny/rejected.jsonl").stat().st_mode & 0o077 == 0
    assert found_in(
        b"".join(f.read_bytes() for f in (project / "../home").rglob("*") if f.is_file())
    ) == [LOGIN]


def test_credentials_of_rows_are_masked(lived: tuple[Path, LoopbackHub, str]) -> None:
    dataset = PreparedDataset.open(lived[0] / "data/tiny")
    examples = [one for split in SPLITS if dataset.count(split) for one in dataset.examples(split)]
    assert found_in(repr(examples).encode()) == []
    assert repr(examples).count("SECRET_1") == 3


def test_no_upload_holds_a_secret(lived: tuple[Path, LoopbackHub, str]) -> None:
    hub = lived[1]
    files = hub.repos["model", REPO].files
    assert {"README.md", "model.safetensors", "recipe.yaml"} <= files.keys()
    assert {name: found_in(hub.content(REPO, name)) for name in files} == {
        name: [] for name in files
    }
    assert found_in(repr(hub.repos["model", REPO].commits).encode()) == []
    assert found_in("\n".join(hub.requests).encode()) == []


HEAD = "name: tiny\ndata: {sources: [{path: a.csv}]}\n"
IN_RECIPES = {
    "value": f"hub: {{repo: {ENVIRONMENT}}}",
    "key of another tool": f"hub: {{token: {PASSWORD}}}",
    "key anywhere": f"train: [{{wandb_api_key: {PASSWORD}}}]",
    "key is the token": f"{ENVIRONMENT}: 1",
    "comment": f"seed: 1  # {REMOTE}",
    "written in code": 'hub: {repo: "\\x68f_' + ENVIRONMENT[3:] + '"}',
    "over two lines": 'hub: {repo: "hf_\\\n  ' + ENVIRONMENT[3:] + '"}',
    "address with a user": f"model: {{base: 'https://joe:{PASSWORD}@example.org/a'}}",
    "signed address": f"model: {{base: 'https://example.org/a?X-Amz-Signature={PASSWORD}'}}",
    "address with a token": f"model: {{base: 'https://example.org/a?access_token={PASSWORD}'}}",
    "broken text": f"seed: [{ENVIRONMENT}",
    "data base": f"model: {{base: 'postgresql://joe:{PASSWORD}@db/x'}}",
}


@pytest.mark.parametrize("place", IN_RECIPES)
def test_a_recipe_with_a_secret_is_refused(tmp_path: Path, place: str) -> None:
    file = tmp_path / "recipe.yaml"
    file.write_text(HEAD + IN_RECIPES[place], encoding="utf-8")
    with pytest.raises(RecipeError, match=r"line [34] +looks like a secret") as refused:
        load_recipe(file)
    assert "hf auth login" in str(refused.value)
    assert found_in(repr(refused.value).encode()) == []


@pytest.mark.parametrize(
    "words",
    [
        ["train", f"hub.repo={ENVIRONMENT}"],
        ["train", f"hub.token={PASSWORD}"],
        ["train", f"train.api_key={PASSWORD}"],
        ["train", f"{ENVIRONMENT}=1"],
        ["train", ENVIRONMENT],
        ["train", f"data.sources.0.path=https://joe:{PASSWORD}@example.org/a"],
        ["train", f"name=[{ENVIRONMENT}"],
        ["eval", ENVIRONMENT, "b"],
        ["push-to-hub", "--token", ENVIRONMENT],
        ["push-to-hub", "--repo", ENVIRONMENT],
        [ENVIRONMENT],
    ],
)
def test_a_command_with_a_secret_is_refused(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("recipe.yaml").write_text(HEAD, encoding="utf-8")
    assert program.run(words) == 2
    printed = "".join(capsys.readouterr())
    assert "looks like a secret" in printed
    assert found_in(printed.encode()) == []
    assert [file.name for file in Path().iterdir()] == ["recipe.yaml"]


def test_settings_that_are_no_secrets_are_taken(tmp_path: Path) -> None:
    file = tmp_path / "recipe.yaml"
    columns = "columns: {prompt: token, label: password}"
    file.write_text(
        f"name: tiny\ndata: {{sources: [{{path: a.csv, {columns}}}], system: 'Ask: user@host'}}\n"
        "model: {base: https-model, revision: 0123456789abcdef0123456789abcdef01234567}\n",
        encoding="utf-8",
    )
    assert load_recipe(file).data.sources[0].columns.prompt == "token"


def test_an_error_masks_what_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", TRACKER)
    text = f"a {ENVIRONMENT} b https://joe:{PASSWORD}@example.org c {TRACKER} d"
    error = FtoolError(text, hint=text)
    assert error.message == error.hint == str(error)
    assert str(error) == "a [secret] b https://[secret]@example.org c [secret] d"
    assert masked("a plain sentence: x@example.org") == "a plain sentence: x@example.org"


def test_the_traceback_of_a_bug_masks_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(**_: object) -> None:
        raise ZeroDivisionError(f"\x1b[2J{ENVIRONMENT} at https://joe:{PASSWORD}@example.org")

    monkeypatch.setattr(program, "app", fail)
    assert program.run(["train"]) == program.BUG
    printed = capsys.readouterr().err
    assert "ZeroDivisionError: [secret] at https://[secret]@example.org" in printed
    assert found_in(printed.encode()) == []


def test_the_address_of_a_hub_is_told_without_its_password() -> None:
    with pytest.raises(HubError, match="was not reached") as refused, hub_errors("me/bot"):
        raise OSError(f"no route to https://joe:{PASSWORD}@hub.example.org/api?token={PASSWORD}")
    assert found_in(str(refused.value).encode()) == []


@pytest.mark.parametrize(
    "secret",
    [ENVIRONMENT, REMOTE, f"https://joe:{PASSWORD}@example.org", "a token of its own kind"],
)
def test_a_text_with_a_secret_is_not_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, secret: str
) -> None:
    monkeypatch.setenv("HF_TOKEN", "a token of its own kind")
    base = tmp_path / "base"
    run = write_run(tmp_path / "runs/tiny", base=base, name="org/base", revision="c" * 40)
    (run.model_path / "chat_template.jinja").write_text("{# " + secret + " #}", encoding="utf-8")
    seal_again(run)
    with (
        pytest.raises(RunError, match="holds what looks like a secret") as refused,
        staged(run, repo="me/bot", full=False, on_note=ignore_note),
    ):
        raise AssertionError("staged")
    assert secret not in str(refused.value)
