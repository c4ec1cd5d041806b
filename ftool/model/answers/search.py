"""Best-first search for the likeliest label of one prompt, with bounds for all labels together."""

import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from ftool.model.answers.trie import ROOT, LabelTrie

NO_LABEL = -1
CERTAIN = 0.01
"""How far apart the bounds of the winner's probability may be where certainty is asked for."""


@dataclass(frozen=True, slots=True)
class Ranking:
    """The likeliest label (its index) and log P(label, end of turn | prompt) in nats.

    `log_mass` holds bounds of the log of the sum over all labels: what was not looked at is at
    most as likely as the beginnings where the search stopped. `greedy` is the label that greedy
    generation would give, NO_LABEL where it would give none.
    """

    label: int
    log_probability: float
    log_mass: tuple[float, float] = (-math.inf, 0.0)
    greedy: int = NO_LABEL

    @property
    def probability_bounds(self) -> tuple[float, float]:
        """Bounds of the label's probability among the labels."""
        low, high = self.log_mass
        return _ratio(self.log_probability, high), _ratio(self.log_probability, low)

    @property
    def off_label_bounds(self) -> tuple[float, float]:
        """Bounds of the probability that the model says none of the labels."""
        low, high = (min(1.0, math.exp(min(0.0, mass))) for mass in self.log_mass)
        return 1.0 - high, 1.0 - low


def _ratio(log_part: float, log_whole: float) -> float:
    return min(1.0, math.exp(min(0.0, log_part - log_whole)))


@dataclass(slots=True)
class Search:
    """The open beginnings of one prompt, the likeliest first, and the labels that are finished."""

    trie: LabelTrie
    certain: bool = False
    finished: dict[int, float] = field(default_factory=dict)
    column: dict[int, int] = field(default_factory=dict)
    _open: list[tuple[float, int]] = field(default_factory=list)
    _score: dict[int, float] = field(default_factory=lambda: {ROOT: 0.0})
    _likeliest: dict[int, int] = field(default_factory=dict)
    _best: tuple[float, int] = (-math.inf, -NO_LABEL)  # of equally likely labels the first

    def expand(self, node: int, steps: Sequence[float], likeliest: int) -> None:
        """Take in what stands behind a node.

        Args:
            node: that was run; its parent was expanded before.
            steps: log-probability of each child, in the trie's order.
            likeliest: the token that the whole vocabulary puts first.
        """
        trie, score = self.trie, self._score[node]
        children = trie.children[node]
        self._likeliest[node] = children.get(likeliest, NO_LABEL)
        for child, step in zip(children.values(), steps, strict=True):
            reached = score + step
            label = trie.label[child]
            if label is not None:
                self.finished[label] = reached
                self._best = max(self._best, (reached, -label))
                continue
            self._score[child] = reached
            if child not in self.column:
                heapq.heappush(self._open, (-reached, child))

    def take(self) -> list[int]:
        """Remove the open beginning to run next, with the nodes that follow it without a choice.

        A label is never likelier than its beginning, so once no open one beats the best label,
        that label is exact. Certainty and the greedy answer may need a few more.
        """
        node = self._next()
        return [] if node is None else self.trie.chain(node)

    def _next(self) -> int | None:
        if self._open and (-self._open[0][0] > self._best[0] or self._is_uncertain()):
            return heapq.heappop(self._open)[1]
        waiting = self._greedy()[1]
        place = next((p for p, (_, node) in enumerate(self._open) if node == waiting), None)
        if place is None:
            return None
        del self._open[place]
        heapq.heapify(self._open)
        return waiting

    def _is_uncertain(self) -> bool:
        if not self.certain:
            return False
        low, high = self.ranking().probability_bounds
        return high - low > CERTAIN

    def _greedy(self) -> tuple[int, int | None]:
        """Follow the likeliest tokens to a label, out of the trie, or to a node not yet run."""
        node = ROOT
        while node in self._likeliest:
            node = self._likeliest[node]
            if node == NO_LABEL:
                return NO_LABEL, None
            label = self.trie.label[node]
            if label is not None:
                return label, None
        return NO_LABEL, node

    def ranking(self) -> Ranking:
        """Return what is known so far."""
        low = _log_sum(list(self.finished.values()))
        high = _log_sum([low, *(-score for score, _ in self._open)])
        return Ranking(
            -self._best[1], self._best[0], (min(0.0, low), min(0.0, high)), self._greedy()[0]
        )


def _log_sum(logs: Sequence[float]) -> float:
    """Return log(sum(exp(logs))) without overflow."""
    most = max(logs, default=-math.inf)
    if not math.isfinite(most):
        return most
    return most + math.log(math.fsum(math.exp(value - most) for value in logs))
