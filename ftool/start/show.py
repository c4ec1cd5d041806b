"""Prepared examples as the model reads them, and what is learned of them."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby, takewhile
from pathlib import Path
from typing import Any

from ftool.artifacts import MANIFEST, OnNote, PreparedDataset, ignore_note
from ftool.errors import DataError, did_you_mean
from ftool.eval.measure.statistics import stratified_sample
from ftool.example import NOT_LEARNED, SPLITS, EncodedExample, Example
from ftool.model.tokens.encode import (
    NOTES,
    Encoder,
    make_encoder,
    tell_chosen,
    today,
    trim_prompt,
    up_to_turn,
)
from ftool.model.tokens.template import UnwritableError
from ftool.model.weights.load import load_config, load_tokenizer
from ftool.recipe.schema import Recipe
from ftool.train.folder import date_of
from ftool.train.plan import longest_allowed

TOO_LONG = {
    "train": "training leaves it out",
    "validation": "training does not validate on it",
    "test": "training would leave such a one out",
}
QUOTED_CHARACTERS = 40
NOTHING = "nothing is learned, no assistant message has content: training refuses it"


@dataclass(frozen=True, slots=True)
class Piece:
    """Neighbouring tokens as text: all of them learned, or all of them only given."""

    text: str
    learned: bool


@dataclass(frozen=True, slots=True)
class ShownExample:
    """One example as the model reads it; `notes` say what is wrong with it or was changed."""

    id: str
    split: str
    label: str | None
    pieces: tuple[Piece, ...]
    tokens: int
    learned_tokens: int
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Limit:
    """How long an example may be in tokens, why, and whether a longer prompt is trimmed."""

    tokens: int
    why: str
    trims: bool


def show(
    recipe: Recipe,
    *,
    data: str | None = None,
    split: str | None = None,
    examples: int = 3,
    only: str | None = None,
    folder: Path = Path(),
    on_note: OnNote = ignore_note,
) -> list[ShownExample]:
    """Render prepared examples by the encoder of the training; the model itself is not loaded.

    The same examples are shown on every call: a sample by the recipe's seed that keeps the shares
    of the labels, in the order of the dataset.

    Args:
        recipe: names the base model, the longest example and the seed.
        data: a prepared dataset, or its name under `data/`; the recipe's by default.
        split: which examples; `train` by default, with `only` any.
        examples: how many.
        only: the id of an example to show alone.
        folder: where `data/` is; the working folder by default.
        on_note: told what a person should know about the dataset.

    Raises:
        DataError: there is no such dataset, split or example, or the template refuses one.
        RecipeError: the base model has no tokenizer that fits, or none is there.
        HubError: the Hub refused or was not reached.
    """
    dataset = _open_dataset(recipe, data, folder / "data", on_note)
    if only is None:
        chosen = _sample(dataset, split or "train", examples, recipe.seed)
    else:
        chosen = [_find(dataset, split, only)]
    tokenizer = load_tokenizer(recipe.model, recipe.folder, on_note=on_note)
    encoder = make_encoder(
        tokenizer,
        kind=dataset.kind,
        date=date_of(folder / "runs" / recipe.name) or today(),
        fixed=recipe.model.template_settings if dataset.label_names else None,
    )
    tell_chosen(encoder, on_note)
    tokens, why = longest_allowed(recipe.train, load_config(recipe.model, recipe.folder))
    limit = _Limit(tokens, why, recipe.train.overlong == "trim_prompt")
    return [one for where, example in chosen for one in _shown(example, where, encoder, limit)]


def _open_dataset(
    recipe: Recipe, data: str | None, folder: Path, on_note: OnNote
) -> PreparedDataset:
    own = folder / recipe.data_name
    path = own if data is None else _named_dataset(data, folder)
    dataset = PreparedDataset.open(path)
    if path.resolve() == own.resolve() and not dataset.is_of(recipe):
        on_note(f"{path} was prepared with another `data` or `seed` than this recipe's")
    return dataset


def _named_dataset(data: str, folder: Path) -> Path:
    for path in (folder.parent / data, folder / data):
        if (path / MANIFEST).is_file():
            return path
    known = sorted(file.parent.name for file in folder.glob(f"*/{MANIFEST}"))
    raise DataError(
        f"{data} is neither a prepared dataset nor the name of one in {folder}"
        f"{did_you_mean(data, known)}",
        hint=f"there is {', '.join(known)}" if known else "run: ftool prepare",
    )


def _sample(
    dataset: PreparedDataset, split: str, size: int, seed: int
) -> list[tuple[str, Example]]:
    found = dataset.examples(split)
    ids, labels = [example.id for example in found], [example.label for example in found]
    return [(split, found[index]) for index in stratified_sample(ids, labels, size, seed=seed)]


def _find(dataset: PreparedDataset, split: str | None, example_id: str) -> tuple[str, Example]:
    splits = [split] if split else [name for name in SPLITS if dataset.count(name)]
    some = ""
    for name in splits:
        for example in dataset.examples(name):
            if example.id == example_id:
                return name, example
            some = some or example.id
    raise DataError(
        f"{dataset.path} has no example {example_id} in {', '.join(splits)}",
        hint=f"an id looks like {some}; removed rows are in {dataset.path}/rejected.jsonl",
    )


def _shown(example: Example, split: str, encoder: Encoder, limit: _Limit) -> Iterator[ShownExample]:
    """Yield an example, or where it becomes several sequences each of them."""
    is_chat = example.text is None
    found = _conversation(example, split, encoder, limit) if is_chat else None
    for encoded, notes in found or [_text(example, encoder, limit)]:
        yield _with_pieces(encoded, notes, example, split, encoder)


def _with_pieces(
    encoded: EncodedExample, notes: list[str], example: Example, split: str, encoder: Encoder
) -> ShownExample:
    return ShownExample(
        id=encoded.id,
        split=split,
        label=example.label,
        pieces=tuple(pieces_of(encoded, encoder.tokenizer)),
        tokens=len(encoded.input_ids),
        learned_tokens=encoded.learned_tokens,
        notes=(*notes, *_odd_tokens(encoded, encoder)),
    )


def _conversation(
    example: Example, split: str, encoder: Encoder, limit: _Limit
) -> Iterator[tuple[EncodedExample, list[str]]]:
    try:
        chat = encoder.chat(example)
    except UnwritableError as error:
        yield EncodedExample(example.id, (), ()), [f"left out ({error.code}): {error.message}"]
        return
    sentences = [NOTES[code].format(count="this one") for code in sorted(chat.note_codes)]
    if not chat.sequences:
        yield EncodedExample(example.id, (), ()), [NOTHING]
    for encoded, turn in zip(chat.sequences, chat.last_turns, strict=True):
        own, notes = _sequence(up_to_turn(example, turn), encoded, split, encoder, limit)
        yield own, [*sentences, *notes]


def _sequence(
    example: Example, encoded: EncodedExample, split: str, encoder: Encoder, limit: _Limit
) -> tuple[EncodedExample, list[str]]:
    notes = list[str]()
    length = len(encoded.input_ids)
    if length > limit.tokens:
        fitted = _trimmed(example, encoder, limit) if split == "train" and limit.trims else None
        allowed = f"{limit.tokens:,} tokens are allowed ({limit.why})"
        if fitted:
            example, encoded = fitted
            notes.append(f"its prompt is trimmed: it has {length:,} tokens, {allowed}")
        else:
            notes.append(f"it has {length:,} tokens, {allowed}: {TOO_LONG[split]}")
    if not encoded.learned_tokens:
        notes.append(NOTHING)
    elif begins := _wrong_beginning(example, encoded, encoder.tokenizer):
        notes.append(
            f"what is learned begins with {begins!r}, not with the answer: the chat template writes"
            " that behind its generation prompt, or rewrites what the assistant wrote"
        )
    return encoded, notes


def _trimmed(
    example: Example, encoder: Encoder, limit: _Limit
) -> tuple[Example, EncodedExample] | None:
    shorter = trim_prompt(example, encoder, max_length=limit.tokens)
    encoded = encoder.example(shorter)
    return (shorter, encoded) if len(encoded.input_ids) <= limit.tokens else None


def _text(example: Example, encoder: Encoder, limit: _Limit) -> tuple[EncodedExample, list[str]]:
    windows = encoder.text(example, limit.tokens)
    if not windows:
        return EncodedExample(example.id, (), ()), ["it is empty: nothing is learned of it"]
    if len(windows) == 1:
        return windows[0], []
    return windows[0], [
        f"the first of {len(windows):,} windows of at most {limit.tokens:,} tokens ({limit.why})"
    ]


def pieces_of(encoded: EncodedExample, tokenizer: Any) -> Iterator[Piece]:
    """Yield the text of the tokens, cut only where learning begins or ends.

    Some tokenizers drop a space in front of what is decoded, so each text is decoded together with
    all before it where the one continues the other.
    """
    learned_marks = [label != NOT_LEARNED for label in encoded.labels]
    before, end = "", 0
    for learned, group in groupby(learned_marks):
        start, end = end, end + len(list(group))
        whole = _decode(encoded.input_ids[:end], tokenizer)
        continues = whole.startswith(before)
        text = (
            whole[len(before) :] if continues else _decode(encoded.input_ids[start:end], tokenizer)
        )
        yield Piece(text, learned)
        before = whole


def _decode(ids: tuple[int, ...], tokenizer: Any) -> str:
    kept: dict[str, bool] = {"skip_special_tokens": False, "clean_up_tokenization_spaces": False}
    return str(tokenizer.decode(list(ids), **kept))


def _wrong_beginning(example: Example, encoded: EncodedExample, tokenizer: Any) -> str:
    """Return how the last learned stretch begins where that is not the answer, else nothing."""
    message = example.messages[-1]
    if message.tool_calls or message.reasoning_content or "</think>" in message.content:
        return ""  # the template has its own way to write these
    # A tokenizer may normalize text, so both have gone through it.
    ids = tuple(tokenizer(message.content.strip(), add_special_tokens=False)["input_ids"])
    *_, learned = (piece.text for piece in pieces_of(encoded, tokenizer) if piece.learned)
    is_answer = learned.lstrip().startswith(_decode(ids, tokenizer).strip())
    return "" if is_answer else learned[:QUOTED_CHARACTERS]


def _odd_tokens(encoded: EncodedExample, encoder: Encoder) -> Iterator[str]:
    """Say where the tokenizer did not know a character or a sequence starts more than once."""
    ids, tokenizer = encoded.input_ids, encoder.tokenizer
    start, unknown = tokenizer.bos_token_id, tokenizer.unk_token_id
    ends = {encoder.end_of_turn_id, tokenizer.eos_token_id}
    if unknown is not None and unknown not in {start, *ends} and unknown in ids:
        yield (
            f"{ids.count(unknown):,} of its tokens are {tokenizer.unk_token}: the tokenizer does"
            " not know what stood there"
        )
    if encoder.bos_id is None or start in ends:
        # Such a token also opens or ends every turn; only a doubled one at the front is wrong.
        starts = len(list(takewhile(lambda token: token == start, ids)))
    else:
        starts = ids.count(start)
    if starts > 1:
        yield f"it has {starts:,} start tokens ({tokenizer.bos_token}), not one"
