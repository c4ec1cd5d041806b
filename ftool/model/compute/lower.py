"""What frozen blocks below those that learn make of every token: it never changes, so kept."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from ftool.artifacts import OnProgress, ignore_progress
from ftool.example import EncodedExample
from ftool.model.compute.batch import Batch, Given, make_row
from ftool.model.compute.forward import TOLERANCE, blocks_of, in_mode, token_losses, unwrapped
from ftool.model.compute.prefix import common_length, make_tree, micro_batches
from ftool.shortage import is_out_of_memory

BATCH_SIZE, BATCH_TOKENS = 64, 2048
"""Of the passes that compute what is kept; the same ones whatever the steps are."""


@dataclass(frozen=True, slots=True)
class LowerStates:
    """Hidden states behind the frozen blocks; a context that examples share is there once."""

    blocks: int  # frozen ones, from the first
    places: dict[tuple[int, ...], torch.Tensor]  # token ids of an example -> rows of `states`
    states: torch.Tensor  # [contexts, width]

    def given_to(self, batch: Batch, examples: Sequence[EncodedExample]) -> Batch:
        """Return the row of these examples with what the frozen blocks make of it."""
        rows = _row_places(examples, self.places).to(self.states.device)
        return replace(batch, given=Given(self.blocks, self.states[rows][None]))


def count_contexts(examples: Sequence[EncodedExample]) -> int:
    """Return how many tokens there are that differ in themselves or in what is before them."""
    return sum(end - common for _, common, end in _in_order(examples))


def _in_order(examples: Sequence[EncodedExample]) -> Iterator[tuple[tuple[int, ...], int, int]]:
    """Yield the token ids of each kind of example, what they share with those before, and all."""
    before: tuple[int, ...] = ()
    for ids in sorted({example.input_ids for example in examples}):
        yield ids, common_length((before, ids)), len(ids)
        before = ids


def keep_lower_states(
    model: Any,
    blocks: int,
    examples: Sequence[EncodedExample],
    *,
    on_progress: OnProgress = ignore_progress,
) -> LowerStates:
    """Run the first blocks over all examples and keep their hidden states.

    The passes depend on the examples alone, so a training that goes on has the same states again,
    to the last bit.

    Args:
        model: takes rows; its first blocks are frozen and without dropout.
        blocks: how many.
        examples: of the train split.
        on_progress: told how many examples are done, of how many.
    """
    places: dict[tuple[int, ...], torch.Tensor] = {}
    known, count = torch.zeros(0, dtype=torch.long), 0
    for ids, common, end in _in_order(examples):
        known = torch.cat([known[:common], torch.arange(count, count + end - common)])
        places[ids], count = known, count + end - common
    config = unwrapped(model).config.get_text_config()
    states = torch.empty(count, config.hidden_size, dtype=model.dtype, device=model.device)
    done = 0
    for part in micro_batches(examples, size=BATCH_SIZE, tokens=BATCH_TOKENS, shared=True):
        chosen = [examples[place] for place in part]
        hidden = _behind(model, blocks, make_row(chosen).to(model.device))
        # A context may stand in a row more than once, and which write is the last is left open.
        rows, first = np.unique(_row_places(chosen, places).numpy(), return_index=True)
        states[torch.from_numpy(rows)] = hidden[0][torch.from_numpy(first)].to(states.dtype)
        done += len(part)
        on_progress("running the frozen blocks", done, len(examples))
    return LowerStates(blocks, places, states)


def _row_places(
    examples: Sequence[EncodedExample], places: dict[tuple[int, ...], torch.Tensor]
) -> torch.Tensor:
    """Return where the state of every token of a row is kept."""
    pieces, _ = make_tree(examples)
    return torch.cat([places[example.input_ids][first:end] for example, first, end in pieces])


class _Enough(Exception):
    """The block behind the frozen ones was reached."""


@torch.no_grad()
def _behind(model: Any, blocks: int, row: Batch, *, training: bool = False) -> torch.Tensor:
    """Return the hidden states that the first block behind the frozen ones is given."""
    found: list[torch.Tensor] = []

    def take(_: Any, positional: tuple[Any, ...], named: dict[str, Any]) -> None:
        found.append(positional[0] if positional else named["hidden_states"])
        raise _Enough

    block = blocks_of(unwrapped(model))[blocks]
    handle = block.register_forward_pre_hook(take, with_kwargs=True)
    try:
        with in_mode(model, training=training):
            token_losses(model, row)
    except _Enough:
        pass
    finally:
        handle.remove()
    return found[0]


def can_keep(model: Any, blocks: int, examples: Sequence[EncodedExample]) -> bool:
    """Tell whether a model gives the same losses from what is kept, on real examples.

    It does not where the embedding is changed inside the model, or where up to the last frozen
    block anything is drawn at random in training, such as dropout.
    """
    row = make_row(examples).to(model.device)
    tolerance = TOLERANCE[model.dtype]

    def equal(one: torch.Tensor, other: torch.Tensor) -> bool:
        return torch.allclose(one, other, rtol=tolerance, atol=tolerance)

    try:
        with torch.random.fork_rng(), torch.no_grad():
            drawn, still = (_behind(model, blocks, row, training=draws) for draws in (True, False))
            with in_mode(model, training=False):
                plain = token_losses(model, row)
                kept = keep_lower_states(model, blocks, examples)
                found = token_losses(model, kept.given_to(row, examples))
    except (RuntimeError, ValueError, TypeError, LookupError) as error:
        if is_out_of_memory(error):
            raise
        return False
    return equal(drawn, still) and equal(found, plain)
