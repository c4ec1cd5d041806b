"""Base model + tokenizer: local folder, run, Hub id or the embedded default; device, dtype."""

import hashlib
import json
import shlex
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from ftool.artifacts import BaseModel, OnNote, ignore_note
from ftool.errors import DeviceError, HubError, RecipeError, did_you_mean
from ftool.model.tokens.settings import apply_settings
from ftool.model.tokens.template_probe import check_template
from ftool.model.weights import embedded
from ftool.model.weights.foreign import check_folder, check_settings
from ftool.model.weights.place import cache_folder, local_folder
from ftool.recipe.blocks.model import Model
from ftool.shortage import is_shortage

SAFE = {"trust_remote_code": False}
"""What every model, config and tokenizer is loaded with: None would ask in the terminal."""
_FLASH = ("kernels", "flash_attn")


@dataclass(frozen=True, slots=True)
class Device:
    """Where and how precisely to compute, with the reasons."""

    device: torch.device
    dtype: torch.dtype
    reason: str

    @property
    def dtype_name(self) -> str:
        """The dtype as a recipe writes it."""
        return str(self.dtype).removeprefix("torch.")


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A causal language model with its tokenizer and the identity of its weights."""

    model: Any
    tokenizer: Any
    base: BaseModel


def choose_device(wanted_dtype: str = "auto") -> Device:
    """Pick cuda, xpu, mps or cpu, in this order, and the dtype that suits it.

    Raises:
        DeviceError: bfloat16 was asked for where the device does not have it.
    """
    device, why = _first_device()
    has_bfloat16 = _has_bfloat16(device)
    if wanted_dtype == "bfloat16" and not has_bfloat16:
        raise DeviceError(f"model.dtype: {device} has no bfloat16", hint="use model.dtype=auto")
    if wanted_dtype != "auto":
        return Device(device, getattr(torch, wanted_dtype), f"{why}; dtype as the recipe says")
    if device.type == "cuda" and has_bfloat16:
        return Device(device, torch.bfloat16, f"{why}; it computes in bfloat16")
    precision = "float32 is exact and quick there" if device.type == "cpu" else "the safe precision"
    return Device(device, torch.float32, f"{why}; {precision}")


def context_tokens(config: Any) -> int | None:
    """Return the longest sequence a model was made for, in tokens, where its config says."""
    text_config = config.get_text_config() if hasattr(config, "get_text_config") else config
    return getattr(text_config, "max_position_embeddings", None)


def refuse_beyond_embeddings(
    model: Any, tokenizer: Any, sequences: Iterable[Sequence[int]]
) -> None:
    """Refuse token ids that a model has no embedding for.

    Args:
        model: whose table of embeddings counts; a tokenizer may have more tokens than it uses.
        tokenizer: that gave the ids.
        sequences: of token ids.

    Raises:
        RecipeError: naming the token.
    """
    rows = model.get_input_embeddings().weight.shape[0]
    largest = max((max(ids) for ids in sequences if ids), default=0)
    if largest >= rows:
        token = tokenizer.convert_ids_to_tokens(largest)
        raise RecipeError(
            f"model.base: its tokenizer writes the token {token!r} as {largest}, and the model has"
            f" {rows} embeddings (token_beyond_embeddings)",
            hint="use the tokenizer that the model was trained with, or enlarge the model once with"
            " resize_token_embeddings of transformers and save it",
        )


def _first_device() -> tuple[torch.device, str]:
    for name in ("cuda", "xpu", "mps"):
        module = getattr(torch, name, None)
        if module is not None and module.is_available():
            return torch.device(name), f"{name} is available"
    return torch.device("cpu"), "no GPU was found"


def _has_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    return device.type in {"cpu", "xpu"}


def load_base_model(
    recipe: Model, *, folder: Path = Path(), dtype: torch.dtype, on_note: OnNote = ignore_note
) -> LoadedModel:
    """Load the base model of a recipe.

    Args:
        recipe: the model block.
        folder: what a local base is relative to; the working folder is tried too.
        dtype: of the weights in memory.
        on_note: told when something takes long.

    Raises:
        RecipeError: there is no such base, or it needs what is not installed.
        DeviceError: attention or quantization need a GPU, and there is none.
        HubError: the Hub refused or was not reached.
    """
    from transformers import AutoConfig, AutoModelForCausalLM, PretrainedConfig

    settings = {**_attention(recipe), **_quantization(recipe, dtype)}
    tokenizer = load_tokenizer(recipe, folder, on_note=on_note)
    path = _full_weights_path(recipe, folder, on_note)
    with _in_our_words(recipe, path) as name:
        if not path:
            found, _ = PretrainedConfig.get_config_dict(name, revision=recipe.revision)
            check_settings(found, f"model.base: {name}")
        config = _with_padding(AutoConfig.from_pretrained(name, revision=recipe.revision, **SAFE))
        model = AutoModelForCausalLM.from_pretrained(
            name,
            config=config,
            revision=recipe.revision,
            dtype=dtype,
            **settings,
            **SAFE,
            use_safetensors=True,
        )
    return LoadedModel(model, tokenizer, _identify(recipe, path))


def _with_padding(config: Any) -> Any:
    """Return a config without a padding token that the table of embeddings does not have.

    Padding is never looked at, and torch refuses to make such a table.
    """
    for own in (config, config.get_text_config()):
        padding = getattr(own, "pad_token_id", None)
        if padding is not None and not 0 <= padding < getattr(own, "vocab_size", padding + 1):
            own.pad_token_id = None
    return config


def _attention(recipe: Model) -> dict[str, Any]:
    if recipe.attention == "auto":
        return {}
    if recipe.attention == "flash_attention_2":
        # transformers takes the kernel of the Hub where the package itself is not installed.
        _check_gpu("attention=flash_attention_2", off="auto", extra="gpu", packages=_FLASH)
    return {"attn_implementation": recipe.attention}


def _quantization(recipe: Model, dtype: torch.dtype) -> dict[str, Any]:
    """Return how the base is quantized while it is loaded.

    Norms and embeddings stay in `dtype`; losses are computed in float32 whatever it is.

    Source: Dettmers et al. 2023, QLoRA (arXiv 2305.14314): NF4, its constants quantized again.
    """
    if recipe.quantization == "none":
        return {}
    from transformers import BitsAndBytesConfig

    key = f"quantization={recipe.quantization}"
    _check_gpu(key, off="none", extra="quantization", packages=("bitsandbytes",))
    if recipe.quantization == "8bit":
        return {"quantization_config": BitsAndBytesConfig(load_in_8bit=True)}
    four = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
    )
    return {"quantization_config": four}


def _check_gpu(key: str, *, off: str, extra: str, packages: tuple[str, ...]) -> None:
    """Refuse a setting without a GPU, or without any package that brings it."""
    device, why = _first_device()
    if device.type not in {"cuda", "xpu"}:
        name = key.partition("=")[0]
        raise DeviceError(f"model.{key} needs a GPU, and {why}", hint=f"use model.{name}={off}")
    if not any(find_spec(package) for package in packages):
        raise RecipeError(
            f"model.{key} needs a package that is not installed",
            hint=f"pip install 'ftool[{extra}]'",
        )


def load_tokenizer(recipe: Model, folder: Path = Path(), *, on_note: OnNote = ignore_note) -> Any:
    """Load the tokenizer of a recipe as training uses it, without the weights of its model.

    Args:
        recipe: the model block.
        folder: what a local base and the chat template are relative to.
        on_note: told when something takes long.

    Raises:
        RecipeError: there is no such base or template, or it needs what is not installed.
        HubError: the Hub refused or was not reached.
    """
    from transformers import AutoTokenizer

    with _in_our_words(recipe, _full_weights_path(recipe, folder, on_note)) as name:
        tokenizer = AutoTokenizer.from_pretrained(name, revision=recipe.revision, **SAFE)
    if recipe.chat_template:
        tokenizer.chat_template = _read_template(folder / recipe.chat_template)
    apply_settings(tokenizer, recipe.template_settings, key="model.template_settings")
    if recipe.chat_template or recipe.base != embedded.NAME:
        shown = "model.chat_template" if recipe.chat_template else f"model.base: {recipe.base}"
        check_template(tokenizer, shown, passed=cache_folder() / "templates")
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def load_config(recipe: Model, folder: Path = Path(), *, on_note: OnNote = ignore_note) -> Any:
    """Load the config of a recipe's base model, which says how much context it has.

    Raises:
        RecipeError: there is no such base.
        HubError: the Hub refused or was not reached.
    """
    from transformers import AutoConfig

    with _in_our_words(recipe, _full_weights_path(recipe, folder, on_note)) as name:
        return AutoConfig.from_pretrained(name, revision=recipe.revision, **SAFE)


def _full_weights_path(recipe: Model, folder: Path, on_note: OnNote) -> Path | None:
    path = base_model_path(recipe.base, folder, on_note=on_note)
    if path and (path / "adapter_config.json").is_file():
        raise RecipeError(
            f"model.base: {recipe.base} holds an adapter, not full weights",
            hint=_how_to_merge(path),
        )
    if path and recipe.base != embedded.NAME:
        check_folder(path, f"model.base: {recipe.base}")
    return path


def _how_to_merge(adapter: Path) -> str:
    """Say how full weights of an adapter are written, which no verb does alone."""
    code = (
        "import sys, peft, transformers; adapter, merged = sys.argv[1:];"
        " peft.AutoPeftModelForCausalLM.from_pretrained(adapter, dtype='float32')"
        ".merge_and_unload(safe_merge=True).save_pretrained(merged);"
        " transformers.AutoTokenizer.from_pretrained(adapter).save_pretrained(merged)"
    )
    return (
        f'write full weights, then name them, model.base=merged: python -c "{code}"'
        f" {shlex.quote(str(adapter))} merged"
    )


def _identify(recipe: Model, path: Path | None) -> BaseModel:
    if recipe.base == embedded.NAME and path:
        return BaseModel(recipe.base, embedded.REVISION, weights_sha256(path))
    if path:
        return BaseModel(Path(recipe.base).name, None, weights_sha256(path))
    snapshot = _snapshot_folder(recipe)
    # The Hub's cache names a snapshot's folder by its commit.
    return BaseModel(recipe.base, snapshot.name, weights_sha256(snapshot))


def base_model_path(base: str, folder: Path, *, on_note: OnNote = ignore_note) -> Path | None:
    """Return the local folder that a base names, or None where it is a Hub id.

    Raises:
        RecipeError: it looks like a path and there is nothing.
    """
    if base == embedded.NAME:
        return embedded.embedded_model_path(on_note=on_note)
    if local := local_folder(base, folder):
        return local
    if base.startswith((".", "/", "~")) or base.count("/") > 1 or Path(base).exists():
        raise RecipeError(f"model.base: {base} is not a folder with a model (no config.json)")
    return None


@contextmanager
def _in_our_words(recipe: Model, path: Path | None) -> Iterator[str]:
    """Hand out the name to load from, and say in our words what the Hub or the disk refuses."""
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError
    from huggingface_hub.utils import validate_repo_id
    from safetensors import SafetensorError

    name = str(path) if path else recipe.base
    try:
        if not path:
            validate_repo_id(name)
        yield name
    except HFValidationError as error:
        raise RecipeError(f"model.base: {name!r} is neither a folder nor a Hub id") from error
    except ImportError as error:
        raise RecipeError(
            f"model.base: {recipe.base} with attention {recipe.attention} needs a package that is"
            f" not installed ({_first_line(error)})"
        ) from error
    except (HfHubHTTPError, OSError) as error:
        if is_shortage(error):
            raise
        if path:
            raise RecipeError(
                f"model.base: {recipe.base} cannot be loaded ({_first_line(error)})"
            ) from error
        near = did_you_mean(name, [embedded.NAME])
        raise HubError(
            f"model.base: {name} is not a local folder, and the Hub did not give it{near}"
            f" ({_first_line(error)})",
            hint=f"check the name and the network, or use the embedded base {embedded.NAME}",
        ) from error
    except (ValueError, RuntimeError, SafetensorError) as error:
        if is_shortage(error):
            raise
        if "trust_remote_code" in str(error):
            raise RecipeError(
                f"model.base: {recipe.base} brings its own code, and ftool runs no code of others",
                hint="use a model whose architecture transformers knows",
            ) from error
        what = f"model.base: {recipe.base} cannot be loaded ({_first_line(error)})"
        raise RecipeError(what) from error


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


def _read_template(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"model.chat_template: {path} cannot be read ({error})") from error


def _snapshot_folder(recipe: Model) -> Path:
    from transformers.utils import cached_file

    return Path(cached_file(recipe.base, "config.json", revision=recipe.revision)).parent


def weights_sha256(folder: Path) -> str:
    """Return the sha256 over the names, dtypes, shapes and values of a model's weights.

    The number and layout of files do not change it.
    """
    from safetensors import safe_open

    digest = hashlib.sha256()
    owners: dict[str, Path] = {}
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, framework="pt") as tensors:
            owners |= dict.fromkeys(tensors.keys(), file)
    for name in sorted(owners):
        with safe_open(owners[name], framework="pt") as tensors:
            tensor = tensors.get_tensor(name)
        digest.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
        digest.update(tensor.contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()
