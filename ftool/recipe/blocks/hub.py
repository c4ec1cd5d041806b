"""Where and how the model is published."""

from typing import Annotated, Literal

from pydantic import AfterValidator

from ftool.recipe.licenses import known_to_the_hub
from ftool.recipe.types import Block


class Hub(Block):
    """Where and how the model is published."""

    repo: str | None = None
    """Repository id, `name` or `owner/name`."""
    private: bool = True
    """Only its owner sees a new repository."""
    license: Annotated[str, AfterValidator(known_to_the_hub)] | None = None
    """Licence of the tuned model, as the Hub names it (`mit`, `apache-2.0`, `other`); the base
    model's when unset."""
    merged: Literal["auto"] | bool = "auto"
    """Push merged weights, not the adapter; `auto` merges where the base is not on the Hub."""
