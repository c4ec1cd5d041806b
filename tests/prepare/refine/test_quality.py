import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftool.prepare.refine.quality import QUALITY, c4, gopher
from ftool.prepare.write.describe import REASONS

SENTENCES = [
    "The harbour of the town was built by hand and it took the people many years to finish it.",
    "Ships that carried salt would wait for days until wind and tide allowed them to enter.",
    "Later a railway came, so that fish could be sold in cities far away on the same evening.",
    "Visitors still climb the old tower, because nothing else offers such a wide view of the bay.",
]
GOOD = "\n".join(SENTENCES)


def faults(rules: object) -> list[str]:
    return [reason for reason, (passes, *_) in rules if not passes]  # type: ignore[attr-defined]


def first(text: str) -> str:
    return next(iter(faults(gopher(text))), "")


def test_good_prose_passes() -> None:
    assert faults(gopher(GOOD)) == faults(c4(GOOD)) == []


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (SENTENCES[0], "gopher_word_count"),
        ("word " * 100_001, "gopher_word_count"),
        ("a b to the " * 20, "gopher_mean_word_length"),
        ("incomprehensibilities the " * 40, "gopher_mean_word_length"),
        (GOOD.replace(" the ", " #the ").replace(" and ", " #and# "), "gopher_hash_ratio"),
        (
            GOOD.replace(" the ", "... the ").replace(" and ", "... and... "),
            "gopher_ellipsis_ratio",
        ),
        (GOOD + " 1234 5678" * 12, "gopher_alphabetic_words"),
        (GOOD.translate(str.maketrans("eoa", "éöä")), "gopher_stop_words"),
        ("\n".join(f"- {line}" for line in SENTENCES), "gopher_bullet_lines"),
        ("\n".join(f"{line[:-1]}..." for line in SENTENCES), "gopher_ellipsis_lines"),
        ("\n".join(SENTENCES * 2), "gopher_repeated_lines"),
        (
            "\n".join([*SENTENCES, SENTENCES[0] * 2, SENTENCES[0] * 2]),
            "gopher_repeated_line_characters",
        ),
    ],
)
def test_gopher_rules(text: str, reason: str) -> None:
    assert first(text) == reason


def test_gopher_paragraphs_and_phrases() -> None:
    found = {reason: outcome for reason, outcome in gopher("\n\n".join(SENTENCES * 2))}
    assert found["gopher_repeated_paragraphs"][2:] == (0.5, 0.3)
    assert found["gopher_repeated_paragraph_characters"][2:] == (0.5, 0.2)
    phrase = "salt and wind and tide come and go "
    assert "gopher_top_phrase" in faults(gopher(phrase * 10))
    once = " ".join(SENTENCES)
    assert faults(gopher(f"{once} {once}")) == ["gopher_repeated_phrases"] * 6


def test_gopher_value_and_threshold() -> None:
    outcomes = dict(gopher("word to the of " * 10))
    passes, sentence, value, threshold = outcomes["gopher_word_count"]
    assert (passes, sentence, value, threshold) == (False, "40 words; from 50 to 100,000", 40, 50)
    mean = outcomes["gopher_mean_word_length"]
    assert mean == (False, "2.750 characters a word; from 3 to 10", 2.75, 3)


def test_stop_words_are_english() -> None:
    assert "gopher_stop_words" not in dict(gopher(GOOD, english=False))
    assert "gopher_stop_words" in dict(gopher(GOOD, english=True))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (GOOD + " {", ["c4_curly_brace"]),
        (GOOD + " Lorem ipsum.", ["c4_lorem_ipsum"]),
        ("\n".join(SENTENCES[:3]), []),
        (
            "\n".join(SENTENCES[:2]),
            ["c4_sentences", "c4_terminal_punctuation", "c4_javascript", "c4_policy"],
        ),
        (
            "\n".join([*SENTENCES[:2], "One. Two. Three", "Too short."]),
            ["c4_terminal_punctuation", "c4_javascript", "c4_policy"],
        ),
        (
            "\n".join([*SENTENCES[:2], "Please turn on JavaScript in your browser."]),
            ["c4_javascript", "c4_policy"],
        ),
        ("\n".join([*SENTENCES[:2], "This site uses cookies for its visitors."]), ["c4_policy"]),
        ("\n".join([*SENTENCES[:2], "This line of five words..."]), ["c4_terminal_punctuation"]),
    ],
)
def test_c4_rules(text: str, expected: list[str]) -> None:
    assert faults(c4(text))[: len(expected)] == expected
    assert bool(faults(c4(text))) == bool(expected)


def test_c4_sentences() -> None:
    def count(text: str) -> float | None:
        return dict(c4(text))["c4_sentences"][2]

    assert [
        count("One. Two! Three?"),
        count('He said "no." Then 3.5 left...'),
        count("好。是的。"),
    ] == [3, 2, 2]


@given(st.text(alphabet=st.sampled_from("ab.-#{ \n…?\u3002"), max_size=80))
def test_every_text_has_an_outcome_of_known_reason(text: str) -> None:
    for rules in QUALITY.values():
        for reason, (passes, sentence, value, threshold) in rules(text, True):
            assert reason in REASONS and sentence
            assert value is not None and threshold is not None and value >= 0
            assert isinstance(passes, bool)
