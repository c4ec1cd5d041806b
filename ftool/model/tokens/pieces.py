"""Many texts -> token ids: equal pieces once, in one call."""

import re
from collections.abc import Iterable
from typing import Any


def find_cuts(tokenizer: Any, known: str) -> re.Pattern[str] | None:
    """Find the special tokens in front of which a text may be cut without changing its token ids.

    A tokenizer takes added tokens out of a text before all else, the leftmost and then the longest
    first, and works on what lies between them apart. So a text may be cut in front of one that no
    other can hide and that takes no spaces around it.

    Args:
        tokenizer: whose added tokens are looked at.
        known: a text with the tokens that matter, as a chat template; others cut nothing.

    Returns:
        A pattern to split texts by; None where there is no such token.

    Source: `AddedVocabulary::extract_and_normalize` of huggingface/tokenizers.
    """
    if not tokenizer.is_fast or tokenizer.split_special_tokens:
        return None
    added = [token for token in tokenizer.added_tokens_decoder.values() if not token.normalized]
    cuts = [
        token.content
        for token in added
        if token.content in known
        and token.content == token.content.strip() != ""
        and not (token.lstrip or token.rstrip or token.single_word)
        and not any(_may_hide(other.content, token.content) for other in added)
    ]
    return re.compile(f"(?={'|'.join(map(re.escape, cuts))})") if cuts else None


def _may_hide(other: str, cut: str) -> bool:
    """Say whether some text has both so that they overlap, the other not behind the cut."""
    starts = range(int(other == cut), len(other))
    return any(cut.startswith(other[at:]) or other.startswith(cut, at) for at in starts)


def split_pieces(text: str, cuts: re.Pattern[str] | None) -> list[str]:
    """Split a text into pieces whose token ids, joined, are those of the text."""
    return [piece for piece in (cuts.split(text) if cuts else [text]) if piece]


def tokenize(tokenizer: Any, texts: Iterable[str]) -> dict[str, list[int]]:
    """Tokenize the distinct ones of many texts in one call, which works on all processors."""
    distinct = list(dict.fromkeys(texts))
    if not distinct:
        return {}
    ids = tokenizer(distinct, add_special_tokens=False, return_attention_mask=False)["input_ids"]
    return dict(zip(distinct, ids, strict=True))
