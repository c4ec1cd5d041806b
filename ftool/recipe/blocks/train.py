"""How the model is fine-tuned."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from ftool.recipe.types import NUMBER, Block, Positive, Ratio, RecipeSpan, Span

BLOCKS_PATTERN = r"^(0|[1-9][0-9]*)-(0|[1-9][0-9]*)$"


class Lora(Block):
    """Low-rank adapters (Hu et al. 2021, arXiv 2106.09685)."""

    kind: Literal["lora"] = "lora"
    """Train adapters."""
    r: Positive = 16
    """Rank of the adapters."""
    alpha: Annotated[float, Field(gt=0, le=1e6), NUMBER] = 32
    """Scale: the adapter's output is multiplied by alpha / r."""
    dropout: Annotated[float, Field(ge=0, lt=1), NUMBER] = 0.0
    """Dropout in front of the adapters."""
    target_modules: Literal["all-linear"] | Annotated[list[str], Field(min_length=1)] = "all-linear"
    """Names of the layers that get an adapter."""
    variant: Literal["lora", "dora"] = "lora"
    """`dora` learns the norms of the weights besides (arXiv 2402.09353); slower."""
    layers: Annotated[str, Field(pattern=BLOCKS_PATTERN, coerce_numbers_to_str=True)] | None = None
    """Transformer blocks with adapters, counted from 0, such as `15-29`; quicker but inexact.
    What lower blocks make of all tokens is kept for later epochs, unless `shared_prefix: off`."""


class Full(Block):
    """All weights."""

    kind: Literal["full"]
    """Train all weights."""


def _read_method(value: Any) -> Any:
    return {"kind": "lora", **value} if isinstance(value, dict) else value


class Checkpoint(Block):
    """When resumable states are saved."""

    every: RecipeSpan = Span(amount=0.5, unit="epochs")
    """Distance between checkpoints."""
    keep: Annotated[int, Field(ge=2), NUMBER] = 2
    """How many of the newest stay; the best stays besides."""


class Validate(Block):
    """When and how training is scored on validation examples."""

    every: RecipeSpan = Span(amount=0.5, unit="epochs")
    """Distance between validations."""
    examples: Positive = 300
    """At most that many, a fixed sample stratified by label."""
    patience: Positive | None = 3
    """Stop after that many validations without a better one; null never stops."""
    restore_best: bool = True
    """End with the weights of the best validation instead of the last ones."""


class Train(Block):
    """How the model is fine-tuned."""

    method: Annotated[Lora | Full, Field(discriminator="kind"), BeforeValidator(_read_method)] = (
        Lora()
    )
    """Adapters (`lora`, also where `kind` is not given) or all weights (`full`)."""
    epochs: Annotated[float, Field(gt=0, le=1e6), NUMBER] = 3
    """Passes over the train split."""
    max_steps: Positive | None = None
    """Stop after that many optimizer steps, whatever `epochs` says."""
    learning_rate: Annotated[float, Field(gt=0, le=1), NUMBER] = 2e-4
    """Peak learning rate of AdamW."""
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    """How the learning rate falls after the warm-up."""
    warmup_ratio: Ratio = 0.03
    """Share of the steps in which the learning rate rises."""
    weight_decay: Annotated[float, Field(ge=0), NUMBER] = 0.0
    """AdamW's decay of weight matrices (not of biases and norms)."""
    max_grad_norm: Annotated[float, Field(gt=0), NUMBER] | None = 1.0
    """Gradients are scaled down to this norm; null never clips."""
    global_batch_size: Positive = 16
    """Examples per optimizer step, over all devices and micro-batches."""
    batch_size_per_device: Positive | Literal["auto"] = "auto"
    """Examples per micro-batch; `auto` follows from device and lengths."""
    max_length: Annotated[int, Field(ge=8), NUMBER] | Literal["auto"] = "auto"
    """Longest example in tokens; `auto` is the model's context."""
    overlong: Literal["reject", "trim_prompt"] = "reject"
    """What becomes of a longer example; a completion is never cut."""
    activation_checkpointing: Literal["auto", "on", "off"] = "auto"
    """Compute activations twice to hold fewer; `auto` where they would not fit into memory."""
    compile: bool = False
    """Compile the model (torch.compile): slow first steps, then quicker ones on a GPU."""
    shared_prefix: Literal["auto", "off"] = "auto"
    """Run the tokens that examples begin with in common once per micro-batch; exact."""
    checkpoint: Checkpoint = Checkpoint()
    """When resumable states are saved."""
    validation: Annotated[Validate | None, Field(alias="validate")] = Validate()
    """When training is scored; null never does."""
    tracking: list[Literal["tensorboard", "wandb", "mlflow", "trackio"]] = []
    """Trackers of accelerate that get every step besides steps.jsonl."""
