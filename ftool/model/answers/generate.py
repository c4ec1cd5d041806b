"""Batched greedy generation."""

from collections.abc import Iterator, Sequence, Set
from typing import Any

import torch

from ftool.model.answers.prompts import prompt_batches
from ftool.model.compute.batch import pad_left

BATCH_SIZE = 32
BATCH_TOKENS = 8192
"""Prompt tokens of a batch, padding included."""


@torch.inference_mode()
def generated_batches(  # noqa: PLR0913 - what a batch is, what is known, how it is read
    model: Any,
    tokenizer: Any,
    prompts: Sequence[Sequence[int]],
    *,
    end_id: int,
    max_new_tokens: int,
    batch_size: int = BATCH_SIZE,
    known: Set[int] = frozenset(),
    lead: Sequence[int] = (),
) -> Iterator[dict[int, str]]:
    """Answer every prompt greedily, up to the end-of-turn token, a batch at a time.

    Prompts of similar length share a batch, padded on the left; the batch never changes the text.
    Batches of prompts that are all at places in `known` are left out. An answer begins behind
    `lead`, the tokens that a chat template writes in front of every one, where they stand.

    Yields:
        Texts by the place of their prompt.
    """
    pad_id = tokenizer.pad_token_id
    if pad_id is None or pad_id >= model.get_input_embeddings().weight.shape[0]:
        pad_id = end_id
    lengths = [len(prompt) for prompt in prompts]
    for rows in prompt_batches(lengths, size=batch_size, tokens=BATCH_TOKENS):
        if all(row in known for row in rows):
            continue
        input_ids, real = pad_left([prompts[row] for row in rows], pad_id=pad_id)
        answers = model.generate(
            input_ids=input_ids.to(model.device),
            attention_mask=real.long().to(model.device),
            do_sample=False,
            max_new_tokens=max_new_tokens,
            eos_token_id=list({end_id, tokenizer.eos_token_id}),
            pad_token_id=pad_id,
        )[:, input_ids.shape[1] :]
        texts = tokenizer.batch_decode(
            [_behind(_until(answer, end_id), lead) for answer in answers.tolist()],
            skip_special_tokens=True,
        )
        yield dict(zip(rows, texts, strict=True))


def _until(tokens: list[int], end_id: int) -> list[int]:
    return tokens[: tokens.index(end_id)] if end_id in tokens else tokens


def _behind(tokens: list[int], lead: Sequence[int]) -> list[int]:
    starts = range(len(tokens) - len(lead), -1, -1) if lead else ()
    for start in starts:
        if tokens[start : start + len(lead)] == list(lead):
            return tokens[start + len(lead) :]
    return tokens
