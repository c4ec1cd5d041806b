import pytest
from scipy.stats import fisher_exact

from ftool.artifacts import Prediction
from ftool.errors import RecipeError
from ftool.eval.measure.paired import holm
from ftool.eval.measure.slices import MISSING, OTHERS, VALUES_SHOWN, column_values, slices_of
from ftool.example import Example
from ftool.metrics import score_labels, wilson

NAMES = ("a", "b")


def example(**extra: object) -> Example:
    return Example(id="x", text="x", extra=extra)


def answers(rights: list[bool]) -> list[Prediction]:
    return [Prediction(str(n), "a", "a" if right else "b", "") for n, right in enumerate(rights)]


def test_values_are_text_and_missing_ones_have_a_name() -> None:
    rows = [example(channel="mail", n=1), example(channel=None), example(channel=7), example()]
    assert column_values(rows, "channel") == ["mail", MISSING, "7", MISSING]
    with pytest.raises(RecipeError, match=r"`chanel` is not a column.*did you mean `channel`.*, n"):
        column_values(rows, "chanel")
    with pytest.raises(RecipeError, match="it has none") as caught:
        column_values([example()], "channel")
    assert "data.keep_columns" in caught.value.hint


def test_a_slice_is_scored_like_data_of_its_own() -> None:
    rows = answers([True] * 60 + [False] * 4 + [True] * 10 + [False] * 12)
    values = ["mail"] * 64 + ["chat"] * 22
    mail, chat = slices_of(rows, values, NAMES)
    assert (mail.value, mail.examples, mail.accuracy) == ("mail", 64, wilson(60, 64))
    assert (chat.value, chat.examples, chat.accuracy) == ("chat", 22, wilson(10, 22))
    own = score_labels(["a"] * 22, [row.predicted for row in rows[64:]], NAMES, draws=2_000)
    assert chat.f1_macro == own.metrics["f1_macro"]
    p_values = [
        float(fisher_exact([[60, 4], [10, 12]], alternative="less").pvalue),
        float(fisher_exact([[10, 12], [60, 4]], alternative="less").pvalue),
    ]
    assert [mail.p_value, chat.p_value] == pytest.approx(holm(p_values))
    assert (mail.is_weaker, chat.is_weaker) == (False, True)
    assert chat.as_dict()["is_weaker"] is True


def test_rare_values_are_one_slice() -> None:
    values = [f"v{n:02d}" for n in range(40) for _ in range(2 if n < 5 else 1)]
    found = slices_of(answers([True] * len(values)), values, NAMES)
    assert len(found) == VALUES_SHOWN
    assert [part.value for part in found[:6]] == ["v00", "v01", "v02", "v03", "v04", "v05"]
    assert found[-1].value == OTHERS
    assert sum(part.examples for part in found) == len(values)
    assert found[-1].examples == 21


def test_groups_widen_slices_too() -> None:
    rows = answers([True, True, False, True] * 15)
    values = ["x"] * 60
    groups = [str(n // 4) for n in range(60)]
    (alone,) = slices_of(rows, values, NAMES)
    (grouped,) = slices_of(rows, values, NAMES, groups=groups)
    assert grouped.accuracy.value == alone.accuracy.value == 0.75
    assert grouped.accuracy.high == grouped.accuracy.low == 0.75  # every group is the same
