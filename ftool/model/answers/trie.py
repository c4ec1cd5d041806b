"""The labels' token sequences as a tree, in which common beginnings are there once."""

from collections.abc import Sequence
from dataclasses import dataclass, field

ROOT = 0
"""The node of the empty beginning."""


@dataclass(slots=True)
class LabelTrie:
    """Nodes by number, parents first.

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
            ValueError: another label has the same tokens, or ends where this one goes on.
        """
        node = ROOT
        for token in sequence:
            if self.label[node] is not None:
                raise ValueError(f"label {label} goes on where label {self.label[node]} ends")
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
        while (node := self.parent[node]) > ROOT:
            above.append(node)
        return above

    def chain(self, node: int) -> list[int]:
        """Return an inner node and the inner nodes that follow it without a choice."""
        chain = [node]
        while len(self.children[chain[-1]]) == 1:
            (only,) = self.children[chain[-1]].values()
            if self.label[only] is not None:
                break
            chain.append(only)
        return chain


def make_trie(labels: Sequence[Sequence[int]]) -> LabelTrie:
    """Build the trie of labels that are each ended by the end-of-turn token.

    Raises:
        ValueError: there are none, or two cannot be told apart.
    """
    if not labels:
        raise ValueError("there are no labels")
    trie = LabelTrie()
    for index, label in enumerate(labels):
        trie.add(label, index)
    return trie
