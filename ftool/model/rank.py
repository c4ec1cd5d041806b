"""Exact label ranking: prefix cache, label trie, best-first search."""

import copy
import heapq
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from ftool.example import NOT_LEARNED, EncodedExample
from ftool.model.batch import common_length, make_batch, pad_left
from ftool.model.forward import TOLERANCE, additive_mask, token_losses

WIDTH = 2
"""Nodes of one example fed at a time; more feed nodes that the search would never open."""


@dataclass(frozen=True, slots=True)
class Ranking:
    """The likeliest label (its index) and log P(label, end of turn | prompt) in nats."""

    label: int
    log_probability: float


@dataclass(slots=True)
class LabelTrie:
    """The labels' token sequences as a tree; node 0 is the empty prefix.

    Every sequence ends with the end-of-turn token, so a label that begins another one ends in a
    leaf of its own.
    """

    children: list[dict[int, int]] = field(default_factory=lambda: [{}])
    parent: list[int] = field(default_factory=lambda: [-1])
    token: list[int] = field(default_factory=lambda: [-1])
    depth: list[int] = field(default_factory=lambda: [0])
    label: list[int | None] = field(default_factory=lambda: [None])

    def add(self, sequence: Sequence[int], label: int) -> None:
        """Add one label.

        Raises:
            ValueError: another label has the same tokens.
        """
        node = 0
        for token in sequence:
            node = self.children[node].get(token) or self._grow(node, token)
        if self.label[node] is not None or self.children[node]:
            raise ValueError(f"labels {self.label[node]} and {label} have the same tokens")
        self.label[node] = label

    def _grow(self, parent: int, token: int) -> int:
        node = len(self.children)
        self.children[parent][token] = node
        self.children.append({})
        self.parent.append(parent)
        self.token.append(token)
        self.depth.append(self.depth[parent] + 1)
        self.label.append(None)
        return node

    def ancestors(self, node: int) -> list[int]:
        """Return the inner nodes above one, nearest first, without the root."""
        above = []
        while (node := self.parent[node]) > 0:
            above.append(node)
        return above


@dataclass(slots=True)
class _Search:
    """The open prefixes of one prompt, the likeliest first, and the best finished label."""

    trie: LabelTrie
    open: list[tuple[float, int]] = field(default_factory=list)
    best: Ranking = field(default_factory=lambda: Ranking(-1, -math.inf))
    column: dict[int, int] = field(default_factory=dict)

    def expand(self, node: int, log_probability: float, logits: torch.Tensor) -> None:
        """Score the children of a node from the logits behind it, [vocabulary]."""
        children = self.trie.children[node]
        chosen = logits[list(children)] - logits.logsumexp(-1)
        for child, step in zip(children.values(), chosen.tolist(), strict=True):
            score = log_probability + step
            label = self.trie.label[child]
            if label is None:
                heapq.heappush(self.open, (-score, child))
            elif score > self.best.log_probability:
                self.best = Ranking(label, score)

    def take(self) -> list[tuple[float, int]]:
        """Remove the prefixes that could still beat the best label.

        A label is never likelier than its prefix, so when this is empty the best one is exact.
        """
        taken: list[tuple[float, int]] = []
        while self.open and len(taken) < WIDTH and -self.open[0][0] > self.best.log_probability:
            score, node = heapq.heappop(self.open)
            taken.append((-score, node))
        return taken


def rank_labels(
    model: Any,
    prompts: Sequence[Sequence[int]],
    labels: Sequence[Sequence[int]],
    *,
    batch_size: int = 16,
    on_batch: Callable[[int], None] | None = None,
) -> list[Ranking]:
    """Find the likeliest label of every prompt, exactly.

    The prompt runs once; labels continue from its cache, sharing their common beginnings, and
    only those prefixes are run that could still win.

    Args:
        model: a causal language model in eval mode.
        prompts: token ids, ready for the answer.
        labels: token ids of each label, ended by the end-of-turn token.
        batch_size: prompts at a time; it never changes the result.
        on_batch: told how many prompts are done.

    Raises:
        ValueError: two labels have the same tokens.
    """
    trie = LabelTrie()
    for index, label in enumerate(labels):
        trie.add(label, index)
    order = sorted(range(len(prompts)), key=lambda row: len(prompts[row]))
    rankings = [Ranking(-1, -math.inf)] * len(prompts)
    shared = _run_shared(model, prompts)
    for start in range(0, len(order), batch_size):
        rows = order[start : start + batch_size]
        found = _rank_batch(model, [prompts[row] for row in rows], trie, shared)
        for row, ranking in zip(rows, found, strict=True):
            rankings[row] = ranking
        if on_batch:
            on_batch(start + len(rows))
    return rankings


