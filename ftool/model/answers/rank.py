"""Exact label ranking: one beginning, a branch for each prompt, best-first over the label trie."""

import math
import random
from collections.abc import Callable, Iterator, Sequence, Set
from typing import Any
from weakref import WeakKeyDictionary

import torch

from ftool.model.answers.label_scores import scores_in_full, scores_of_copies
from ftool.model.answers.prompts import prompt_batches
from ftool.model.answers.search import NO_LABEL, Ranking, Search
from ftool.model.answers.trie import ROOT, LabelTrie, make_trie
from ftool.model.compute.branches import Branches, Call, branching
from ftool.model.compute.forward import TOLERANCE, unwrapped
from ftool.model.compute.prefix import common_length
from ftool.shortage import is_out_of_memory

BATCH_SIZE = 64
BATCH_TOKENS = 4096
"""Tokens of the prompts of one batch, besides what all prompts begin with."""
CHECKED = 5
"""The likeliest labels, and as many others, whose likelihoods are checked on two prompts."""
METHODS = ("trie", "copied caches", "full rows")
"""How labels can be ranked, the quickest first."""

_METHOD_OF: "WeakKeyDictionary[torch.nn.Module, str]" = WeakKeyDictionary()


def rank_labels(
    model: Any,
    prompts: Sequence[Sequence[int]],
    labels: Sequence[Sequence[int]],
    *,
    batch_size: int = BATCH_SIZE,
    method: str = METHODS[0],
    certain: bool = False,
) -> list[Ranking]:
    """Find the likeliest label of every prompt, exactly; see `ranked_batches`."""
    found: dict[int, Ranking] = {}
    for batch in ranked_batches(
        model, prompts, labels, batch_size=batch_size, method=method, certain=certain
    ):
        found.update(batch)
    return [found[place] for place in range(len(prompts))]


@torch.inference_mode()
def ranked_batches(
    model: Any,
    prompts: Sequence[Sequence[int]],
    labels: Sequence[Sequence[int]],
    *,
    batch_size: int = BATCH_SIZE,
    method: str = METHODS[0],
    certain: bool = False,
    known: Set[int] = frozenset(),
) -> Iterator[dict[int, Ranking]]:
    """Find the likeliest label of every prompt, exactly, a batch of prompts at a time.

    What all prompts begin with runs once, the rest of a prompt once; labels continue it, sharing
    their common beginnings, and only those beginnings are run that could still win.

    Args:
        model: a causal language model in eval mode.
        prompts: token ids, ready for the answer.
        labels: token ids of each label, ended by the end-of-turn token.
        batch_size: prompts at a time; it never changes the result.
        method: one of METHODS, as `ranking_method` found.
        certain: look on until the winner's probability among the labels is certain.
        known: places of prompts whose rankings are not wanted; batches of these alone are left
            out, the others are as if all were wanted, to the last bit.

    Yields:
        Rankings by the place of their prompt.

    Raises:
        ValueError: two labels have the same tokens.
    """
    trie = make_trie(labels)
    if method == METHODS[0]:
        with branching(model):
            for rows, searches in _searched(model, prompts, trie, batch_size, certain, known):
                rankings = [search.ranking() for search in searches]
                yield dict(zip(rows, rankings, strict=True))
        return
    score = {"copied caches": scores_of_copies, "full rows": scores_in_full}[method]
    for place, prompt in enumerate(prompts):
        if place not in known:
            yield {place: _of_all(score(model, prompt, labels))}


def _of_all(scores: Sequence[tuple[float, bool]]) -> Ranking:
    logs = [score for score, _ in scores]
    best = max(range(len(logs)), key=logs.__getitem__) if all(map(math.isfinite, logs)) else -1
    mass = min(0.0, float(torch.tensor(logs, dtype=torch.float64).logsumexp(0)))
    greedy = next((place for place, (_, is_greedy) in enumerate(scores) if is_greedy), NO_LABEL)
    return Ranking(best, logs[best], (mass, mass), greedy)


