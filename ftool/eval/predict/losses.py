"""The loss of every example, its learned tokens, and those that the model put first."""

from collections import defaultdict
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from typing import Any

import torch

from ftool.artifacts import Prediction
from ftool.errors import DataError
from ftool.example import NOT_LEARNED, EncodedExample, Example
from ftool.model.compute.batch import micro_batch
from ftool.model.compute.forward import enable_rows
from ftool.model.compute.prefix import micro_batches
from ftool.model.compute.token_scores import token_scores
from ftool.model.tokens.encode import Encoder, encode_examples
from ftool.model.weights.load import context_tokens, refuse_beyond_embeddings

BATCH_SIZE, BATCH_TOKENS = 16, 8192
LONGEST = 2048
"""Tokens of a window where the model's config names no context."""


@dataclass(slots=True)
class _Total:
    """What is known of an example; a long text is scored in several windows."""

    windows: int = 0
    loss: float = 0.0
    tokens: int = 0
    correct: int = 0


def loss_batches(
    model: Any, encoder: Encoder, examples: Sequence[Example], *, known: Set[int] = frozenset()
) -> Iterator[dict[int, Prediction]]:
    """Score examples a batch at a time, in an order that saves work.

    Args:
        model: in eval mode.
        encoder: of its tokenizer.
        examples: conversations, or texts of any length.
        known: places of examples that are not wanted; batches of these alone are left out, the
            others are as if all were wanted.

    Yields:
        Predictions by the place of their example, each once all its windows are done.

    Raises:
        DataError: a conversation is longer than the model's context.
    """
    owners, windows = _windows(examples, encoder, context_tokens(model.config) or LONGEST)
    ids = (window.input_ids for window in windows)
    refuse_beyond_embeddings(model, encoder.tokenizer, ids)
    totals: defaultdict[int, _Total] = defaultdict(_Total)
    learned_ids: defaultdict[int, list[int]] = defaultdict(list)
    for owner, window in zip(owners, windows, strict=True):
        totals[owner].windows += 1
        learned_ids[owner] += [label for label in window.labels if label != NOT_LEARNED]

    def scored(place: int) -> Prediction:
        total, tokenizer = totals[place], encoder.tokenizer
        text = tokenizer.decode(learned_ids.pop(place, []), skip_special_tokens=True)
        return Prediction(
            id=examples[place].id,
            expected=None,
            predicted=None,
            output="",
            loss=total.loss / total.tokens if total.tokens else 0.0,
            learned_tokens=total.tokens,
            correct_tokens=total.correct,
            learned_bytes=len(text.encode()),
        )

    yield {place: scored(place) for place in range(len(examples)) if not totals[place].windows}
    left_out = {place for place, owner in enumerate(owners) if owner in known}
    for part, losses, hits in _run(model, windows, left_out):
        done = []
        for place, loss, hit in zip(part, losses, hits, strict=True):
            total = totals[owners[place]]
            total.windows -= 1
            total.loss += loss.sum().item()
            total.tokens += len(loss)
            total.correct += int(hit.sum())
            if not total.windows:
                done.append(owners[place])
        yield {place: scored(place) for place in done}


def _windows(
    examples: Sequence[Example], encoder: Encoder, longest: int
) -> tuple[list[int], list[EncodedExample]]:
    """Encode examples; return their windows, and whose each is."""
    owners, windows = list[int](), list[EncodedExample]()
    # Conversations together, which is quicker; a text alone, since it may have several windows.
    chats = [place for place, example in enumerate(examples) if example.text is None]
    texts = [[place] for place, example in enumerate(examples) if example.text is not None]
    for places in [chats, *texts]:
        encoded = encode_examples([examples[p] for p in places], encoder, max_length=longest)
        if encoded.overlong:
            raise DataError(f"{encoded.overlong[0]} is longer than the model's {longest} tokens")
        for one in encoded.left_out[:1]:
            raise DataError(f"{one.id}: {one.why}", hint=one.hint)
        owners += [places[owner] for owner in encoded.owners]
        windows += encoded.examples
    return owners, windows


def _run(
    model: Any, windows: Sequence[EncodedExample], left_out: Set[int]
) -> Iterator[tuple[Any, Any, Any]]:
    """Yield the places of some windows, their losses and their hits, each [learned]."""
    shared = bool(windows) and enable_rows(model, windows)
    for part in micro_batches(windows, size=BATCH_SIZE, tokens=BATCH_TOKENS, shared=shared):
        if all(place in left_out for place in part):
            continue
        batch = micro_batch([windows[place] for place in part], shared=shared)
        losses, hits = token_scores(model, batch.to(model.device))
        sizes = [windows[place].learned_tokens for place in part]
        yield part, torch.split(losses.double().cpu(), sizes), torch.split(hits.cpu(), sizes)
