"""What a training is made of: model, examples, plan; the same for a run and for a dry run."""

import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs, DistributedType

from ftool.artifacts import OnNote, PreparedDataset
from ftool.errors import DataError, RecipeError, RunError
from ftool.example import EncodedExample
from ftool.model.compute.batch import micro_batch
from ftool.model.compute.forward import enable_rows, unwrapped
from ftool.model.compute.memory import Memory, checkpoint_activations, estimate_memory
from ftool.model.tokens.encode import (
    NOTES,
    OVERLONG,
    EncodedExamples,
    Encoder,
    LeftOut,
    encode_examples,
    make_encoder,
    tell_chosen,
    today,
)
from ftool.model.weights.adapter import attach_adapter
from ftool.model.weights.load import (
    Device,
    LoadedModel,
    choose_device,
    load_base_model,
    refuse_beyond_embeddings,
)
from ftool.recipe.blocks.train import Lora
from ftool.recipe.schema import Recipe
from ftool.train.attempt import smaller
from ftool.train.checkpoint import first_not_finite
from ftool.train.layout import Layout, lay_out
from ftool.train.lower import decide_lower
from ftool.train.optimizer import make_optimizer
from ftool.train.plan import Plan, fit_into_memory, longest_allowed, make_plan
from ftool.train.validate import Validator
from ftool.wording import counted

SHARDED = (DistributedType.FSDP, DistributedType.DEEPSPEED, DistributedType.MEGATRON_LM)
WORTHWHILE_RATIO = 0.05
"""Share of the prompt tokens that must be saved for a GPU to run rows, and to be told."""


@dataclass(frozen=True, slots=True)
class Assembled:
    """Everything one training needs, made once; nothing of it is on disk yet."""

    recipe: Recipe
    dataset: PreparedDataset
    device: Device
    loaded: LoadedModel
    model: Any  # with adapters, where the recipe has them
    encoder: Encoder
    examples: list[EncodedExample]
    left_out: list[LeftOut]
    notes: Mapping[str, int]
    plan: Plan
    layout: Layout
    memory: Memory | None
    validator: Validator | None = None


def open_dataset(recipe: Recipe, data: Path) -> PreparedDataset:
    """Open the prepared dataset of a recipe.

    Raises:
        DataError: it is missing, or prepared with other settings.
    """
    dataset = PreparedDataset.open(data / recipe.data_name)
    if not dataset.is_of(recipe):
        raise DataError(
            f"{dataset.path} was prepared with another `data` or `seed` than this recipe's",
            hint="run: ftool prepare",
        )
    return dataset


def assemble(
    recipe: Recipe, dataset: PreparedDataset, *, on_note: OnNote, date: str | None = None
) -> Assembled:
    """Load the model, encode the data and decide what `auto` becomes, with the reasons told.

    Args:
        recipe: every setting.
        dataset: to learn from.
        on_note: told what was chosen and why.
        date: what chat templates take for today; the real one by default.

    Raises:
        DataError: nothing can be learned.
        RecipeError: a setting does not fit the model.
        RunError: a weight of the base model is not finite.
    """
    device = choose_device(recipe.model.dtype)
    on_note(f"device {device.device}, {device.dtype_name}: {device.reason}")
    # Full fine-tuning updates float32 weights even where it computes in bfloat16.
    dtype = device.dtype if isinstance(recipe.train.method, Lora) else torch.float32
    loaded = load_base_model(recipe.model, folder=recipe.folder, dtype=dtype, on_note=on_note)
    _refuse_not_finite(loaded)
    loaded.model.to(device.device)
    date = date or today()
    fixed = recipe.model.template_settings if dataset.label_names else None
    encoder = make_encoder(loaded.tokenizer, kind=dataset.kind, date=date, fixed=fixed)
    tell_chosen(encoder, on_note)
    max_length = longest_allowed(recipe.train, loaded.model.config)
    encoded = _encode_train(recipe, dataset, encoder, max_length[0], on_note)
    examples = encoded.examples
    ids = (example.input_ids for example in examples)
    refuse_beyond_embeddings(loaded.model, loaded.tokenizer, ids)
    rows = _can_share(recipe, loaded.model, examples, on_note)
    model = loaded.model
    if isinstance(recipe.train.method, Lora):
        model = attach_adapter(model, recipe.train.method, seed=recipe.seed)
    plan = make_plan(
        recipe.train,
        device,
        max_length=max_length,
        lengths=[len(example.input_ids) for example in examples],
        shared_prefix=rows,
    )
    plan = replace(plan, template_date=encoder.date)
    plan, layout = _share_where_it_pays(recipe, plan, examples)
    plan, layout, memory = _fitted(recipe, plan, layout, examples, model, device)
    plan, memory = decide_lower(plan, recipe, memory, model, examples, tried=layout.largest)
    for sentence in _decisions(recipe, plan, layout, memory):
        on_note(sentence)
    return Assembled(
        recipe=recipe,
        dataset=dataset,
        device=device,
        loaded=loaded,
        model=model,
        encoder=encoder,
        examples=examples,
        left_out=encoded.left_out,
        notes=dict(encoded.notes),
        plan=plan,
        layout=layout,
        memory=memory,
    )


