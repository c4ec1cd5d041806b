"""Publish a run on the Hub: one commit, private by default, checked after it has arrived."""

import glob
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from huggingface_hub import HfApi, constants
from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError
from huggingface_hub.hf_api import ModelInfo, RepoFile
from huggingface_hub.utils import validate_repo_id

from ftool.artifacts import OnNote, TrainingRun, file_sha256, ftool_version, ignore_note
from ftool.errors import HubError, RecipeError, RunError
from ftool.hub.origin import hub_id, public_name
from ftool.hub.refusal import AGAIN, hub_errors
from ftool.hub.staging import METRICS, Stage, is_model_file, staged
from ftool.recipe.licenses import known_to_the_hub


@dataclass(frozen=True, slots=True)
class Upload:
    """What was published, or in a dry run what would be: `url` is None then.

    `files` are names with their size in bytes; `private` is what the repository really is.
    """

    repo: str
    url: str | None
    files: tuple[tuple[str, int], ...]
    card: str
    private: bool
    dry_run: bool


def push(
    run: TrainingRun,
    *,
    repo: str,
    private: bool = True,
    merged: bool | Literal["auto"] | None = None,
    license: str | None = None,
    dry_run: bool = False,
    on_note: OnNote = ignore_note,
) -> Upload:
    """Publish a finished run with a card made of its manifests.

    Args:
        run: a finished run.
        repo: `owner/name`, or `name` for a repository of the token's owner.
        private: whether only its owner sees a new repository.
        merged: publish full weights instead of the adapter; the run's recipe decides when None.
        license: of the tuned model; the run's recipe or its base says when None.
        dry_run: put everything together, upload nothing and use no network.
        on_note: told what was chosen, left out or found unchanged.

    Raises:
        RecipeError: the repository id is not valid, or the Hub knows no such licence.
        RunError: the adapter cannot be loaded by others, or a file must not be published.
        HubError: the Hub or the network refused, or the repository is public against the wish.
    """
    _check_repo_id(repo)
    _check_license(license)
    full = _is_full(run, merged, on_note)
    if dry_run:
        with (
            _offline(),
            staged(run, repo=repo, full=full, license=license, on_note=on_note) as stage,
        ):
            return Upload(repo, None, stage.files, stage.card, private, dry_run=True)
    api = HfApi(library_name="ftool", library_version=ftool_version())
    with hub_errors(repo):
        repo = _full_name(api, repo)
        existing = _existing(api, repo)
        if existing:
            _check_visibility(existing, private=private, on_note=on_note)
    with (
        staged(run, repo=repo, full=full, license=license, on_note=on_note) as stage,
        hub_errors(repo),
    ):
        url = api.create_repo(repo, private=private, exist_ok=True)
        before = api.model_info(repo)
        if not existing:
            _check_visibility(before, private=private, on_note=on_note)
        message = _commit_message(run, stage)
        _upload(api, stage, before, message=message, on_note=on_note)
        return Upload(repo, str(url), stage.files, stage.card, bool(before.private), dry_run=False)


def _check_repo_id(repo: str) -> None:
    try:
        validate_repo_id(repo)
    except HFValidationError as error:
        raise RecipeError(
            f"hub.repo: {repo!r} is not a repository id, which is `name` or `owner/name` of at most"
            " 96 letters, digits, `-`, `_` and `.`",
            hint="give another one with --repo OWNER/NAME",
        ) from error


def _check_license(license: str | None) -> None:
    try:
        if license is not None:
            known_to_the_hub(license)
    except ValueError as error:
        raise RecipeError(f"hub.license: {license!r}: {error}") from error


