"""Where and how the model is published."""

from typing import Literal

from ftool.recipe.types import Block


class Hub(Block):
    """Where and how the model is published."""

    repo: str | None = None
    """Repository id, `name` or `owner/name`."""
    private: bool = True
    """Only its owner sees a new repository."""
    license: str | None = None
    """Licence of the tuned model; the base model's when unset."""
    merged: Literal["auto"] | bool = "auto"
    """Push merged weights, not the adapter; `auto` merges where the base is not on the Hub."""