@torch.inference_mode()
def ranking_method(
    model: Any, prompts: Sequence[Sequence[int]], labels: Sequence[Sequence[int]]
) -> str:
    """Find out which way of ranking gives the likelihoods of plain full rows.

    Recurrent layers and windowed attention do not work on a trie. Found out once for a model, on
    its longest and its shortest prompt.
    """
    inner = unwrapped(model)
    if inner not in _METHOD_OF:
        tried = [max(prompts, key=len), min(prompts, key=len)]
        checks: dict[str, Callable[[], bool]] = {
            "trie": lambda: _trie_agrees(model, tried, labels),
            "copied caches": lambda: _copies_agree(model, tried[0], labels[: 2 * CHECKED]),
        }
        _METHOD_OF[inner] = next((name for name, ok in checks.items() if _holds(ok)), METHODS[-1])
    return _METHOD_OF[inner]


def _holds(check: Callable[[], bool]) -> bool:
    try:
        return check()
    except (RuntimeError, ValueError, TypeError, AttributeError, IndexError, KeyError) as error:
        if is_out_of_memory(error):
            raise
        return False


def _trie_agrees(
    model: Any, prompts: Sequence[Sequence[int]], labels: Sequence[Sequence[int]]
) -> bool:
    """Compare the best finished labels and some others with full rows."""
    with branching(model):
        batches = list(_searched(model, prompts, make_trie(labels), len(prompts), False))
    dice = random.Random(len(labels))
    for row, search in (
        (r, s) for rows, searches in batches for r, s in zip(rows, searches, strict=True)
    ):
        best = sorted(search.finished, key=search.finished.__getitem__)[-CHECKED:]
        others = dice.sample(range(len(labels)), min(CHECKED, len(labels)))
        chosen = sorted({*best, *others})
        plain = scores_in_full(model, prompts[row], [labels[label] for label in chosen])
        winner = search.ranking().log_probability
        for label, (score, _) in zip(chosen, plain, strict=True):
            near = _tolerance(model, labels[label])
            found = search.finished.get(label)
            if found is None and score > winner + near * max(1.0, -winner):
                return False
            if found is not None and not _is_near(found, score, near):
                return False
    return True


def _copies_agree(model: Any, prompt: Sequence[int], labels: Sequence[Sequence[int]]) -> bool:
    pairs = zip(
        scores_of_copies(model, prompt, labels),
        scores_in_full(model, prompt, labels),
        labels,
        strict=True,
    )
    return all(
        _is_near(one, other, _tolerance(model, label)) for (one, _), (other, _), label in pairs
    )


def _tolerance(model: Any, label: Sequence[int]) -> float:
    return TOLERANCE[model.dtype] * len(label)


def _is_near(found: float, plain: float, tolerance: float) -> bool:
    # A diverged model's NaN says nothing about the method; it is told elsewhere.
    return math.isclose(found, plain, rel_tol=tolerance, abs_tol=tolerance) or math.isnan(plain)


def _searched(
    model: Any,
    prompts: Sequence[Sequence[int]],
    trie: LabelTrie,
    batch_size: int,
    certain: bool,
    known: Set[int] = frozenset(),
) -> Iterator[tuple[list[int], list[Search]]]:
    """Yield the places of a batch of prompts and their finished searches."""
    branches = Branches()
    begins = _run_beginning(model, prompts, branches)
    columns = _child_columns(trie, model.device)
    own = [len(prompt) - begins for prompt in prompts]
    for rows in prompt_batches(own, size=batch_size, tokens=BATCH_TOKENS):
        if all(row in known for row in rows):
            continue
        lengths = [own[row] for row in rows]
        searches = [Search(trie, certain) for _ in rows]
        logits = _run_prompts(model, [prompts[row][begins:] for row in rows], branches, begins)
        _expand(searches, [(slot, ROOT) for slot in range(len(rows))], logits, columns)
        while taken := [(s, node) for s, one in enumerate(searches) for node in one.take()]:
            logits = _run_nodes(model, searches, taken, lengths, branches, begins)
            _expand(searches, taken, logits, columns)
        yield rows, searches


def _run_beginning(model: Any, prompts: Sequence[Sequence[int]], branches: Branches) -> int:
    """Run what all prompts begin with; return how many tokens that is."""
    # Every prompt keeps a token of its own, whose logits are the first to be read.
    common = min(common_length(prompts), min(map(len, prompts)) - 1)
    if len(prompts) > 1 and common:
        shared = torch.tensor([list(prompts[0][:common])], device=model.device)
        model(input_ids=shared, use_cache=False, logits_to_keep=1, branches=branches)
        return common
    return 0


