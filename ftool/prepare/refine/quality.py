"""Published rules for web text, Gopher's and C4's: a value and a threshold each."""

import re
from collections.abc import Callable, Iterator, Sequence

from ftool.prepare.refine.repetition import (
    repeated_parts_shares,
    repeated_phrases_share,
    top_phrase_share,
)

Outcome = tuple[bool, str, float | None, float | None]
"""Whether a rule is kept, a sentence with what was measured, the value and the threshold."""

STOP_WORDS = frozenset(("the", "be", "to", "of", "and", "that", "have", "with"))
BULLETS = ("\u2022", "\u2023", "\u25b6", "\u25c0", "\u25e6", "\u25a0", "\u25a1", "\u25aa", "*", "-")
ELLIPSES = ("...", "\u2026")

TOP_PHRASES = {2: 0.20, 3: 0.18, 4: 0.16}
"""Words in a row -> largest share of characters in the most frequent phrase."""
REPEATED_PHRASES = {5: 0.15, 6: 0.14, 7: 0.13, 8: 0.12, 9: 0.11, 10: 0.10}
"""Words in a row -> largest share of characters in repeated phrases."""

LEAST_SENTENCES = 3
LEAST_WORDS_OF_A_LINE = 5
POLICIES = (
    "terms of use",
    "privacy policy",
    "cookie policy",
    "uses cookies",
    "use of cookies",
    "use cookies",
)
_ENDS = (".", "!", "?", '"', "\u201d", "\u3002", "\uff01", "\uff1f")
_SENTENCE_END = re.compile("[.!?]+[\"'\u201d\u2019)]*(?=\\s|\\Z)|[\u3002\uff01\uff1f]+")
_PARAGRAPH = re.compile(r"\n(?:[ \t]*\n)+")


def gopher(text: str, *, english: bool = True) -> Iterator[tuple[str, Outcome]]:
    """Hold a text against Gopher's rules: rule by rule, so that the caller may stop early.

    Args:
        text: a text of a corpus.
        english: whether it may be English; the stop words are English ones.

    Source: Rae et al. 2021, arXiv 2112.11446, section A.1.1 and table A1.
    """
    words = text.split()
    yield from _gopher_words(words, english=english)
    yield from _gopher_lines([line for line in text.split("\n") if line.strip()])
    paragraphs = [part for part in _PARAGRAPH.split(text) if part.strip()]
    share, characters = repeated_parts_shares(paragraphs)
    yield "gopher_repeated_paragraphs", _at_most(share, 0.3, "of the paragraphs repeat")
    yield (
        "gopher_repeated_paragraph_characters",
        _at_most(characters, 0.2, "of the characters stand in repeated paragraphs"),
    )
    yield from _gopher_phrases(words)


def _gopher_words(words: Sequence[str], *, english: bool) -> Iterator[tuple[str, Outcome]]:
    count = len(words)
    yield "gopher_word_count", _between(count, 50, 100_000, "words")
    mean = sum(map(len, words)) / count if count else 0.0
    yield "gopher_mean_word_length", _between(mean, 3, 10, "characters a word")
    text = " ".join(words)
    hashes = text.count("#") / max(count, 1)
    yield "gopher_hash_ratio", _at_most(hashes, 0.1, "`#` a word")
    dots = sum(map(text.count, ELLIPSES)) / max(count, 1)
    yield "gopher_ellipsis_ratio", _at_most(dots, 0.1, "ellipses a word")
    alphabetic = sum(any(map(str.isalpha, word)) for word in words) / max(count, 1)
    yield "gopher_alphabetic_words", _at_least(alphabetic, 0.8, "of the words have a letter")
    if english:
        found = len(STOP_WORDS & {word.strip(".,;:!?\"'()").lower() for word in words})
        yield "gopher_stop_words", _at_least(found, 2, "different stop words")


