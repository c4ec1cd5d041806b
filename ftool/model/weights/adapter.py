"""LoRA and DoRA: attach, save, load, merge."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from ftool.artifacts import OnNote, TrainingRun, ignore_note
from ftool.errors import RecipeError, RunError, did_you_mean
from ftool.model.tokens.template_probe import check_template
from ftool.model.tokens.tokenizer import save_tokenizer
from ftool.model.weights.foreign import check_folder
from ftool.model.weights.load import SAFE, LoadedModel, load_base_model
from ftool.model.weights.place import cache_folder
from ftool.recipe.blocks.train import Lora


def attach_adapter(model: Any, method: Lora, *, seed: int) -> Any:
    """Put freshly initialized adapters into a base model and freeze the rest.

    Adapters stay float32 where the base is in half precision or quantized.

    Raises:
        RecipeError: a target module or block does not exist.
    """
    from peft import LoraConfig, get_peft_model

    from ftool.model.weights.low_rank import join_adapters

    blocks = _chosen_blocks(model, method)
    targets = _check_targets(model, method, blocks)
    torch.manual_seed(seed)
    adapted = get_peft_model(
        model,
        LoraConfig(
            r=method.r,
            lora_alpha=method.alpha,
            lora_dropout=method.dropout,
            target_modules=targets,
            exclude_modules=(_routers(model) or None) if targets == "all-linear" else None,
            layers_to_transform=blocks,
            use_dora=method.variant == "dora",
            task_type="CAUSAL_LM",
        ),
    )
    join_adapters(adapted)
    return adapted


def _chosen_blocks(model: Any, method: Lora) -> list[int] | None:
    if method.layers is None:
        return None
    first, last = map(int, method.layers.split("-"))
    count = model.config.get_text_config().num_hidden_layers
    if not first <= last < count:
        raise RecipeError(
            f"train.method.layers: {method.layers} are not blocks of this model; it has"
            f" 0-{count - 1}, the lower one is written first"
        )
    return list(range(first, last + 1))


def _check_targets(model: Any, method: Lora, blocks: list[int] | None) -> str | list[str]:
    """Return the target modules as peft takes them; within chosen blocks it needs names."""
    if method.target_modules == "all-linear" and blocks is None:
        return "all-linear"
    routers = set(_routers(model))
    layers = [
        name
        for name, _ in _linear_layers(model)
        if name not in routers and _is_within(name, blocks)
    ]
    ends = sorted({name.rpartition(".")[2] for name in layers})
    if method.target_modules == "all-linear":
        return ends
    where = "the model has" if blocks is None else f"blocks {method.layers} have"
    for target in method.target_modules:
        if not any(name == target or name.endswith(f".{target}") for name in layers):
            raise RecipeError(
                f"train.method.target_modules: {where} no linear layer `{target}`"
                f"{did_you_mean(target, ends) or '.'} There are {', '.join(ends)}"
            )
    tied = model.config.get_text_config().tie_word_embeddings
    if tied and any(target.endswith("lm_head") for target in method.target_modules):
        raise RecipeError(
            "train.method.target_modules: lm_head shares its weights with the embedding here, so"
            " an adapter on it cannot be merged"
        )
    return list(method.target_modules)


def _linear_layers(model: Any) -> Iterator[tuple[str, torch.nn.Module]]:
    from transformers.pytorch_utils import Conv1D

    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Linear | Conv1D):
            yield name, module


def _routers(model: Any) -> list[str]:
    """Return the linear layers that answer with more than a tensor, as some routers of experts."""
    return [
        name
        for name, layer in _linear_layers(model)
        if type(layer).__module__.startswith("transformers.models") and not _gives_a_tensor(layer)
    ]


@torch.no_grad()
def _gives_a_tensor(layer: Any) -> bool:
    weight = layer.weight
    given = torch.zeros(1, weight.shape[1], dtype=weight.dtype, device=weight.device)
    try:
        return isinstance(layer(given), torch.Tensor)
    except (RuntimeError, ValueError, TypeError):
        return False


def _is_within(name: str, blocks: list[int] | None) -> bool:
    block = re.search(r"\.(\d+)\.", name)
    return blocks is None or (block is not None and int(block[1]) in blocks)


def load_run_model(
    run: TrainingRun,
    *,
    dtype: torch.dtype,
    quantized: bool = True,
    on_note: OnNote = ignore_note,
) -> LoadedModel:
    """Load a finished run: the adapter on its own base, or the full weights.

    Args:
        run: a finished one.
        dtype: of the weights in memory.
        quantized: load the base as the run's recipe quantizes it, otherwise whole.
        on_note: told when something takes long.

    Raises:
        RunError: the model is damaged, or the base is not the one that it was trained on.
    """
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    run.refuse_damage()
    check_folder(run.model_path, str(run.model_path))
    tokenizer = AutoTokenizer.from_pretrained(run.model_path, **SAFE)
    check_template(tokenizer, str(run.model_path), passed=cache_folder() / "templates")
    if not (run.model_path / "adapter_config.json").is_file():
        model = AutoModelForCausalLM.from_pretrained(
            run.model_path, dtype=dtype, use_safetensors=True, **SAFE
        )
        return LoadedModel(model, tokenizer, run.base_model)
    recipe = run.recipe()
    wanted = recipe.model if quantized else recipe.model.model_copy(update={"quantization": "none"})
    base = load_base_model(wanted, folder=recipe.folder, dtype=dtype, on_note=on_note)
    if base.base.weights_sha256 != run.base_model.weights_sha256:
        raise RunError(
            f"{run.path} was trained on other weights of {run.base_model.name}:"
            f" {run.base_model.weights_sha256[:12]}, found {base.base.weights_sha256[:12]}",
            hint="bring the base model back, or train again",
        )
    model = PeftModel.from_pretrained(base.model, run.model_path)
    return LoadedModel(model, tokenizer, run.base_model)


def save_model(model: Any, tokenizer: Any, folder: Path, *, end_of_turn_id: int | None) -> None:
    """Save an adapter or full weights with the tokenizer, so that `from_pretrained` opens them.

    Args:
        model: a peft model or a full one.
        tokenizer: with its chat template.
        folder: made new.
        end_of_turn_id: the learned stop token, written where generation looks for it.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    inner.generation_config = _stopping_at(inner.generation_config, end_of_turn_id)
    for config in getattr(model, "peft_config", {}).values():
        if isinstance(config.target_modules, set):  # in the order of hashes, which vary
            config.target_modules = sorted(config.target_modules)
    model.save_pretrained(folder)
    (folder / "README.md").unlink(missing_ok=True)
    inner.generation_config.save_pretrained(folder)
    save_tokenizer(tokenizer, folder)


