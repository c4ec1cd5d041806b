"""The programs that `ftool prepare` is compared with: their environments, and the same job."""

import json
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow
from processes import Run, measured

CORPUS = "corpus.jsonl"
THRESHOLD = 0.8

Command = Callable[[Path, Path, int], list[str]]
Kept = Callable[[Path], set[int]]


class Unfit(Exception):
    """A rival cannot be installed or cannot do the job; the text says why."""


@dataclass(frozen=True, slots=True)
class Rival:
    """What a rival needs, how it removes duplicates from the corpus of a folder, what it kept.

    `command` gets the folder, the Python of its environment and the number of processes.
    """

    requirements: tuple[str, ...]
    command: Command
    kept: Kept
    python: str = ""


def _written(folder: Path, name: str, text: str) -> str:
    (folder / name).write_text(text, encoding="utf-8")
    return name


def _ids_of_lines(files: Sequence[Path]) -> set[int]:
    if not files:
        raise Unfit("it wrote nothing")
    lines = (line for file in files for line in file.open(encoding="utf-8"))
    return {int(json.loads(line)["id"]) for line in lines}


def _convmerge(_: Path, python: Path, workers: int) -> list[str]:
    job = ["dedupe", "--input", CORPUS, "--output", "kept.jsonl", "--keys", "text", "--near"]
    bounds = ["--threshold", str(THRESHOLD), "--num-perm", "128", "--workers", str(workers)]
    return [str(python), "-m", "convmerge", *job, *bounds]


TEXT_DEDUP = """
[input]
input_type = "local_files"
file_type = "json"
[input.read_arguments]
path = "json"
data_files = "{corpus}"
split = "train"
[algorithm]
algorithm_name = "minhash"
text_column = "text"
seed = 42
batch_size = 10000
num_perm = 128
threshold = {threshold}
num_proc = {workers}
hash_bits = 64
ngram_size = 5
check_false_positive = true
[output]
output_dir = "kept"
clean_cache = false
save_clusters = false
[debug]
enable_profiling = false
"""


def _text_dedup(folder: Path, python: Path, workers: int) -> list[str]:
    filled = TEXT_DEDUP.format(corpus=CORPUS, threshold=THRESHOLD, workers=workers)
    _written(folder, "config.toml", filled)
    return [str(python), "-m", "text_dedup.minhash"]


def _kept_by_text_dedup(folder: Path) -> set[int]:
    kept: set[int] = set()
    for file in sorted((folder / "kept").glob("*.arrow")):
        with pyarrow.memory_map(str(file)) as data:
            table = pyarrow.ipc.open_stream(data).read_all()
            kept.update(int(value) for value in table["id"].to_pylist())
    if not kept:
        raise Unfit("it wrote nothing")
    return kept


DATA_JUICER = """
# Freeing models only empties the memory of a GPU, for which it installs torch during the job.
import data_juicer.ops.base_op as base
base.free_models = lambda *_, **__: None
from tools.process_data import main
if __name__ == "__main__":
    main()
"""


def _data_juicer(folder: Path, python: Path, workers: int) -> list[str]:
    settings = {
        "project_name": "benchmark",
        "dataset_path": CORPUS,
        "export_path": "kept.jsonl",
        "np": workers,
        "use_cache": False,
        "text_keys": "text",
        "process": [
            {
                "document_minhash_deduplicator": {
                    "tokenization": "space",
                    "window_size": 5,
                    "num_permutations": 128,
                    "jaccard_threshold": THRESHOLD,
                }
            }
        ],
    }
    recipe = _written(folder, "recipe.yaml", json.dumps(settings))
    return [str(python), _written(folder, "job.py", DATA_JUICER), "--config", recipe]


DATATROVE = """
import sys
from loguru import logger
from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.dedup import (
    MinhashDedupBuckets, MinhashDedupCluster, MinhashDedupFilter, MinhashDedupSignature)
from datatrove.pipeline.dedup.minhash import MinhashConfig
from datatrove.pipeline.readers import JsonlReader
from datatrove.pipeline.writers import JsonlWriter
from datatrove.utils.hashing import HashConfig

def run(stage, tasks, workers, steps):
    LocalPipelineExecutor(steps, tasks=tasks, workers=workers, logging_dir=f"log{stage}").run()

if __name__ == "__main__":
    logger.remove()
    workers = int(sys.argv[1])
    config = MinhashConfig(n_grams=5, num_buckets=14, hashes_per_bucket=8,
                           hash_config=HashConfig(precision=64))
    read, writer = JsonlReader("parts"), JsonlWriter("kept", compression=None)
    run(1, workers, workers, [read, MinhashDedupSignature("signatures", config=config)])
    run(2, 14, workers, [MinhashDedupBuckets("signatures", "buckets", config=config)])
    run(3, 1, 1, [MinhashDedupCluster("buckets", "remove", config=config)])
    run(4, workers, workers, [read, MinhashDedupFilter("remove"), writer])
"""


