"""The loopback Hub, seen by the real client in processes of its own.

`huggingface_hub` reads its endpoint when it is imported, hence a process for every session.
"""

from __future__ import annotations

import base64
import hashlib
import json
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from loopback_hub import LoopbackHub
from loopback_rules import card_errors
from safetensors.numpy import save_file

REPO = "tester/model"
CARD = "---\nlicense: apache-2.0\nbase_model: org/base\ndatasets: [squad, org/data]\n---\n# Model\n"
RESULT = "{task: {type: text}, dataset: {type: my data, name: data}, metrics: []}"
PUSH = """
import sys
from huggingface_hub import HfApi
api = HfApi()
api.create_repo(sys.argv[1], private=True, exist_ok=True)
print(api.upload_folder(repo_id=sys.argv[1], folder_path=sys.argv[2]).oid)
"""
PULL = """
import sys
from huggingface_hub import snapshot_download
snapshot_download(sys.argv[1], local_dir=sys.argv[2])
"""
PROBE = """
import sys
from huggingface_hub import HfApi
api = HfApi()
for call in sys.argv[1:]:
    try:
        print("ok", eval(call))
    except Exception as error:
        print(type(error).__name__, " ".join(str(error).split()))
"""


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[LoopbackHub]:
    """A running Hub without repositories."""
    with LoopbackHub(tmp_path / "hub") as running:
        yield running


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A folder with the weights of a small model, its configuration and its card."""
    folder = tmp_path / "model"
    (folder / "adapter").mkdir(parents=True)
    random = np.random.default_rng(0)
    for name in ("model.safetensors", "adapter/model.safetensors"):
        tensors = {"weight": random.standard_normal((200, 1000), np.float32)}
        save_file(tensors, folder / name)
    (folder / "empty.bin").touch()
    (folder / "config.json").write_text('{"model_type": "llama"}\n', encoding="utf-8")
    (folder / "README.md").write_text(CARD, encoding="utf-8")
    return folder


def run(hub: LoopbackHub, code: str, *args: str | Path, **environment: str) -> str:
    """Run `code` against the Hub in a new process and return what it prints."""
    command = [sys.executable, "-c", code, *map(str, args)]
    done = subprocess.run(
        command, env=hub.environment() | environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def contents(folder: Path) -> dict[str, bytes]:
    """Return the bytes of every file below a folder, without the client's own cache."""
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*")}
    return {
        name: path.read_bytes()
        for name, path in files.items()
        if path.is_file() and not name.startswith((".cache/", ".gitattributes"))
    }