def read_back(model: Any, folder: Path) -> Any:
    """Return a model of the weights that `save_model` wrote, to see that nothing was lost.

    An adapter is read into the model in memory, whose base is large; full weights are read anew.

    Args:
        model: that was saved; its adapter becomes what the folder holds.
        folder: where.

    Raises:
        RunError: the folder does not hold every weight of the adapter.
    """
    from peft import get_peft_model_state_dict, load_peft_weights, set_peft_model_state_dict
    from transformers import AutoModelForCausalLM

    if not hasattr(model, "get_base_model"):
        read = AutoModelForCausalLM.from_pretrained(folder, dtype=model.dtype, **SAFE)
        return read.to(model.device)
    weights = load_peft_weights(str(folder), device="cpu")
    if lost := get_peft_model_state_dict(model).keys() ^ weights.keys():
        raise RunError(f"{folder} and the adapter in memory differ in {min(lost)}")
    set_peft_model_state_dict(model, weights)
    return model


def _stopping_at(generation: Any, end_of_turn_id: int | None) -> Any:
    """Return a generation config of the special tokens alone, which stops at the end of a turn.

    The base's sampling settings were chosen for another model, and some of them do not validate.
    """
    stops = generation.eos_token_id
    known = stops if isinstance(stops, list) else [] if stops is None else [stops]
    ends = [*known, *([] if end_of_turn_id is None else [end_of_turn_id])]
    return type(generation)(
        bos_token_id=generation.bos_token_id,
        eos_token_id=list(dict.fromkeys(ends)) or None,
        pad_token_id=generation.pad_token_id,
    )


def save_merged(run: TrainingRun, folder: Path) -> None:
    """Write a run's full weights, adapter merged, and its tokenizer into a new folder.

    The adapter is added in float32 and the sum is kept in it, so that merging rounds nothing.

    Raises:
        RunError: the base is not the one that the adapter was trained on.
    """
    loaded = load_run_model(run, dtype=torch.float32, quantized=False)
    merge = getattr(loaded.model, "merge_and_unload", None)
    model = merge(safe_merge=True) if merge else loaded.model
    save_model(model, loaded.tokenizer, folder, end_of_turn_id=None)
    source = run.model_path / "generation_config.json"
    shutil.copyfile(source, folder / "generation_config.json")
