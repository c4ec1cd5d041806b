"""The raw data and what becomes of it."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from ftool.recipe.contradictions import apart, column, columns, distinct, one_sign
from ftool.recipe.types import NUMBER, Block, Name, Positive, Ratio

LabelNames = Annotated[list[str], Field(min_length=1), AfterValidator(distinct)]


ColumnName = Annotated[str | int, BeforeValidator(column)]
"""A name, or a position from 1."""
ColumnNames = Annotated[str | int | list[ColumnName], BeforeValidator(columns)]


class Columns(Block):
    """Which column of a source plays which part; unnamed parts are detected.

    A whole number is a position from 1.
    """

    messages: ColumnName | None = None
    """A list of messages, each with a speaker and what was said."""
    history: ColumnName | None = None
    """Earlier turns before a prompt: pairs of question and answer, or messages."""
    system: ColumnNames | None = None
    """Instructions before the conversation."""
    prompt: ColumnNames | None = None
    """What is given; several columns are joined, a blank line between them."""
    completion: ColumnNames | None = None
    """What is learned; several columns are joined."""
    text: ColumnNames | None = None
    """A text of a corpus."""
    label: ColumnName | None = None
    """The class; it is the completion where no other is named."""
    conversation: ColumnName | None = None
    """Where every row is one message: which conversation it belongs to."""
    role: ColumnName | None = None
    """Where every row is one message: who wrote it."""
    content: ColumnName | None = None
    """Where every row is one message: what was written."""
    time: ColumnName | None = None
    """Where every row is one message: what orders them; the order of the rows when unset."""


class Source(Block):
    """Where rows come from."""

    path: str
    """A file, folder or glob relative to the recipe, or `hf://org/name`."""
    columns: Annotated[Columns, AfterValidator(apart)] = Columns()
    """Which column plays which part."""
    header: Literal["auto", "none"] = "auto"
    """`none` where a table begins with its first row; its columns are then called 1, 2, 3."""
    delimiter: Annotated[str, AfterValidator(one_sign)] | None = None
    """What separates the fields of a text table; by its header when unset, a tab in `.tsv`."""
    labels: dict[str, str] = {}
    """Names of labels, such as `{"0": bad, "1": good}`; others stay as they are."""
    roles: dict[Literal["system", "user", "assistant", "tool"], list[str]] = {}
    """Who speaks in conversations: `{assistant: [agent, desk*]}`, looked up before the usual names;
    what speakers under `system` say within a conversation is left out."""
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
    """Repair mis-decoded characters (ftfy) and compose accents; code stays."""
    html: Literal["auto", "strip", "keep"] = "auto"
    """Turn HTML into text, faster with `ftool[web]`: `auto` where what a user writes, or a text of
    a corpus, is an HTML mail or page; `strip` in answers too. Code stays."""
    quoted_replies: Literal["strip", "keep"] = "strip"
    """Remove quoted earlier mails and signatures from user messages."""
    personal_data: Literal["mask", "drop", "keep"] = "mask"
    """Personal data and secrets: put `[EMAIL_1]` and the like in their place, or drop the row."""
    names: bool = False
    """Take names of people and places for personal data too (needs `ftool[pii]`)."""


class Filter(Block):
    """Which examples are kept; rows of an assigned validation or test source always are."""

    min_characters: Annotated[int, Field(ge=0), NUMBER] = 2
    """Shortest prompt or text, in characters; a wide one (Chinese, an emoji) counts as two."""
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
    """Jaccard similarity of five-word shingles from which a row repeats another; null keeps it.
    What many rows share is set aside; another label or answer is no repeat."""


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