def _is_full(run: TrainingRun, merged: bool | Literal["auto"] | None, on_note: OnNote) -> bool:
    """Decide between full weights and the adapter, which needs its base on the Hub."""
    has_adapter = (run.model_path / "adapter_config.json").is_file()
    wish = run.recipe().hub.merged if merged is None else merged
    on_hub = hub_id(run.base_model)
    base = public_name(run.base_model)
    if wish is False and not has_adapter:
        raise RunError(
            f"{run.path} has no adapter to publish: it trained all weights",
            hint="leave out --adapter and hub.merged",
        )
    if wish is False and on_hub is None:
        raise RunError(
            f"nobody else could load the adapter of {run.path}: its base {base} is not on the Hub",
            hint="publish merged weights: add --merged, or set hub.merged to auto",
        )
    if not has_adapter:
        return True
    if wish == "auto" and on_hub is None:
        on_note(f"publishing merged weights, for the base {base} is not on the Hub")
    return on_hub is None if wish == "auto" else bool(wish)


@contextmanager
def _offline() -> Iterator[None]:
    """Keep the libraries that load the base model from asking the Hub for news."""
    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


def _full_name(api: HfApi, repo: str) -> str:
    """Ask who pushes: a useless token is found before work is done."""
    user = api.whoami()
    token = user.get("auth", {}).get("accessToken", {})
    if token.get("role") == "read":
        raise HubError(
            f"{repo}: the token of {user['name']} may only read",
            hint="make one with the role write and run: hf auth login --force",
        )
    return repo if "/" in repo else f"{user['name']}/{repo}"


def _existing(api: HfApi, repo: str) -> ModelInfo | None:
    try:
        return api.model_info(repo)
    except RepositoryNotFoundError:
        return None


def _check_visibility(info: ModelInfo, *, private: bool, on_note: OnNote) -> None:
    if private and not info.private:
        raise HubError(
            f"{info.id} exists and is public, but a private repository was asked for",
            hint="add --public to publish for everybody, or make it private in its settings",
        )
    if info.private and not private:
        on_note(f"{info.id} exists and stays private; its settings on the Hub make it public")


def _commit_message(run: TrainingRun, stage: Stage) -> str:
    message = f"{run.path.name} by ftool {ftool_version()}"
    if not stage.reports:
        return message
    # The splits are in the order train, validation, test.
    split, report = list(stage.reports.items())[-1]
    found = [
        f"{name} {report['metrics'][name]['value']:.3f}"
        for name in ("f1_macro", "accuracy", "loss")
        if name in report["metrics"]
    ]
    return f"{message}: {', '.join(found)} on {split}"


def _upload(api: HfApi, stage: Stage, before: ModelInfo, *, message: str, on_note: OnNote) -> None:
    """Bring the repository to what is staged, in one commit, and compare what has arrived."""
    staged_names = {name for name, _ in stage.files}
    stale = [name for name in _ours(before) if name not in staged_names]
    commit = api.upload_folder(
        repo_id=before.id,
        folder_path=stage.folder,
        commit_message=message,
        delete_patterns=[glob.escape(name) for name in stale] or None,
    )
    if commit.oid == before.sha:
        on_note(f"{before.id} holds exactly this already (commit {commit.oid[:12]}): no new commit")
    elif stale:
        on_note(f"removed from an earlier push: {', '.join(stale)}")
    _check_arrival(api, stage, before.id, commit.oid)


def _ours(info: ModelInfo) -> list[str]:
    """Return the files of a repository that a push writes: other files are left alone."""
    names = [sibling.rfilename for sibling in info.siblings or ()]
    older = ("pytorch_model", "adapter_model.bin")
    return [
        name
        for name in names
        if is_model_file(name) or name.startswith((f"{METRICS}/", *older)) or name == "recipe.yaml"
    ]


def _check_arrival(api: HfApi, stage: Stage, repo: str, revision: str) -> None:
    entries = api.list_repo_tree(repo, recursive=True, revision=revision)
    remote = {entry.path: entry for entry in entries if isinstance(entry, RepoFile)}
    wrong = [name for name, _ in stage.files if not _is_same(stage.folder / name, remote.get(name))]
    if wrong:
        raise HubError(
            f"{repo}: the Hub holds something else than was sent: {', '.join(wrong)}", hint=AGAIN
        )


def _is_same(path: Path, entry: RepoFile | None) -> bool:
    """Compare sizes, and contents where the Hub tells their sha256 (large files)."""
    if entry is None or entry.size != path.stat().st_size:
        return False
    return not entry.lfs or bool(entry.lfs.sha256 == file_sha256(path))