def send(
    hub: LoopbackHub, method: str, path: str, body: bytes | None = None, wanted: str = ""
) -> tuple[int, str]:
    """Send a request of any kind, and return the status and the body of the answer."""
    headers = {"Authorization": f"Bearer {hub.token}", "Range": wanted}
    request = urllib.request.Request(hub.url + path, body, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_folder_comes_back_bit_equal_through_xet(
    hub: LoopbackHub, model: Path, tmp_path: Path
) -> None:
    commit = run(hub, PUSH, REPO, model)
    repository = hub.repos["model", REPO]
    assert repository.private
    assert [it.message for it in repository.commits[:1]] == ["initial commit"]
    assert [it.id for it in repository.commits[1:]] == [commit]
    assert f"GET /api/models/{REPO}/xet-write-token/main" in hub.requests
    assert not any("lfs" in request for request in hub.requests)

    run(hub, PULL, REPO, tmp_path / "copy")
    assert f"GET /api/models/{REPO}/xet-read-token/{commit}" in hub.requests
    assert contents(tmp_path / "copy") == contents(model)
    assert {path: hub.content(REPO, path) for path in contents(model)} == contents(model)

    url = f"{hub.url}/{REPO}/resolve/main/model.safetensors"
    listed, header = run(
        hub,
        PROBE,
        f"api.get_paths_info('{REPO}', 'model.safetensors')[0].xet_hash",
        f"api.get_hf_file_metadata(url='{url}').xet_file_data.file_hash",
    ).splitlines()
    assert listed == header
    assert len(header) == len("ok ") + 64


@pytest.mark.parametrize(("push", "pull"), [("1", "0"), ("0", "1")])
def test_clients_with_and_without_xet_read_each_others_files(
    hub: LoopbackHub, model: Path, tmp_path: Path, push: str, pull: str
) -> None:
    run(hub, PUSH, REPO, model, HF_HUB_DISABLE_XET=push)
    run(hub, PULL, REPO, tmp_path / "copy", HF_HUB_DISABLE_XET=pull)
    assert any("lfs" in request for request in hub.requests) == (push == "1")
    assert contents(tmp_path / "copy") == contents(model)


def test_second_push_makes_no_commit(hub: LoopbackHub, model: Path) -> None:
    first = run(hub, PUSH, REPO, model)
    assert run(hub, PUSH, REPO, model) == first
    assert len(hub.repos["model", REPO].commits) == 2

    (model / "config.json").write_text("{}", encoding="utf-8")
    assert run(hub, PUSH, REPO, model) != first
    assert hub.content(REPO, "config.json") == b"{}"


def test_client_meets_its_own_exceptions(hub: LoopbackHub) -> None:
    calls = {
        "api.whoami()['auth']['accessToken']['role']": "ok write",
        "api.model_info('tester/none')": "RepositoryNotFoundError 404",
        f"str(api.create_repo('{REPO}', private=True))": f"ok {hub.url}/{REPO}",
        f"api.create_repo('{REPO}')": "HfHubHTTPError Client error '409 Conflict'",
        f"api.model_info('{REPO}').private": "ok True",
        f"api.model_info('{REPO}', token=False)": "RepositoryNotFoundError 401",
        f"api.model_info('{REPO}', revision='v1')": "RevisionNotFoundError 404",
        f"api.hf_hub_download('{REPO}', 'none.txt')": "RemoteEntryNotFoundError 404",
        f"list(api.list_repo_tree('{REPO}', 'none'))": "RemoteEntryNotFoundError 404",
        f"api.file_exists('{REPO}', '.gitattributes')": "ok True",
    }
    answers = run(hub, PROBE, *calls).splitlines()
    assert len(answers) == len(calls)
    for answer, expected in zip(answers, calls.values(), strict=True):
        assert answer.startswith(expected)


def test_wrong_or_weak_token_changes_nothing(hub: LoopbackHub) -> None:
    calls = ("api.whoami()", f"api.create_repo('{REPO}')")
    whoami, create = run(hub, PROBE, *calls, HF_TOKEN="hf_wrong").splitlines()
    assert whoami.startswith("HfHubHTTPError Invalid user token.")
    assert create.startswith("HfHubHTTPError Client error '401 Unauthorized'")

    hub.role = "read"
    assert run(hub, PROBE, calls[1]).startswith("HfHubHTTPError 403 Forbidden")
    assert not hub.repos


def test_client_refuses_card_with_local_base_model(hub: LoopbackHub, model: Path) -> None:
    card = CARD.replace("org/base", str(model))
    (model / "README.md").write_text(card, encoding="utf-8")
    calls = (
        f"str(api.create_repo('{REPO}'))",
        f"api.upload_folder(repo_id='{REPO}', folder_path='{model}')",
    )
    answer = run(hub, PROBE, *calls).splitlines()[-1]
    assert answer.startswith("ValueError Invalid metadata in README.md.")
    assert f'"base_model" with value "{model}" is not valid' in answer
    assert len(hub.repos["model", REPO].commits) == 1


@pytest.mark.parametrize(
    ("metadata", "error"),
    [
        ("base_model: ./runs/best", '"base_model" with value "./runs/best"'),
        ("base_model: [org/base, a/b/c]", '"base_model[1]" with value "a/b/c"'),
        ("datasets: [squad, data/train.jsonl/]", '"datasets[1]" with value "data/train.jsonl/"'),
        ("license: my-own", '"license" must be one of'),
        ("license: [mit, my-own]", '"license" must be one of'),
        ("tags: [a", "YAML metadata is invalid"),
        ("just text", "YAML metadata must be a mapping"),
        (f"model-index: [{{results: [{RESULT}]}}]", '"model-index[0].results[0].dataset.type"'),
    ],
)
def test_each_rule_for_cards_refuses(metadata: str, error: str) -> None:
    errors = card_errors(f"---\n{metadata}\n---\n# Model\n")
    assert len(errors) == 1
    assert errors[0].startswith(error)


@pytest.mark.parametrize("card", [CARD, "# No metadata", "---\n---\n", "---\nlicense: other\n---"])
def test_good_card_is_accepted(card: str) -> None:
    assert card_errors(card) == []


def test_contents_are_verified(hub: LoopbackHub) -> None:
    assert send(hub, "POST", "/api/repos/create", b'{"name": "model"}')[0] == 200
    promised = hashlib.sha256(b"promised").hexdigest()
    assert send(hub, "PUT", f"/lfs/{promised}", b"delivered")[0] == 400

    def commit(key: str, **value: object) -> tuple[int, str]:
        body = json.dumps({"key": key, "value": value}).encode()
        return send(hub, "POST", f"/api/models/{REPO}/commit/main", body)

    status, reason = commit("lfsFile", path="model.bin", oid=promised, size=8)
    assert (status, "does not exist" in reason) == (400, True)
    assert send(hub, "PUT", f"/lfs/{promised}", b"promised")[0] == 200
    assert commit("lfsFile", path="model.bin", oid=promised, size=9)[0] == 400
    assert commit("lfsFile", path="model.bin", oid=promised, size=8)[0] == 200
    assert hub.content(REPO, "model.bin") == b"promised"
    path = f"/{REPO}/resolve/main/model.bin"
    assert send(hub, "GET", path, wanted="bytes=2-4") == (206, "omi")
    assert send(hub, "GET", path, wanted="bytes=6-") == (206, "ed")

    binary = base64.b64encode(b"\0\1").decode()
    assert commit("file", path="data.txt", content=binary)[0] == 400
    card = base64.b64encode(b"---\nlicense: my-own\n---\n").decode()
    assert commit("file", path="README.md", content=card)[0] == 400
    assert commit("header", summary="late", parentCommit="0" * 40)[0] == 412
    assert len(hub.repos["model", REPO].commits) == 2


def test_failure_of_commit_is_repeated_by_client(hub: LoopbackHub, model: Path) -> None:
    hub.fail_next("/commit/", 503)
    run(hub, PUSH, REPO, model)
    assert hub.requests.count(f"POST /api/models/{REPO}/commit/main") == 2
    assert len(hub.repos["model", REPO].commits) == 2


def test_failures_end_after_the_given_times(hub: LoopbackHub) -> None:
    hub.fail_next("whoami", 500, times=2)
    assert run(hub, PROBE, *["api.whoami()['name']"] * 3).splitlines()[-1] == "ok tester"
    assert hub.requests.count("GET /api/whoami-v2") == 3


def test_environment_knows_no_other_hub(hub: LoopbackHub, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HF_HUB_CACHE", "HUGGING_FACE_HUB_TOKEN", "TRANSFORMERS_OFFLINE", "https_proxy"):
        monkeypatch.setenv(name, "elsewhere")
    environment = hub.environment()
    assert "elsewhere" not in environment.values()
    assert environment["HF_ENDPOINT"] == hub.url
    assert hub.url.startswith("http://127.0.0.1:")
