import json
import random
import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu.metrics import BLEU, CHRF

from ftool.eval.measure.text_scores import score_names, text_scores, token_f1

WORDS = ["the", "card", "Is", "on", "its", "way,", "today!", "3", "days", "ago.", "re-sent"]
TEXTS = st.lists(st.sampled_from(WORDS), max_size=9).map(" ".join)
PAIRS = st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=6)


def values(pairs):
    outputs, references = zip(*pairs, strict=True)
    return {name: found.value for name, found in text_scores(outputs, references).items()}


@settings(max_examples=40, deadline=None)
@given(PAIRS)
def test_scores_are_sacrebleus_and_rouge_scores(pairs):
    outputs, references = zip(*pairs, strict=True)
    scores = text_scores(outputs, references)
    rouge = RougeScorer(["rougeL"])
    each = [rouge.score(reference, output)["rougeL"].fmeasure for output, reference in pairs]
    assert scores["rouge_l"].value == pytest.approx(sum(each) / len(each))
    assert scores["bleu"].value == BLEU().corpus_score(outputs, [references]).score
    assert scores["chrf"].value == CHRF().corpus_score(outputs, [references]).score
    equal = sum(output == reference for output, reference in pairs)
    assert scores["exact_match"].value == pytest.approx(equal / len(pairs))
    for estimate in scores.values():
        assert estimate.low <= estimate.value + 1e-9 and estimate.value <= estimate.high + 1e-9


def test_equal_texts_have_the_best_scores_in_any_script():
    texts = ["Ihre Überweisung ist da.", "カードはまだ届いていません", "карта в пути", "ของคุณมาแล้ว"]
    best = values([(text, text) for text in texts])
    assert best == pytest.approx(
        {"exact_match": 1, "token_f1": 1, "rouge_l": 1, "chrf": 100, "bleu": 100}
    )
    part = values([("カードは届いています", "カードはまだ届いていません")])
    assert 0.5 < part["token_f1"] < 1 and 0.5 < part["rouge_l"] < 1


def test_words_count_as_often_as_they_stand_there():
    assert token_f1("a a b", "a b b") == pytest.approx(2 / 3)
    assert token_f1("A, b!", "a b") == 1
    assert token_f1("", "") == 1
    assert token_f1("", "a") == token_f1("a", "") == 0


def test_outer_white_space_is_no_difference():
    assert values([("yes\n", " yes"), ("no", "yes")])["exact_match"] == 0.5


def test_json_is_scored_field_by_field():
    references = ['{"intent": "refund", "amount": 5}', '{"intent": "card", "amount": 7}']
    outputs = ['```json\n{"amount": 5, "intent": "refund"}\n```', '{"intent": "card", "more": 1}']
    scores = values(zip(outputs, references, strict=True))
    assert scores["json_valid"] == 1
    assert scores["json_f1"] == pytest.approx(2 * 3 / (4 + 4))
    assert scores["json_f1[intent]"] == 1
    assert scores["json_f1[amount]"] == pytest.approx(2 * 1 / (1 + 2))
    broken = values(zip(["{", "[1]"], references, strict=True))
    assert broken["json_valid"] == broken["json_f1"] == 0


def test_text_has_no_json_scores():
    assert "json_valid" not in values([("{}", "{}"), ("{}", "words")])
    assert values([("{}", "{}")])["json_valid"] == 1


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.dictionaries(st.sampled_from("abc"), st.integers(0, 2), max_size=3),
        min_size=2,
        max_size=6,
    ),
    st.randoms(use_true_random=False),
)
def test_json_scores_are_counts_of_fields(references, dice):
    outputs = [{key: dice.choice([value, 9]) for key, value in one.items()} for one in references]
    scores = values(
        [(json.dumps(o), json.dumps(r)) for o, r in zip(outputs, references, strict=True)]
    )
    for key in {key for one in references for key in one}:
        pairs = [(o[key], r[key]) for o, r in zip(outputs, references, strict=True) if key in r]
        assert scores[f"json_f1[{key}]"] == pytest.approx(
            sum(o == r for o, r in pairs) / len(pairs)
        )


def test_intervals_narrow_with_more_answers():
    dice = random.Random(3)

    def width(count, name):
        references = ["".join(dice.choices(string.ascii_lowercase, k=8)) for _ in range(count)]
        outputs = [text if dice.random() < 0.6 else "nothing" for text in references]
        found = text_scores(outputs, references)[name]
        return found.high - found.low

    for name in ("exact_match", "token_f1", "rouge_l", "chrf"):
        assert width(400, name) < width(25, name)


def test_answers_and_references_come_in_pairs():
    for outputs, references in (([], []), (["a"], [])):
        with pytest.raises(ValueError, match="answers and"):
            text_scores(outputs, references)


def test_the_names_of_scores_are_known_before_the_answers() -> None:
    for references in (["a b", "c"], ['{"x": 1, "y": 2}', '{"z": 1}'], ["{}"], ['{"x": 1}', "no"]):
        assert score_names(references) == list(text_scores(references, references))