def _datatrove(folder: Path, python: Path, workers: int) -> list[str]:
    parts = folder / "parts"
    parts.mkdir()
    # It cannot divide a file, so each process gets one of its own.
    lines = (folder / CORPUS).read_text(encoding="utf-8").splitlines(keepends=True)
    size = -(-len(lines) // workers)
    for number in range(workers):
        part = "".join(lines[number * size : (number + 1) * size])
        _written(parts, f"{number}.jsonl", part)
    return [str(python), _written(folder, "job.py", DATATROVE), str(workers)]


READ_BROKEN = """
import json, sys
from loguru import logger
from datatrove.pipeline.readers import JsonlReader
logger.remove()
read, ended = 0, ""
try:
    for _ in JsonlReader(sys.argv[1]).run():
        read += 1
except Exception as error:
    ended = f"ended by {type(error).__name__}: {error}"
print(json.dumps({"read": read, "ended": ended}))
"""

RIVALS = {
    "convmerge": Rival(
        ("convmerge[quality]==1.6.5",),
        _convmerge,
        lambda folder: _ids_of_lines([folder / "kept.jsonl"]),
    ),
    "text-dedup": Rival(("text-dedup==0.4.1",), _text_dedup, _kept_by_text_dedup, python="3.12"),
    "data-juicer": Rival(
        ("py-data-juicer==1.6.1", "aiohttp", "ray", "scipy"),
        _data_juicer,
        lambda folder: _ids_of_lines([folder / "kept.jsonl"]),
    ),
    "datatrove": Rival(
        (
            *("datatrove==0.10.1", "tokenizers", "spacy", "xxhash<4", "orjson", "nltk"),
            *("regex", "ftfy", "fasteners"),
        ),
        _datatrove,
        lambda folder: _ids_of_lines(sorted((folder / "kept").glob("*.jsonl"))),
    ),
}
"""Rivals that find near duplicates, the quickest first."""
OTHER_REQUIREMENTS = {"presidio": ("presidio-analyzer==2.2.366",)}


def home() -> Path:
    """Return the folder of the rivals' environments: `FTOOL_BENCHMARKS`, or the user's cache."""
    given = os.environ.get("FTOOL_BENCHMARKS")
    return Path(given) if given else Path.home() / ".cache" / "ftool-benchmarks"


def installed(name: str) -> Path:
    """Return the Python of a rival's environment, which is made where it is missing or older.

    Raises:
        Unfit: there is no such Python, or pip failed.
    """
    rival = RIVALS.get(name)
    wanted = rival.requirements if rival else OTHER_REQUIREMENTS[name]
    folder = home() / name
    python, ready = folder / "bin" / "python", folder / ".ready"
    stated = "\n".join(wanted)
    if not ready.is_file() or ready.read_text(encoding="utf-8") != stated:
        shutil.rmtree(folder, ignore_errors=True)
        print(f"installing {name} into {folder}", flush=True)
        _make_environment(folder, rival.python if rival else "")
        _checked([str(python), "-m", "pip", "install", "--quiet", *wanted], "pip")
        ready.write_text(stated, encoding="utf-8")
    return python


def _make_environment(folder: Path, version: str) -> None:
    if version in {"", f"{sys.version_info.major}.{sys.version_info.minor}"}:
        venv.create(folder, with_pip=True)
        return
    _checked([_interpreter(version), "-m", "venv", str(folder)], "venv")


def _interpreter(version: str) -> str:
    """Return a Python of a version that starts; a name on the path may be an empty shim."""
    pyenv = sorted((Path.home() / ".pyenv" / "versions").glob(f"{version}.*/bin/python"))
    for candidate in [shutil.which(f"python{version}"), *map(str, pyenv)]:
        if candidate and not subprocess.run([candidate, "-V"], capture_output=True).returncode:
            return candidate
    raise Unfit(f"needs python{version}")


def _checked(command: list[str], what: str) -> None:
    run = subprocess.run(command, capture_output=True, text=True)
    if run.returncode:
        raise Unfit(f"{what}: {_last_line(run.stderr)}")


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:160] if lines else "no message"


def _alone(folder: Path) -> dict[str, str]:
    """Return variables with which a rival neither loads nor installs anything during the job."""
    nothing = folder / "no-programs"
    nothing.mkdir(exist_ok=True)
    offline = ("UV_OFFLINE", "PIP_NO_INDEX", "HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE")
    return {
        "PATH": str(nothing),
        "HOME": str(folder),
        "PIP_CONFIG_FILE": os.devnull,
        "LANG": "C.UTF-8",
        **dict.fromkeys(offline, "1"),
    }


def run_rival(name: str, folder: Path, *, workers: int, timeout: float) -> tuple[Run, set[int]]:
    """Let a rival remove the duplicates of `corpus.jsonl` in a folder; return the rows it kept.

    Raises:
        Unfit: it cannot be installed, fails, or takes too long.
    """
    rival = RIVALS[name]
    python = installed(name)
    command = rival.command(folder, python, workers)
    run = finished(command, folder, workers=workers, timeout=timeout)
    return run, rival.kept(folder)


def finished(command: list[str], folder: Path, *, workers: int, timeout: float) -> Run:
    """Run a rival's program, cut off from the network, on as many processors as processes.

    Raises:
        Unfit: it fails or takes too long.
    """
    environment = _alone(folder)
    try:
        run = measured(command, folder, pinned=workers, environment=environment, timeout=timeout)
    except TimeoutError as error:
        raise Unfit(str(error)) from None
    if run.code:
        raise Unfit(f"exit code {run.code}: {_last_line(run.output)}")
    return run
