import re
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftool.eval.show.drawings import HEIGHT, WIDTH, Line, chart

number = st.floats(-1e6, 1e6, allow_nan=False)


@given(st.lists(st.tuples(number, number), min_size=1, max_size=20))
def test_every_curve_is_well_formed_and_inside_the_picture(
    points: list[tuple[float, float]],
) -> None:
    drawn = chart([Line("loss", points), Line("other", points)], x="step", y="loss")
    ElementTree.fromstring(drawn)
    paths = re.findall(r'<path d="M([^"HV]*)" stroke="#0072B2" stroke-width="2"', drawn)
    for place in re.split("[ML]", paths[0]):
        x, y = map(float, place.split())
        assert 0 <= x <= WIDTH and 0 <= y <= HEIGHT


def test_points_lie_where_their_values_are() -> None:
    drawn = chart([Line("a", [(0, 0), (10, 4)])], x="x", y="y")
    assert 'd="M48.0 220.0L388.0 12.0"' in drawn
    assert re.findall(r'middle">(\d+)</text>', drawn) == ["0", "2", "4", "6", "8", "10"]
    assert re.findall(r'end">(\d)</text>', drawn) == ["0", "1", "2", "3", "4"]


def test_points_with_bars_and_the_diagonal() -> None:
    line = Line("answers", [(0.5, 0.5), (1.0, 0.75)], [(0.25, 0.75), (0.5, 1.0)])
    whole = (0.0, 1.0)
    drawn = chart([line], x="p", y="right", x_range=whole, y_range=whole, diagonal=True)
    assert drawn.count("<circle") == 2
    assert "stroke-dasharray" in drawn and "M48.0 220.0L388.0 12.0" in drawn
    assert "M218.0 168.0V64.0" in drawn  # 0.25 to 0.75 at 0.5


def test_names_cannot_act_in_the_page() -> None:
    drawn = chart([Line("<script>", [(0, 1)]), Line("b", [(1, 2)])], x="<x>", y='"y"')
    assert "<script>" not in drawn and "&lt;script&gt;" in drawn and "&lt;x&gt;" in drawn


@pytest.mark.parametrize("value", [0.0, 5.0, -3.25])
def test_a_single_value_has_room(value: float) -> None:
    assert "nan" not in chart([Line("a", [(value, value)])], x="x", y="y")
