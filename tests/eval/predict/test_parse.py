import pytest

from ftool.eval.predict.parse import STEPS, read_label

LABELS = ["card_arrival", "refund", "top-up failed", "Yes", "yes", "Straße"]


def label_in(output: str, labels: list[str]) -> str | None:
    return read_label(output, labels)[0]


@pytest.mark.parametrize(
    ("output", "label"),
    [
        # exact
        ("refund", "refund"),
        ("card_arrival", "card_arrival"),
        (" refund\n", "refund"),
        # normalized
        ("Refund", "refund"),
        ("REFUND.", "refund"),
        ("card arrival", "card_arrival"),
        ("Card-Arrival", "card_arrival"),
        ("card  _ arrival!", "card_arrival"),
        ("top_up_failed", "top-up failed"),
        ('"refund"', "refund"),
        ("'refund'.", "refund"),
        ('"refund."', "refund"),
        ("`refund`", "refund"),
        ("\u201crefund\u201d", "refund"),
        ("\u00abrefund\u00bb !?", "refund"),
        ("STRASSE", "Straße"),
        # JSON
        ('{"label": "refund"}', "refund"),
        ('{"intent": "Card Arrival", "confidence": 0.9}', "card_arrival"),
        ('{"Category": "refund."}', "refund"),
        ('{"answer": "refund"}', "refund"),
        ('{"result": "refund"}', "refund"),
        ('```json\n{"label": "refund"}\n```', "refund"),
        ('{"label": "refund", "category": "money"}', "refund"),
        # two labels with one normalized form: exact only
        ("Yes", "Yes"),
        ("yes", "yes"),
        (" yes ", "yes"),
        ('{"label": "Yes"}', "Yes"),
        ("YES", None),
        ("yes.", None),
        # nothing is guessed
        ("", None),
        ("   ", None),
        ("...", None),
        ("the label is refund", None),
        ("refund card_arrival", None),
        ("refund, please", None),
        ("refunds", None),
        ("cardarrival", None),
        ('"refund', None),
        ('{"reason": "refund", "score": 1}', None),
        ('{"label": "refund", "intent": "card_arrival"}', None),
        ('{"label": "refund", "label": "card_arrival"}', None),
        ('{"label": ["refund"]}', None),
        ('{"label": null}', None),
        ('{"label": {"label": "refund"}}', None),
        ('{"label": "refund"', None),
        ('["refund"]', None),
        ('{"label": "refund"} I hope this helps', None),
        ("{}", None),
        ('{"a":' * 100_000, None),
    ],
)
def test_the_ladder(output: str, label: str | None) -> None:
    assert label_in(output, LABELS) == label


def test_signs_are_no_separators() -> None:
    assert label_in("-1", ["-1", "+1"]) == "-1"
    assert label_in("1", ["-1", "+1"]) is None
    assert label_in('{"label": -1}', ["-1", "+1"]) == "-1"


def test_labels_that_json_writes_without_quotes() -> None:
    assert label_in('{"label": true}', ["true", "false"]) == "true"
    assert label_in('{"label": 5}', ["4", "5"]) == "5"


def test_a_label_of_punctuation_is_read_exactly_and_never_by_default() -> None:
    assert label_in("?", ["?", "other"]) == "?"
    assert label_in("!", ["?", "other"]) is None
    assert label_in("", ["?", "other"]) is None


def test_accents_compare_composed() -> None:
    assert label_in("re\u0301clamation", ["r\u00e9clamation"]) == "r\u00e9clamation"


@pytest.mark.parametrize("label", ["card_arrival", "Why?", '"quoted"', "a - b", "C++", "退款。"])
def test_every_label_is_read_back(label: str) -> None:
    others = ["x", "y", label]
    for output in (label, f"{label}\n", f'"{label}"', f"{label}."):
        assert label_in(output, others) == label


@pytest.mark.parametrize(
    ("output", "step"),
    [
        ("refund", "exact"),
        (" refund\n", "exact"),
        ("Refund.", "normalized"),
        ('{"label": "Refund"}', "json"),
        ("a refund", None),
    ],
)
def test_the_step_that_reads_a_label_is_told(output: str, step: str | None) -> None:
    assert read_label(output, ["refund", "delivery"]) == (step and "refund", step)
    assert step is None or step in STEPS
