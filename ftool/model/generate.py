"""Batched greedy generation."""

from collections.abc import Callable, Sequence
from typing import Any

import torch

from ftool.model.batch import pad_left


@torch.inference_mode()
def generate_texts(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[Sequence[int]],
    *,
    end_id: int,
    max_new_tokens: int,
    batch_size: int = 16,
    on_batch: Callable[[int], None] | None = None,
) -> list[str]:
    """Answer every prompt greedily, up to the end-of-turn token.

    Prompts of similar length share a batch, padded on the left; the batch never changes the text.
    """
    order = sorted(range(len(prompts)), key=lambda row: len(prompts[row]))
    texts = [""] * len(prompts)
    for start in range(0, len(order), batch_size):
        rows = order[start : start + batch_size]
        pad_id = tokenizer.pad_token_id
        input_ids, real = pad_left([prompts[row] for row in rows], pad_id=pad_id)
        answers = model.generate(
            input_ids=input_ids.to(model.device),
            attention_mask=real.long().to(model.device),
            do_sample=False,
            max_new_tokens=max_new_tokens,
            eos_token_id=list({end_id, tokenizer.eos_token_id}),
            pad_token_id=pad_id,
        )[:, input_ids.shape[1] :]
        for row, answer in zip(rows, answers.tolist(), strict=True):
            texts[row] = tokenizer.decode(_until(answer, end_id), skip_special_tokens=True)
        if on_batch:
            on_batch(start + len(rows))
    return texts


def _until(tokens: list[int], end_id: int) -> list[int]:
    return tokens[: tokens.index(end_id)] if end_id in tokens else tokens