def _gopher_lines(lines: Sequence[str]) -> Iterator[tuple[str, Outcome]]:
    count = max(len(lines), 1)
    bullets = sum(line.lstrip().startswith(BULLETS) for line in lines) / count
    yield "gopher_bullet_lines", _at_most(bullets, 0.9, "of the lines begin with a bullet")
    cut = sum(line.rstrip().endswith(ELLIPSES) for line in lines) / count
    yield "gopher_ellipsis_lines", _at_most(cut, 0.3, "of the lines end in an ellipsis")
    share, characters = repeated_parts_shares(lines)
    yield "gopher_repeated_lines", _at_most(share, 0.3, "of the lines repeat")
    yield (
        "gopher_repeated_line_characters",
        _at_most(characters, 0.2, "of the characters stand in repeated lines"),
    )


def _gopher_phrases(words: Sequence[str]) -> Iterator[tuple[str, Outcome]]:
    for size, most in TOP_PHRASES.items():
        share = top_phrase_share(words, size)
        told = f"of the characters stand in the most frequent {size} words in a row"
        yield "gopher_top_phrase", _at_most(share, most, told)
    share = 1.0
    for size, most in REPEATED_PHRASES.items():
        # Without repeats of five words there are none of six.
        share = repeated_phrases_share(words, size) if share else 0.0
        told = f"of the characters stand in repeated {size} words in a row"
        yield "gopher_repeated_phrases", _at_most(share, most, told)


def c4(text: str) -> Iterator[tuple[str, Outcome]]:
    """Hold a text against C4's rules: rule by rule, so that the caller may stop early.

    C4 takes lines away and drops what is left with too few sentences. Here texts stay as they
    are: the same texts are dropped, by the sentences in the lines that C4 would leave.

    Source: Raffel et al. 2020, arXiv 1910.10683, section 2.2; five words a line and three
    sentences as in the published code.
    """
    lower = text.lower()
    yield "c4_curly_brace", _at_most(text.count("{"), 0, "curly braces")
    yield "c4_lorem_ipsum", _at_most(lower.count("lorem ipsum"), 0, "times `lorem ipsum`")
    lines = text.split("\n")
    yield "c4_sentences", _enough_sentences(lines, "")
    lines = [line for line in lines if _is_sentence_line(line.strip())]
    yield "c4_terminal_punctuation", _enough_sentences(lines, " in lines that end like one")
    lines = [line for line in lines if "javascript" not in line.lower()]
    yield "c4_javascript", _enough_sentences(lines, " in lines without `javascript`")
    lines = [line for line in lines if not any(said in line.lower() for said in POLICIES)]
    yield "c4_policy", _enough_sentences(lines, " in lines without cookie and privacy notices")


def _is_sentence_line(line: str) -> bool:
    ends = line.endswith(_ENDS) and not line.endswith(ELLIPSES)
    return ends and len(line.split()) >= LEAST_WORDS_OF_A_LINE


def _enough_sentences(lines: Sequence[str], where: str) -> Outcome:
    count = sum(len(_SENTENCE_END.findall(line)) for line in lines)
    return _at_least(count, LEAST_SENTENCES, f"sentences{where}")


def _at_most(value: float, most: float, told: str) -> Outcome:
    return value <= most, f"{_figure(value)} {told}; at most {most:g}", value, most


def _at_least(value: float, least: float, told: str) -> Outcome:
    return value >= least, f"{_figure(value)} {told}; at least {least:g}", value, least


def _between(value: float, least: float, most: float, told: str) -> Outcome:
    """Name the bound that is broken, or the nearer one, as the threshold."""
    threshold = most if value - least > most - value else least
    sentence = f"{_figure(value)} {told}; from {least:g} to {most:,}"
    return least <= value <= most, sentence, value, threshold


def _figure(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.3f}"


QUALITY: dict[str, Callable[[str, bool], Iterator[tuple[str, Outcome]]]] = {
    "gopher": lambda text, english: gopher(text, english=english),
    "c4": lambda text, _: c4(text),
}
"""Name in `filter.quality` -> its rules, in order."""