def _child_columns(trie: LabelTrie, device: torch.device) -> list[torch.Tensor]:
    """Return the tokens of every node's children."""
    return [torch.tensor(list(children), device=device) for children in trie.children]


def _expand(
    searches: Sequence[Search],
    taken: Sequence[tuple[int, int]],
    logits: torch.Tensor,
    columns: Sequence[torch.Tensor],
) -> None:
    """Give the searches what stands behind the nodes they took: logits [taken, vocabulary]."""
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    sizes = [len(columns[node]) for _, node in taken]
    rows = torch.repeat_interleave(torch.tensor(sizes)).to(logits.device)
    most, likeliest = logits.max(-1)
    steps = logits[rows, torch.cat([columns[node] for _, node in taken])] - most[rows]
    # In place, for the vocabulary is wide.
    steps -= logits.sub_(most[:, None]).exp_().sum(-1).log_()[rows]
    for (slot, node), of_node, token in zip(
        taken, torch.split(steps, sizes), likeliest.tolist(), strict=True
    ):
        searches[slot].expand(node, of_node.tolist(), token)


def _run_prompts(
    model: Any, prompts: Sequence[Sequence[int]], branches: Branches, begins: int
) -> torch.Tensor:
    """Run new branches; return the logits behind each, [branches, vocabulary]."""
    lengths = torch.tensor([len(prompt) for prompt in prompts])
    slots = torch.repeat_interleave(lengths)
    columns = torch.cat([torch.arange(length) for length in lengths.tolist()])
    longest = int(lengths.max())
    call = Call(slots, columns, columns, len(prompts), longest, longest, None)
    tokens = [token for prompt in prompts for token in prompt]
    return _run(model, tokens, columns + begins, lengths.cumsum(0) - 1, call, branches)


def _run_nodes(
    model: Any,
    searches: Sequence[Search],
    taken: Sequence[tuple[int, int]],
    lengths: Sequence[int],
    branches: Branches,
    begins: int,
) -> torch.Tensor:
    """Append nodes to their branches; each sees its prompt, its ancestors and itself."""
    trie, counts = searches[0].trie, [0] * len(searches)
    slots, columns, places, seen = list[int](), list[int](), list[int](), list[tuple[int, ...]]()
    for slot, node in taken:
        search, place = searches[slot], counts[slot]
        column = search.column[node] = lengths[slot] + len(search.column)
        counts[slot] += 1
        slots.append(slot)
        columns.append(column)
        places.append(place)
        seen.append((slot, place, column))
        seen += [(slot, place, search.column[above]) for above in trie.ancestors(node)]
    width, used = max(counts), max(columns) + 1
    sees = torch.arange(used) < torch.tensor(lengths)[:, None]
    sees = sees[:, None].repeat(1, width, 1)  # [branches, width, used]
    sees[tuple(torch.tensor(seen).T)] = True
    where = (torch.tensor(slots), torch.tensor(columns), torch.tensor(places))
    call = Call(*where, len(searches), width, used, sees)
    depths = [trie.depth[node] + lengths[slot] - 1 + begins for slot, node in taken]
    tokens = [trie.token[node] for _, node in taken]
    return _run(model, tokens, torch.tensor(depths), torch.arange(len(taken)), call, branches)


def _run(
    model: Any,
    tokens: Sequence[int],
    positions: torch.Tensor,
    keep: torch.Tensor,
    call: Call,
    branches: Branches,
) -> torch.Tensor:
    """Run tokens of many branches in one row; return the logits at `keep`."""
    device = model.device
    branches.start(call.to(device), model.dtype)
    return model(  # type: ignore[no-any-return]
        input_ids=torch.tensor([tokens], device=device),
        position_ids=positions[None].to(device),
        # A mask of four dimensions is passed on as it is, and read by nothing.
        attention_mask=torch.zeros(1, 1, 1, 1, device=device),
        use_cache=False,
        logits_to_keep=keep.to(device),
        branches=branches,
    ).logits[0]
