"""Recipe: types, defaults, bounds, meanings."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    WithJsonSchema,
    model_serializer,
    model_validator,
)

from ftool.recipe.contradictions import all_read, apart, distinct


def _take_no_switch(value: Any) -> Any:
    """Refuse true and false where a number is meant; Python takes them for 1 and 0."""
    if isinstance(value, bool):
        raise ValueError("a number is needed, not a switch")
    return value


NUMBER = BeforeValidator(_take_no_switch)
Ratio = Annotated[float, Field(ge=0, le=1), NUMBER]
Positive = Annotated[int, Field(gt=0), NUMBER]
NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"
BLOCKS_PATTERN = r"^(0|[1-9][0-9]*)-(0|[1-9][0-9]*)$"
METRIC_PATTERN = r"^(evaluate:.+|.+\.py:[A-Za-z_][A-Za-z0-9_]*)$"
Name = Annotated[str, Field(pattern=NAME_PATTERN, max_length=100)]
NamedMetric = Literal[
    "accuracy", "f1_macro", "f1_micro", "f1_weighted", "precision_macro", "recall_macro", "loss"
]


class Block(BaseModel):
    """A frozen group of settings that knows all its keys."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False
    )


class Span(Block):
    """A stretch of training: `0.25 epochs` or `200 steps`."""

    amount: Annotated[float, Field(gt=0, le=1e9), NUMBER]
    unit: Literal["epochs", "steps"]

    def steps(self, steps_per_epoch: int) -> int:
        """Return the span in optimizer steps, at least one."""
        return max(1, round(self.amount * (steps_per_epoch if self.unit == "epochs" else 1)))

    @model_serializer
    def __str__(self) -> str:
        """Write the span the way a recipe does."""
        return f"{str(self.amount).removesuffix('.0')} {self.unit}"


def _read_span(value: Any) -> Any:
    words = value.split() if isinstance(value, str) else []
    units = {"epoch": "epochs", "epochs": "epochs", "step": "steps", "steps": "steps"}
    if len(words) == 2 and words[1] in units:
        try:
            return {"amount": float(words[0]), "unit": units[words[1]]}
        except ValueError:
            pass
    if isinstance(value, Span | dict):
        return value
    raise ValueError("write a span as `0.25 epochs` or `200 steps`")


RecipeSpan = Annotated[
    Span,
    BeforeValidator(_read_span),
    WithJsonSchema({"type": "string", "pattern": r"^[0-9.e+-]+ (epochs?|steps?)$"}),
]


class Model(Block):
    """The base model to start from."""

    base: str = "smollm2-135m-instruct"
    """Hub id, local folder, fully tuned run, or the embedded `smollm2-135m-instruct`."""
    revision: str | None = None
    """Commit, branch or tag of the base model on the Hub."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Precision of the computation; `auto` is float32 on a CPU, bfloat16 where a GPU has it."""
    attention: Literal["auto", "sdpa", "eager", "flash_attention_2"] = "auto"
    """Attention implementation; `auto` is PyTorch's own (sdpa), flash needs a GPU."""
    quantization: Literal["none", "4bit", "8bit"] = "none"
    """Hold the frozen base in 4 (NF4) or 8 bits; needs a GPU and `ftool[quantization]`."""
    chat_template: Path | None = None
    """A Jinja file that replaces the chat template of the base model's tokenizer."""


LabelNames = Annotated[list[str], Field(min_length=1), AfterValidator(distinct)]


class Columns(Block):
    """Which column of a source plays which part; unnamed parts are detected."""

    messages: str | None = None
    """A list of messages: `role`/`content` or `from`/`value`."""
    system: str | None = None
    """Instructions before the conversation."""
    prompt: str | None = None
    """What is given."""
    completion: str | None = None
    """What is learned."""
    text: str | None = None
    """A text of a corpus."""
    label: str | None = None
    """The class; it is the completion where no other is named."""


class Source(Block):
    """Where rows come from."""

    path: str
    """A file, folder or glob relative to the recipe, or `hf://org/name`."""
    columns: Annotated[Columns, AfterValidator(apart)] = Columns()
    """Which column plays which part."""
    split: Literal["train", "validation", "test"] | None = None
    """Assign all rows to one split; then that split takes no rows of other sources."""
    limit: Positive | None = None
    """Keep a seeded sample of that many examples, stratified by label."""
    per_label: Positive | None = None
    """Keep that many examples of each label (few-shot)."""
    hub_split: str = "train"
    """The split to read of a Hub data set."""
    encoding: str | None = None
    """Character encoding of text files; detected when unset."""


class Clean(Block):
    """How text is rewritten."""

    unicode: bool = True
    """Repair mis-decoded characters (ftfy) and compose accents (NFC)."""
    html: Literal["auto", "strip", "keep"] = "auto"
    """Turn HTML into text, faster with `ftool[web]`; `auto` only where tags are found."""
    quoted_replies: Literal["strip", "keep"] = "strip"
    """Remove quoted earlier mails and signatures from user messages."""
    personal_data: Literal["mask", "drop", "keep"] = "mask"
    """Personal data and secrets: put `[EMAIL_1]` and the like in their place, or drop the row."""
    names: bool = False
    """Take names of people and places for personal data too (needs `ftool[pii]`)."""