def _refuse_not_finite(loaded: LoadedModel) -> None:
    """Refuse a base model that would teach nothing but NaN, or carry it into a merged model."""
    if broken := first_not_finite(loaded.model.named_parameters()):
        raise RunError(
            f"model.base: {loaded.base.name}: the weight {broken} is not finite; no step was taken",
            hint="fetch or save the base model again",
        )


def make_accelerator(
    parts: Assembled, *, trackers: Sequence[str] = (), folder: Path | None = None
) -> Accelerator:
    """Return what wraps a model for this device; trackers write into the folder.

    Raises:
        RecipeError: accelerate's own configuration asks for what the loop does not do.
    """
    # Buffers never change, and processes may run different numbers of micro-batches.
    alike = DistributedDataParallelKwargs(broadcast_buffers=False, gradient_as_bucket_view=True)
    accelerator = Accelerator(
        kwargs_handlers=[alike],
        mixed_precision="bf16" if parts.device.dtype == torch.bfloat16 else "no",
        cpu=parts.device.device.type == "cpu",
        log_with=list(trackers) or None,
        project_dir=folder,
    )
    if (kind := accelerator.distributed_type) in SHARDED:
        raise RecipeError(
            f"accelerate is configured for {kind.value}, where no process has the whole model",
            hint="start with torchrun, or choose no sharding with: accelerate config",
        )
    return accelerator


def prepare_to_train(parts: Assembled, accelerator: Accelerator) -> tuple[Any, Any]:
    """Return the model and its optimizer as accelerate wraps them."""
    if parts.recipe.train.compile:
        # The head stays outside: the number of learned tokens differs from batch to batch.
        unwrapped(parts.model).get_decoder().compile(dynamic=True)
    if parts.plan.activation_checkpointing:
        checkpoint_activations(parts.model)
    optimizer = make_optimizer(parts.model, parts.recipe.train)
    with warnings.catch_warnings():
        # The name of make_accelerator's setting; the newer one is not in every version we allow.
        warnings.filterwarnings("ignore", "`broadcast_buffers` is deprecated", FutureWarning)
        model, optimizer = accelerator.prepare(parts.model, optimizer)
    return model, optimizer


def _encode_train(
    recipe: Recipe, dataset: PreparedDataset, encoder: Encoder, max_length: int, note: OnNote
) -> EncodedExamples:
    encoded = encode_examples(
        dataset.examples("train"),
        encoder,
        max_length=max_length,
        overlong=recipe.train.overlong,
    )
    for sentence in _left_out(encoded.left_out, max_length):
        note(sentence)
    for code, number in sorted(encoded.notes.items()):
        note(NOTES[code].format(count=counted(number, "train conversation")))
    if encoded.examples:
        return encoded
    if not encoded.left_out:
        raise DataError("no train example has a token to learn", hint="look at: ftool show")
    if all(one.code == OVERLONG for one in encoded.left_out):
        raise DataError(
            f"every train example is longer than {max_length} tokens",
            hint="raise train.max_length, or set train.overlong=trim_prompt",
        )
    first = next(one for one in encoded.left_out if one.code != OVERLONG)
    raise DataError(
        f"no train example can be learned ({first.code}): {first.id}: {first.why}", hint=first.hint
    )


