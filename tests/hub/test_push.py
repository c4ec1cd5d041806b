import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import yaml
from huggingface_hub import CommitOperationAdd, HfApi, constants
from loopback_hub import LoopbackHub
from loopback_rules import card_errors
from peft import PeftModel
from safetensors.torch import load as load_tensors
from tiny_run import write_model_file, write_report, write_run
from transformers import AutoModelForCausalLM

from ftool.__main__ import run as run_command
from ftool.artifacts import TrainingRun, ftool_version
from ftool.errors import FtoolError, HubError, RecipeError, RunError
from ftool.hub.push import push

TESTS = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def loopback(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoopbackHub]:
    with LoopbackHub(tmp_path_factory.mktemp("hub")) as hub:
        yield hub


@pytest.fixture
def hub(loopback: LoopbackHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LoopbackHub:
    """An empty Hub that the client in this process talks to."""
    loopback.repos.clear()
    loopback.requests.clear()
    loopback.role = "write"
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_TOKEN", loopback.token)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(constants, "ENDPOINT", loopback.url)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "home" / "hub"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "home" / "token"))
    return loopback


@pytest.fixture
def run(tmp_path: Path) -> TrainingRun:
    """An adapter on a base that only this machine has."""
    made = write_run(tmp_path / "runs" / "tiny", base=tmp_path / "models" / "base")
    write_report(made)
    return made


class Notes(list[str]):
    def __call__(self, sentence: str) -> None:
        self.append(sentence)


def commits(hub: LoopbackHub, repo: str) -> list[str]:
    return [commit.message for commit in hub.repos["model", repo].commits[1:]]


def test_what_is_pushed_loads_back_by_its_id(hub: LoopbackHub, tmp_path: Path) -> None:
    paths = [str(TESTS), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    environment = hub.environment() | {"PYTHONPATH": os.pathsep.join(paths)}
    command = [sys.executable, str(TESTS / "hub" / "push_and_load.py"), str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["same_keys"]
    assert result["bit_equal"]
    assert result["same_tokens"]
    assert result["adapter_equal"]
    assert result["base_differs"]
    assert result["revision"] == hub.repos["model", "tester/base"].commits[-1].id
    assert "model.safetensors" not in result["adapter_files"]
    config = json.loads(hub.content("tester/adapter", "adapter_config.json"))
    assert config["base_model_name_or_path"] == "tester/base"
    assert config["revision"] == result["revision"]
    card = hub.content("tester/adapter", "README.md").decode()
    metadata = yaml.safe_load(card.split("---\n")[1])
    found = [metadata[key] for key in ("base_model", "base_model_relation", "library_name")]
    assert found == ["tester/base", "adapter", "peft"]
    assert f"commit `{result['revision']}`" in card
    assert any("xet-write-token" in request for request in hub.requests)


def test_a_local_base_is_merged_as_peft_merges(hub: LoopbackHub, run: TrainingRun) -> None:
    notes = Notes()
    upload = push(run, repo="tester/bot", on_note=notes)
    assert "publishing merged weights, for the base base is not on the Hub" in notes
    base = AutoModelForCausalLM.from_pretrained(run.base_model.name)
    untouched = {name: value.clone() for name, value in base.state_dict().items()}
    expected = PeftModel.from_pretrained(base, run.model_path).merge_and_unload().state_dict()
    remote = load_tensors(hub.content("tester/bot", "model.safetensors"))
    changed = 0
    for name, value in remote.items():
        torch.testing.assert_close(value, expected[name], atol=1e-6, rtol=0)
        changed += not torch.equal(value, untouched[name])
    assert changed == 14
    assert set(hub.repos["model", "tester/bot"].files) == {
        ".gitattributes",
        *(name for name, _ in upload.files),
    }


def test_the_repository_is_as_staged_in_one_commit(hub: LoopbackHub, run: TrainingRun) -> None:
    write_model_file(run, "training_args.bin", b"pickle")
    upload = push(run, repo="tester/bot", merged=True)
    files = {path: file.size for path, file in hub.repos["model", "tester/bot"].files.items()}
    assert files.pop(".gitattributes")
    assert files == dict(upload.files)
    assert set(files) == {
        "README.md",
        "chat_template.jinja",
        "config.json",
        "generation_config.json",
        "metrics/test.json",
        "model.safetensors",
        "recipe.yaml",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    (message,) = commits(hub, "tester/bot")
    measured = "f1_macro 0.711, accuracy 0.667 on test"
    assert message == f"tiny by ftool {ftool_version()}: {measured}"
    assert upload.url == f"{hub.url}/tester/bot"
    assert upload.private and hub.repos["model", "tester/bot"].private
    assert hub.content("tester/bot", "README.md").decode() == upload.card
    assert not list(run.path.glob(".push-*"))


def test_no_local_path_is_published(hub: LoopbackHub, run: TrainingRun, tmp_path: Path) -> None:
    upload = push(run, repo="tester/bot")
    for name, _ in upload.files:
        content = hub.content("tester/bot", name)
        for local in (tmp_path, Path.home(), Path.cwd()):
            assert f"{local}/".encode() not in content, name
        assert b"secret text" not in content
    recipe = hub.content("tester/bot", "recipe.yaml").decode()
    assert "path: tickets.csv" in recipe
    assert "base: base" in recipe
    assert json.loads(hub.content("tester/bot", "metrics/test.json"))["base"]["name"] == "base"


def test_the_hub_accepts_the_card(hub: LoopbackHub, run: TrainingRun) -> None:
    upload = push(run, repo="tester/bot")
    assert "POST /api/validate-yaml" in hub.requests
    assert card_errors(upload.card) == []


def test_a_second_push_makes_no_commit(hub: LoopbackHub, run: TrainingRun) -> None:
    notes = Notes()
    first = push(run, repo="tester/bot")
    second = push(run, repo="tester/bot", on_note=notes)
    assert first == second
    assert len(commits(hub, "tester/bot")) == 1
    assert any("no new commit" in note for note in notes)


def test_a_changed_run_removes_what_is_stale(hub: LoopbackHub, run: TrainingRun) -> None:
    api, notes = HfApi(), Notes()
    api.create_repo("tester/bot", private=True)
    names = ("adapter_model.safetensors", "metrics/train.json", "notes.txt", "onnx/m.safetensors")
    operations = [CommitOperationAdd(name, b"old") for name in names]
    api.create_commit("tester/bot", operations, commit_message="old")
    push(run, repo="tester/bot", on_note=notes)
    remote = hub.repos["model", "tester/bot"].files
    assert {"notes.txt", "onnx/m.safetensors", "metrics/test.json"} <= set(remote)
    assert not {"adapter_model.safetensors", "metrics/train.json"} & set(remote)
    assert len(commits(hub, "tester/bot")) == 2
    assert "removed from an earlier push: adapter_model.safetensors, metrics/train.json" in notes


def test_a_bare_name_is_the_users_and_public_is_asked_for(
    hub: LoopbackHub, run: TrainingRun
) -> None:
    upload = push(run, repo="bot", private=False)
    assert upload.repo == "tester/bot"
    assert not upload.private
    assert not hub.repos["model", "tester/bot"].private
    assert '"tester/bot"' in upload.card


def test_a_public_repository_is_never_used_for_a_private_push(
    hub: LoopbackHub, run: TrainingRun
) -> None:
    HfApi().create_repo("tester/bot", private=False)
    with pytest.raises(HubError, match="exists and is public") as refused:
        push(run, repo="tester/bot")
    assert "--public" in refused.value.hint
    assert "settings" in refused.value.hint
    assert commits(hub, "tester/bot") == []


def test_a_private_repository_stays_private(hub: LoopbackHub, run: TrainingRun) -> None:
    notes = Notes()
    HfApi().create_repo("tester/bot", private=True)
    assert push(run, repo="tester/bot", private=False, on_note=notes).private
    assert any("stays private" in note for note in notes)


def test_a_dry_run_asks_nobody_and_shows_the_same(hub: LoopbackHub, run: TrainingRun) -> None:
    planned = push(run, repo="tester/bot", dry_run=True)
    assert hub.requests == []
    assert planned.dry_run and planned.url is None
    done = push(run, repo="tester/bot")
    assert (planned.files, planned.card) == (done.files, done.card)


def test_a_failed_commit_is_tried_again(hub: LoopbackHub, run: TrainingRun) -> None:
    hub.fail_next("/commit/", 503)
    push(run, repo="tester/bot")
    assert hub.requests.count("POST /api/models/tester/bot/commit/main") == 2
    assert len(commits(hub, "tester/bot")) == 1


@pytest.mark.parametrize(
    ("route", "status", "said", "advice"),
    [
        ("whoami", 429, "too many requests", "run the same command again"),
        ("whoami", 500, "trouble of its own \\(500: The test", "run the same command again"),
        ("repos/create", 403, "does not let this token write", "role write"),
        ("preupload", 404, "has no such repository", "check --repo"),
        ("/commit/", 409, "busy with another change", "run the same command again"),
        ("/commit/", 412, "newer commit", "run the same command again"),
    ],
)
def test_each_refusal_says_what_to_do(
    hub: LoopbackHub, run: TrainingRun, route: str, status: int, said: str, advice: str
) -> None:
    hub.fail_next(route, status)
    with pytest.raises(HubError, match=f"^tester/bot: the Hub .*{said}") as refused:
        push(run, repo="tester/bot")
    assert advice in refused.value.hint
    assert "\n" not in refused.value.message
    assert ("model", "tester/bot") not in hub.repos or commits(hub, "tester/bot") == []
    assert not list(run.path.glob(".push-*"))


def test_an_unknown_license_is_refused_before_anything_is_asked(
    hub: LoopbackHub, run: TrainingRun, tmp_path: Path
) -> None:
    with pytest.raises(RecipeError, match=r"'apache2'.* are `apache-2\.0`"):
        push(run, repo="tester/bot", license="apache2")
    theirs = write_run(tmp_path / "other", base=tmp_path / "base", hub="{license: my-own}")
    with pytest.raises(RecipeError, match="'my-own'"):
        push(theirs, repo="tester/bot")
    assert hub.requests == [] and not hub.repos


def test_the_hubs_own_refusal_of_a_license_names_the_key(
    hub: LoopbackHub, run: TrainingRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ftool.hub.push.known_to_the_hub", str)  # a table that is out of date
    with pytest.raises(HubError, match="must be one of") as refused:
        push(run, repo="tester/bot", license="my-own")
    assert "hub.license" in refused.value.hint
    assert commits(hub, "tester/bot") == []


def test_a_license_that_is_named_wins(hub: LoopbackHub, tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", base=tmp_path / "base", hub="{license: mit}")
    upload = push(run, repo="tester/bot", license="gemma", dry_run=True)
    assert "license: gemma" in upload.card


def test_useless_tokens(
    hub: LoopbackHub, run: TrainingRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.role = "read"
    with pytest.raises(HubError, match="token of tester may only read"):
        push(run, repo="tester/bot")
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    with pytest.raises(HubError, match="does not accept the token \\(401"):
        push(run, repo="tester/bot")
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(HubError, match="no Hugging Face token") as refused:
        push(run, repo="tester/bot")
    assert refused.value.hint == "run: hf auth login"
    assert set(hub.requests) == {"GET /api/whoami-v2"}
    assert not hub.repos


def test_an_unreachable_hub(
    hub: LoopbackHub, run: TrainingRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        closed = f"http://127.0.0.1:{free.getsockname()[1]}"
    monkeypatch.setattr(constants, "ENDPOINT", closed)
    with pytest.raises(HubError, match=r"was not reached .*refused"):
        push(run, repo="tester/bot")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(HubError, match="HF_HUB_OFFLINE is set"):
        push(run, repo="tester/bot")
    assert hub.requests == []


@pytest.mark.parametrize(
    "repo", ["a/b/c", "", "tester/", "-bot", "a..b", "x" * 97, "tester/my bot"]
)
def test_a_bad_repository_id_is_refused_before_any_work(
    hub: LoopbackHub, run: TrainingRun, repo: str
) -> None:
    with pytest.raises(RecipeError, match="is not a repository id"):
        push(run, repo=repo)
    assert hub.requests == []


def test_an_adapter_that_nobody_could_load_is_refused(hub: LoopbackHub, run: TrainingRun) -> None:
    with pytest.raises(RunError, match="its base base is not on the Hub") as refused:
        push(run, repo="tester/bot", merged=False)
    assert "--merged" in refused.value.hint
    assert hub.requests == []


def test_full_weights_have_no_adapter(hub: LoopbackHub, tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", base=tmp_path / "base", method="full")
    with pytest.raises(RunError, match="trained all weights"):
        push(run, repo="tester/bot", merged=False)
    assert hub.requests == []


def test_what_did_not_arrive_is_noticed(
    hub: LoopbackHub, run: TrainingRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = HfApi.list_repo_tree

    def without_weights(*args: object, **kwargs: object) -> object:
        for entry in listed(*args, **kwargs):
            if entry.path == "model.safetensors":
                entry.lfs.sha256 = "0" * 64
            if entry.path != "config.json":
                yield entry

    monkeypatch.setattr(HfApi, "list_repo_tree", without_weights)
    with pytest.raises(HubError, match=r"was sent: config\.json, model\.safetensors"):
        push(run, repo="tester/bot")


def test_the_exit_codes(
    hub: LoopbackHub,
    run: TrainingRun,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    command = ["push-to-hub", str(run.path), "--repo"]
    assert run_command([*command, "a/b/c"]) == RecipeError.exit_code
    assert run_command([*command, "tester/bot", "--adapter"]) == RunError.exit_code
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    assert run_command([*command, "tester/bot"]) == HubError.exit_code
    shown = capsys.readouterr().err
    assert "does not accept the token" in " ".join(shown.split())
    assert "Traceback" not in shown
    assert issubclass(HubError, FtoolError)
