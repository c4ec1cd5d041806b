"""Tokens of examples, counted by the base model's tokenizer.json where it lies on this machine."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftool.errors import DataError
from ftool.example import Example
from ftool.model.weights.place import tokenizer_file

if TYPE_CHECKING:
    from ftool.recipe.schema import Recipe


@dataclass(frozen=True, slots=True)
class TokenCounter:
    """Counts the tokens of an example's contents, without those of the chat template."""

    file: Path

    def __call__(self, example: Example) -> int:
        """Return the number of tokens."""
        tokenizer = _tokenizer(self.file)
        texts = [example.text] if example.text is not None else []
        texts += [message.content for message in example.messages]
        return sum(len(tokenizer.encode(text, add_special_tokens=False).ids) for text in texts)


@lru_cache(maxsize=1)
def _tokenizer(file: Path) -> Any:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(file))
    tokenizer.no_truncation()
    return tokenizer


def tokenizer_of(recipe: "Recipe") -> TokenCounter | None:
    """Return what counts tokens, where the base model's tokenizer is on this machine."""
    file = tokenizer_file(recipe.model, recipe.folder)
    return TokenCounter(file) if file is not None and _is_readable(file) else None


def _is_readable(file: Path) -> bool:
    try:
        _tokenizer(file)
    except Exception:  # the library raises nothing narrower
        return False
    return True


def token_counter(recipe: "Recipe") -> TokenCounter | None:
    """Return what counts tokens where `filter.max_tokens` asks for it.

    Raises:
        DataError: the tokenizer is not on this machine yet.
    """
    if recipe.data.filter.max_tokens is None:
        return None
    counter = tokenizer_of(recipe)
    if counter is None:
        raise DataError(
            f"data.filter.max_tokens: the tokenizer of {recipe.model.base} is not on this machine",
            hint="prepare without it and train once, or use data.filter.max_characters",
        )
    return counter