def _left_out(left_out: Sequence[LeftOut], max_length: int) -> list[str]:
    """Say what is not learned from, a line for each reason."""
    sentences = []
    for code, number in Counter(one.code for one in left_out).items():
        own = [one for one in left_out if one.code == code]
        first = ", ".join(one.id for one in own[:3]) + (" ..." if number > 3 else "")
        if code == OVERLONG:
            sentences.append(f"{number} examples exceed {max_length} tokens, left out: {first}")
        else:
            left = f"{counted(number, 'example')} left out ({code}): {first}"
            sentences.append(f"{left}; of the first, {own[0].why}")
    return sentences


def _can_share(recipe: Recipe, model: Any, examples: list[EncodedExample], note: OnNote) -> bool:
    """Tell whether micro-batches may be rows, after trying it on real examples."""
    if recipe.train.shared_prefix == "off":
        return False
    if not enable_rows(model, examples):
        note("no shared prefix: this architecture gives other losses with it")
        return False
    return True


def _share_where_it_pays(
    recipe: Recipe, plan: Plan, examples: Sequence[EncodedExample]
) -> tuple[Plan, Layout]:
    """Keep rows where they save something; without shared prefixes they pay on a CPU only."""
    size, seed = recipe.train.global_batch_size, recipe.seed
    layout = lay_out(examples, plan, size=size, seed=seed)
    if not plan.shared_prefix or plan.device == "cpu" or layout.saved_ratio >= WORTHWHILE_RATIO:
        return plan, layout
    plan = replace(plan, shared_prefix=False)
    return plan, lay_out(examples, plan, size=size, seed=seed)


def _fitted(
    recipe: Recipe,
    plan: Plan,
    layout: Layout,
    examples: Sequence[EncodedExample],
    model: Any,
    device: Device,
) -> tuple[Plan, Layout, Memory | None]:
    """Foresee the memory; where it is not enough and the recipe lets us, take less at a time."""
    while True:
        largest = micro_batch(layout.largest, shared=plan.shared_prefix).to(device.device)
        memory = estimate_memory(model, largest, dtype=device.dtype)
        fitted = fit_into_memory(plan, recipe.train, memory)
        is_open = recipe.train.batch_size_per_device == "auto" and "memory" in fitted.reasons
        less = smaller(plan, [layout.largest]) if is_open else None
        if less is None:
            return fitted, layout, memory
        why = f"at most {less.micro_batch_tokens:,} tokens at a time, for the memory"
        plan = replace(less, reasons={**less.reasons, "batch_size_per_device": why})
        layout = lay_out(examples, plan, size=recipe.train.global_batch_size, seed=recipe.seed)


def _decisions(recipe: Recipe, plan: Plan, layout: Layout, memory: Memory | None) -> list[str]:
    """Say what `auto` became and why, a line each."""
    saved = layout.saved_ratio
    shared = f"shared prefixes: {saved:.0%} of the prompt tokens of an epoch are not run again"
    told = [shared] if saved >= WORTHWHILE_RATIO else []
    told.append(
        f"{plan.total_steps} steps of {recipe.train.global_batch_size} examples, micro-batches of"
        f" at most {plan.batch_size_per_device} ({plan.reasons['batch_size_per_device']})"
    )
    is_on = plan.activation_checkpointing
    about = "" if memory is None else f"about {memory.peak(checkpointing=is_on) / 2**30:.1f} GiB, "
    how = "on" if is_on else "off"
    why = plan.reasons["activation_checkpointing"]
    told.append(f"memory: {about}activation checkpointing {how} ({why})")
    if "keeps_lower" in plan.reasons:
        kept = "kept" if plan.keeps_lower else "not kept"
        told.append(f"what frozen blocks make of tokens is {kept}: {plan.reasons['keeps_lower']}")
    return [*told, *([plan.reasons["memory"]] if "memory" in plan.reasons else [])]
