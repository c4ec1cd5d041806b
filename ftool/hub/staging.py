"""The files of a repository, put together beside the run before anything is uploaded."""

import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from huggingface_hub import constants, get_token

from ftool.artifacts import BaseModel, OnNote, TrainingRun, read_json, write_json, write_text
from ftool.credentials import is_secret
from ftool.errors import RunError
from ftool.eval.report import METRICS_FILE, Report
from ftool.example import SPLITS
from ftool.hub.card import model_card
from ftool.hub.origin import file_name, hub_id, known_license, public_name
from ftool.recipe.file import dump_recipe
from ftool.recipe.schema import Recipe

MODEL_FILES = (
    "*.safetensors",
    "*.safetensors.index.json",
    "config.json",
    "adapter_config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "*.model",
    "*.jinja",
)
"""What of a model folder is published; everything else stays, such as pickles and checkpoints."""
METRICS = "metrics"
_LOCAL_KEYS = ("_name_or_path", "name_or_path", "is_local", "local_files_only")


@dataclass(frozen=True, slots=True)
class Stage:
    """A folder that holds exactly what the repository shall hold."""

    folder: Path
    card: str
    reports: dict[str, dict[str, Any]]

    @property
    def files(self) -> tuple[tuple[str, int], ...]:
        """The name and the size in bytes of every file."""
        return tuple(
            (path.relative_to(self.folder).as_posix(), path.stat().st_size)
            for path in sorted(self.folder.rglob("*"))
            if path.is_file()
        )


@contextmanager
def staged(
    run: TrainingRun, *, repo: str, full: bool, on_note: OnNote, license: str | None = None
) -> Iterator[Stage]:
    """Put the files of a repository together, inside the run: weights are linked, not copied.

    Args:
        run: a finished run.
        repo: the repository that the card speaks of.
        full: whether full weights are published, an adapter merged into them.
        on_note: told what is left out.
        license: of the tuned model; the run or its base says when None.

    Raises:
        RunError: a report was changed by hand, a file holds a local path or a secret, or is a
            link that leads elsewhere.
    """
    with TemporaryDirectory(dir=run.path, prefix=".push-") as name:
        folder = Path(name) / "repository"
        folder.mkdir()
        _stage_model(run, folder, full=full, on_note=on_note)
        reports = _stage_reports(run, folder)
        write_text(folder / "recipe.yaml", dump_recipe(public_recipe(run.recipe(), run.base_model)))
        licence = known_license(run, license)
        if licence is None:
            on_note("the card names no licence, for none is known; set hub.license to name one")
        card = model_card(run, repo=repo, merged=full, license=licence, reports=reports)
        write_text(folder / "README.md", card)
        refuse_private_text(folder, run)
        yield Stage(folder, card, reports)


def _stage_model(run: TrainingRun, folder: Path, *, full: bool, on_note: OnNote) -> None:
    run.refuse_damage()
    source = run.model_path
    if full and (source / "adapter_config.json").is_file():
        from ftool.model.weights.adapter import save_merged

        source = folder.with_name("merged")
        save_merged(run, source)
    skipped = []
    for path in sorted(path for path in source.rglob("*") if path.is_file()):
        name = path.relative_to(source).as_posix()
        if not path.resolve().is_relative_to(source.resolve()):
            raise RunError(
                f"{path} is a link that leads out of {source}, so it is not published",
                hint="put the file itself there, or remove the link",
            )
        if is_model_file(name):
            _link(path, folder / name)
        else:
            skipped.append(name)
    if skipped:
        on_note(f"not published: {', '.join(skipped)}")
    for path in folder.glob("*config.json"):
        _forget_local(path, run)


def is_model_file(name: str) -> bool:
    """Tell whether a file of a model folder is published."""
    folder, _, last = name.rpartition("/")
    return folder in {"", "additional_chat_templates"} and any(
        fnmatchcase(last, pattern) for pattern in MODEL_FILES
    )


def _link(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _forget_local(path: Path, run: TrainingRun) -> None:
    """Remove where files lay on this machine; an adapter names its base by Hub id and commit."""
    stored = json.loads(path.read_text(encoding="utf-8"))
    settings = {key: value for key, value in stored.items() if key not in _LOCAL_KEYS}
    if path.name == "adapter_config.json":
        base = run.base_model
        settings |= {"base_model_name_or_path": hub_id(base), "revision": base.revision}
    if settings != stored:
        write_json(path, settings)


def _stage_reports(run: TrainingRun, folder: Path) -> dict[str, dict[str, Any]]:
    """Copy the metrics of every evaluated split; what quotes the data stays here."""
    reports = {}
    for split in SPLITS:
        source = run.path / "eval" / split
        if (source / METRICS_FILE).is_file():
            report = replace(Report.read(source), slices={})  # named by values of the data
            if report.base:
                named = replace(report.base, name=public_name(run.base_model))
                report = replace(report, base=named)
            reports[split] = report.as_dict()
            (folder / METRICS).mkdir(exist_ok=True)
            write_json(folder / METRICS / f"{split}.json", reports[split])
    return reports


def public_recipe(recipe: Recipe, base: BaseModel) -> Recipe:
    """Return a run's recipe with local paths reduced to file names."""
    sources = [
        source
        if source.path.startswith("hf://")
        else source.model_copy(update={"path": file_name(source.path)})
        for source in recipe.data.sources
    ]
    model: dict[str, Any] = {"base": public_name(base)}
    if recipe.model.chat_template:
        model["chat_template"] = Path(file_name(str(recipe.model.chat_template)))
    return recipe.model_copy(
        update={
            "model": recipe.model.model_copy(update=model),
            "data": recipe.data.model_copy(update={"sources": sources}),
        }
    )


def refuse_private_text(folder: Path, run: TrainingRun) -> None:
    """Read every text that would be published, and refuse local paths and secrets.

    Raises:
        RunError: with every file that holds one.
    """
    local, token = _local_paths(run), get_token()
    problems = []
    for path in sorted(folder.rglob("*")):
        if not path.is_file() or path.suffix in {".safetensors", ".model"}:
            continue
        text = path.read_text(encoding="utf-8", errors="replace")
        if found := local.search(text):
            problems.append(f"{path.name} holds the local path {found[0]}")
        if is_secret(text) or (token and token in text):
            problems.append(f"{path.name} holds what looks like a secret")
    if problems:
        listed = "".join(f"\n  {problem}" for problem in problems)
        raise RunError(
            f"{run.path} must not be published as it is:{listed}",
            hint=f"remove it from {run.model_path} or from the recipe, and push again",
        )


def _local_paths(run: TrainingRun) -> re.Pattern[str]:
    """Match the folders of this run, of its base model, of the user and of the Hub's cache.

    A folder right below the root, such as /root, may stand in a vocabulary: it counts only with
    something below it.
    """
    folders = {run.path.resolve(), Path.cwd(), Path.home(), Path(constants.HF_HUB_CACHE)}
    config = run.model_path / "adapter_config.json"
    base = read_json(config)["base_model_name_or_path"] if config.is_file() else None
    folders |= {Path(name) for name in (base, run.base_model.name) if name}
    patterns = []
    for folder in folders:
        if folder.is_absolute() and len(folder.parts) > 1:
            written = re.escape(json.dumps(str(folder), ensure_ascii=False)[1:-1])
            below = r"[/\\]+\w" if len(folder.parts) == 2 else r"(?![\w.-])"
            patterns.append(written + below)
    return re.compile("|".join(patterns))
