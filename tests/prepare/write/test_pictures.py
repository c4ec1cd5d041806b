import re
from html import unescape
from typing import Any
from xml.etree import ElementTree

import matplotlib
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftool.prepare.write.pictures import (
    NAME_LETTERS,
    NAMELESS,
    WIDTH,
    bars,
    funnel,
    histograms,
    in_one_line,
    shortened,
    visible,
)

LENGTHS = {"edges": [0, 20, 40], "counts": [30, 70], "percentiles": {"50": 22, "95": 39}}


def texts(picture: str) -> list[str]:
    return [unescape(found) for found in re.findall(r"<text[^>]*>([^<]*)</text>", picture)]


def spans(picture: str, colour: str) -> list[tuple[float, float]]:
    """Return where the filled rectangles of a colour begin and end."""
    found = []
    for path in re.findall(rf'<path d="([^"]*)"[^>]*fill: {colour.lower()}"', picture):
        across = [float(point.split()[1]) for point in path.splitlines() if len(point) > 2]
        found.append((min(across), max(across)))
    return found


def widths(picture: str, colour: str) -> list[float]:
    return [round(end - start, 2) for start, end in spans(picture, colour)]


@given(st.text())
def test_a_shown_name_is_one_line_without_tricks(text: str) -> None:
    shown = shortened(text)
    assert shown and len(shown) <= NAME_LETTERS + 1
    assert not re.search(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]", shown)
    assert shown.removesuffix("…") in in_one_line(text)


def test_what_is_invisible_becomes_a_space() -> None:
    assert visible("a\x00b\u202ec\ud800d\n") == "a b c d "
    assert in_one_line(" a \n\t b ") == "a b"
    assert in_one_line("\u202e\x00") == NAMELESS


def test_long_names_are_cut_and_wide_letters_count_twice() -> None:
    assert shortened("x" * NAME_LETTERS) == "x" * NAME_LETTERS
    assert shortened("x" * 50, 10) == "x" * 10 + "…"
    assert shortened("日" * 50, 10) == "日" * 5 + "…"
    assert shortened("one two three", 8) == "one two…"


def test_bars_are_as_long_as_their_values() -> None:
    picture = bars(["one", "two"], {"train (4)": [3, 1], "test (2)": [1, 1]})
    assert texts(picture) == ["3", "1", "train (4)", "1", "1", "test (2)", "one", "two"]
    long, short = widths(picture, "#0072B2")
    assert long == pytest.approx(3 * short, rel=0.01)
    assert len(set(widths(picture, "#E69F00"))) == 1


def test_names_of_others_are_text_and_nothing_else() -> None:
    names = ["<script>alert(1)</script>", "$\\frac{1}{0}$", "@0@", "🎉 مرحبا 日本", "a & b", ""]
    picture = bars(names, {"train": [1] * len(names)})
    assert texts(picture)[-len(names) :] == [*names[:-1], NAMELESS]
    assert "<script" not in picture
    ElementTree.fromstring(picture)


def test_numbers_stay_inside_the_picture() -> None:
    picture = bars(["a", "b"], {str(n): [10**9, 1] for n in range(3)})
    ends = [
        float(x) + 5.6 * len("1,000,000,000")
        for x in re.findall(r'x="([0-9.]+)"[^>]*>1,000,000,000<', picture)
    ]
    assert len(ends) == 3 and max(ends) <= WIDTH


def test_the_funnel_goes_down_step_by_step() -> None:
    picture = funnel([("rows read", 100), ("is blank", -30), ("is long", -20), ("kept", 50)])
    assert texts(picture)[:4] == ["100", "\N{MINUS SIGN}30", "\N{MINUS SIGN}20", "50"]
    (kept,) = widths(picture, "#0072B2")
    assert [round(width / kept, 2) for width in widths(picture, "#D55E00")] == [0.6, 0.4]
    first, second = spans(picture, "#D55E00")
    assert first[0] == pytest.approx(second[1], abs=0.01)
    assert second[0] == pytest.approx(spans(picture, "#0072B2")[0][1], abs=0.01)


def test_a_small_step_of_the_funnel_is_to_be_seen() -> None:
    picture = funnel([("rows read", 10**6), ("is blank", -1), ("kept", 10**6 - 1)])
    assert min(widths(picture, "#D55E00")) >= 1


def test_histograms_share_the_axis_and_mark_median_and_tail() -> None:
    other = {"edges": [0, 50, 100], "counts": [1, 1], "percentiles": {}}
    picture = histograms({"train: 100": LENGTHS, "test: 2": other}, "characters")
    assert {"train: 100", "test: 2", "characters"} <= set(texts(picture))
    assert texts(picture).count("80") == 1, "the numbers stand below the last panel alone"
    assert picture.count("stroke-dasharray") == 1
    assert picture.count("stroke: #1f2933") == 2


@pytest.mark.parametrize(
    "panel",
    [
        {"edges": [5, 5], "counts": [3]},
        {"edges": [0, 1, 2], "counts": [0, 0]},
        {"edges": [1, 2, 4, 8, 16, 1024], "counts": [1, 2, 1, 0, 1]},
        {"edges": [0, 1, 10, 100, 100000], "counts": [1, 2, 1, 1]},
        {"edges": [0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 1.0], "counts": [1, 1, 1, 3, 4, 3, 2]},
    ],
    ids=["all alike", "nothing", "growing bins", "from zero", "fractions"],
)
def test_unusual_bins_are_drawn(panel: dict[str, Any]) -> None:
    picture = histograms({"train": panel}, "characters")
    assert "train" in texts(picture) and "characters" in texts(picture)
    assert "nan" not in picture
    ElementTree.fromstring(picture)


def test_fractions_keep_their_digits() -> None:
    panel = {"edges": [0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 1.0], "counts": [1] * 7}
    assert {"0.6", "0.8", "1"} <= set(texts(histograms({"": panel}, "similarity")))


def test_empty_ends_of_growing_bins_are_left_out() -> None:
    panel = {"edges": [1, 2, 4, 8, 16, 10_000, 100_000], "counts": [0, 0, 5, 1, 0, 0]}
    assert "10,000" not in texts(histograms({"train": panel}, "characters"))


def test_the_same_numbers_give_the_same_bytes_in_any_style() -> None:
    first = histograms({"train": LENGTHS}, "characters")
    with matplotlib.rc_context({"svg.fonttype": "path", "font.size": 30, "axes.facecolor": "red"}):
        again = histograms({"train": LENGTHS}, "characters")
        assert matplotlib.rcParams["font.size"] == 30
    assert first == again
    assert "DejaVu" not in first and "<style" not in first and "<metadata" not in first


def test_two_pictures_share_no_id() -> None:
    one, other = (histograms({name: LENGTHS}, "characters") for name in ("train", "test"))
    ids = [set(re.findall(r' id="([^"]+)"', picture)) for picture in (one, other)]
    assert ids[0] and ids[0].isdisjoint(ids[1])
    for picture, known in zip((one, other), ids, strict=True):
        assert set(re.findall(r"(?:url\(|href=\")#([\w-]+)", picture)) <= known


@settings(max_examples=15, deadline=None)
@given(st.dictionaries(st.text(max_size=60), st.integers(0, 10**7), min_size=1, max_size=6))
def test_any_name_is_drawn_and_well_formed(counts: dict[str, int]) -> None:
    picture = bars(list(counts), {"train": list(counts.values())})
    ElementTree.fromstring(picture)
    assert texts(picture)[-len(counts) :] == [shortened(name) for name in counts]