@torch.inference_mode()
def can_rank(model: Any, prompt: Sequence[int], label: Sequence[int]) -> bool:
    """Find out whether an architecture's cache and mask give the likelihoods of a plain row.

    Recurrent layers and windowed caches do not.
    """
    row = EncodedExample("", (*prompt, *label), (*[NOT_LEARNED] * len(prompt), *label))
    plain = -token_losses(model, make_batch([row]).to(model.device)).sum().item()
    half = prompt[: len(prompt) // 2 + 1]
    try:
        ranked = rank_labels(model, [prompt, half], [label])[0].log_probability
    except (RuntimeError, ValueError, TypeError, AttributeError, IndexError):
        return False
    tolerance = TOLERANCE[model.dtype] * len(label)
    return math.isclose(ranked, plain, rel_tol=tolerance, abs_tol=tolerance) or math.isnan(plain)


@torch.inference_mode()
def _run_shared(model: Any, prompts: Sequence[Sequence[int]]) -> Any:
    """Run the beginning that all prompts share; return its cache, of one row."""
    from transformers import DynamicCache

    cache = DynamicCache(config=model.config)
    # Every prompt keeps a token of its own, whose logits are the first to be read.
    common = min(common_length(prompts), min(map(len, prompts)) - 1)
    if len(prompts) > 1 and common:
        shared = torch.tensor([list(prompts[0][:common])], device=model.device)
        model(input_ids=shared, past_key_values=cache, use_cache=True, logits_to_keep=1)
    return cache


@torch.inference_mode()
def _rank_batch(
    model: Any, prompts: Sequence[Sequence[int]], trie: LabelTrie, shared: Any
) -> list[Ranking]:
    past = shared.get_seq_length()
    input_ids, own = (
        tensor.to(model.device) for tensor in pad_left([prompt[past:] for prompt in prompts])
    )
    real = torch.nn.functional.pad(own, (past, 0), value=True)  # [batch, past + own]
    cache = copy.deepcopy(shared)
    if past:
        cache.batch_repeat_interleave(len(prompts))
    first = model(
        input_ids=input_ids,
        attention_mask=real.long(),
        position_ids=(real.cumsum(1) - 1).clamp(min=0)[:, past:],
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=1,
    ).logits[:, -1]  # [batch, vocabulary]
    searches = [_Search(trie) for _ in prompts]
    for search, logits in zip(searches, first.float(), strict=True):
        search.expand(0, 0.0, logits)
    while any(taken := [search.take() for search in searches]):
        logits = _feed(model, cache, real, searches, taken)  # [batch, width, vocabulary]
        for search, nodes, rows in zip(searches, taken, logits.float(), strict=True):
            for (score, node), row in zip(nodes, rows, strict=False):
                search.expand(node, score, row)
    return [search.best for search in searches]


def _feed(
    model: Any,
    cache: Any,
    real: torch.Tensor,
    searches: Sequence[_Search],
    taken: Sequence[Sequence[tuple[float, int]]],
) -> torch.Tensor:
    """Append the taken nodes to the cache; each sees its prompt, its ancestors and itself."""
    width = max(map(len, taken))
    past = cache.get_seq_length()
    tokens = torch.zeros(len(taken), width, dtype=torch.long)
    positions = torch.zeros(len(taken), width, dtype=torch.long)
    sees = torch.zeros(len(taken), width, past + width, dtype=torch.bool)
    sees[:, :, : real.shape[1]] = real[:, None].cpu()
    sees[:, range(width), range(past, past + width)] = True
    lengths = real.sum(1).tolist()
    for row, (search, nodes) in enumerate(zip(searches, taken, strict=True)):
        for place, (_, node) in enumerate(nodes):
            tokens[row, place] = search.trie.token[node]
            positions[row, place] = lengths[row] + search.trie.depth[node] - 1
            for ancestor in search.trie.ancestors(node):
                sees[row, place, search.column[ancestor]] = True
            search.column[node] = past + place
    return model(  # type: ignore[no-any-return]
        input_ids=tokens.to(model.device),
        attention_mask=additive_mask(sees.to(model.device), model.dtype),
        position_ids=positions.to(model.device),
        past_key_values=cache,
        use_cache=True,
    ).logits