class Filter(Block):
    """Which examples are kept; rows of an assigned validation or test source always are."""

    min_characters: Annotated[int, Field(ge=0), NUMBER] = 2
    """Shortest prompt or text, in characters."""
    max_characters: Positive | None = None
    """Longest example, in characters."""
    max_tokens: Positive | None = None
    """Longest example, in tokens of the base model."""
    languages: Annotated[list[str], Field(min_length=1)] | None = None
    """Codes of the languages that are kept, such as `[en, de]` (needs `ftool[lang]`)."""
    repetition: Ratio | None = 0.5
    """Most of a text that may be repeated lines or phrases; null never looks."""
    boilerplate: bool = True
    """Drop automatic replies, delivery failures and the like."""
    refusals: bool = True
    """Drop conversations in which the assistant refuses as a language model."""
    quality: list[Literal["gopher", "c4"]] = []
    """Published rules for web text (Gopher, C4); for `kind: text` alone."""


class Dedup(Block):
    """How duplicates are found."""

    exact: bool = True
    """Remove repeats that differ in case or white space only."""
    near: Annotated[float, Field(ge=0.5, le=1), NUMBER] | None = 0.8
    """Jaccard similarity of five-word shingles from which a row repeats another; null keeps it."""


class Split(Block):
    """How examples without an assigned split are divided."""

    validation: Ratio = 0.1
    """Share for validation; not applied where a source is assigned to it."""
    test: Ratio = 0.1
    """Share for test; not applied where a source is assigned to it."""
    stratify: Literal["label"] | None = "label"
    """Keep the shares within every label."""
    group: str | None = None
    """The column whose rows of one value must not straddle splits, such as a customer."""

    @model_validator(mode="after")
    def _leave_some_to_train(self) -> "Split":
        if self.validation + self.test >= 1:
            raise ValueError("validation and test together leave nothing to train on")
        return self


class Data(Block):
    """The raw data and what becomes of it."""

    name: Name | None = None
    """Names `data/<name>`; the recipe's name when unset."""
    kind: Literal["chat", "text"] = "chat"
    """Conversations, or texts of a corpus (every token is learned)."""
    sources: Annotated[list[Source], Field(min_length=1)]
    """Where rows come from."""
    system: str | None = None
    """System message put before every conversation that has none."""
    label_names: Literal["auto", "words", "none"] | LabelNames = "auto"
    """The closed set of labels: a list, `auto` (those found), `words` (those found, `card_arrival`
    written as `card arrival`, as a language model knows it) or `none` (open answers)."""
    keep_columns: list[str] = []
    """User columns carried along in `extra`."""
    clean: Clean = Clean()
    """How text is rewritten."""
    filter: Filter = Filter()
    """Which examples are kept."""
    dedup: Dedup = Dedup()
    """How duplicates are found."""
    decontaminate: list[str] = []
    """Files whose rows must not be in train; those of validation and test never are."""
    split: Split = Split()
    """How examples are divided."""
    max_rejected_ratio: Ratio = 0.5
    """Refuse the data when more than this share of the rows is rejected."""


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


class Eval(Block):
    """How a model is scored."""

    mode: Literal["auto", "rank", "generate", "loss"] = "auto"
    """`rank` compares labels' likelihoods, `generate` reads the answer, `loss` is perplexity."""
    metric: NamedMetric | Annotated[str, Field(pattern=METRIC_PATTERN)] = "f1_macro"
    """Chooses the best checkpoint, open answers by `loss`; also evaluate:NAME, file.py:function."""
    base: bool = True
    """Score the base model beside the tuned one."""
    base_examples: Positive | None = 300
    """At most that many examples for the base model, stratified by label; null takes all."""
    floor: bool = True
    """Score a majority and a TF-IDF classifier fitted on the train split."""
    confidence: bool = False
    """Rank on until the probability of the chosen label is certain to 0.01; takes longer."""
    max_new_tokens: Positive = 64
    """Longest generated answer, in tokens."""
    out_of_scope: str | None = None
    """The label of what no other label fits; how well it is told apart is reported."""


class Hub(Block):
    """Where and how the model is published."""

    repo: str | None = None
    """Repository id, `name` or `owner/name`."""
    private: bool = True
    """Only its owner sees a new repository."""
    license: str | None = None
    """Licence of the tuned model; the base model's when unset."""
    merged: Literal["auto"] | bool = "auto"
    """Push merged weights, not the adapter; `auto` merges where the base is not on the Hub."""


class Recipe(Block):
    """Every setting of every verb."""

    name: Name
    """Default name of the run."""
    seed: Annotated[int, Field(ge=0, lt=2**32), NUMBER] = 17
    """Seeds the split, the order, the adapters and the dropout."""
    model: Model = Model()
    """The base model."""
    data: Annotated[Data, AfterValidator(all_read)]
    """The raw data."""
    train: Train = Train()
    """The fine-tuning."""
    eval: Eval = Eval()
    """The scoring."""
    hub: Hub = Hub()
    """The publishing."""

    _folder: Path = PrivateAttr(default_factory=Path)

    @model_validator(mode="after")
    def _train_no_quantized_weights(self) -> "Recipe":
        if self.model.quantization != "none" and isinstance(self.train.method, Full):
            raise ValueError("quantized weights cannot be trained; use train.method.kind=lora")
        return self

    @property
    def folder(self) -> Path:
        """The folder that source paths are relative to."""
        return self._folder

    @property
    def data_name(self) -> str:
        """The name of the prepared dataset."""
        return self.data.name or self.name
