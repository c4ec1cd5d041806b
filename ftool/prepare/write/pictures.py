"""Pictures of the data report: inline SVG by matplotlib, the same bytes on each run."""

import re
from collections.abc import Collection, Mapping, Sequence
from hashlib import sha256
from html import escape
from io import StringIO
from itertools import pairwise
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 640
"""Width of every picture, in points; the page scales it down where it has less."""
COLOURS = ("#0072B2", "#E69F00", "#009E73")
"""Told apart by colour-blind readers. Source: Okabe and Ito (2002), Color Universal Design."""
REMOVED = "#D55E00"
NEUTRAL = "#7F8C99"
NAME_LETTERS = 40
"""Widest name beside a bar, in letters; wide ones count twice."""
STEP_LETTERS = 56
"""Widest name of a step of the funnel, in letters."""
GROWING = 8
"""Bins of which one is that many times as wide as another lie on a logarithmic axis."""
NAMELESS = "(empty)"
"""Stands where a name has nothing to see."""

_LETTER = 5.3
_ROW = 17
_STYLE: Mapping[Any, Any] = {
    "font.family": ["DejaVu Sans"],
    "font.size": 9,
    "axes.linewidth": 0.6,
    "axes.edgecolor": "#9AA5B1",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": "#E4E8EC",
    "grid.linewidth": 0.6,
    "xtick.color": "#52606D",
    "ytick.color": "#52606D",
    "svg.fonttype": "none",
    "svg.hashsalt": "ftool",
}
_INVISIBLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")
_NOT_IN_A_PAGE = tuple(
    re.compile(pattern, re.DOTALL)
    for pattern in (
        r'(?<=<g) id="[^"]*"',
        r' (?:width|height)="[0-9.]+pt"',
        r"<defs>\s*<style.*?</style>\s*</defs>\s*",
        r' transform="rotate\(-0 [^"]*"',
        r" font-family: 'DejaVu Sans';?",
    )
)
_ID = re.compile(r'( id="|url\(#|href="#)')
_PLACE = re.compile(r">@(\d+)@<")


def visible(text: str) -> str:
    """Return text with a space for each control character, line end and half character.

    Marks that turn the direction of writing go too: they could reorder what stands beside them.
    """
    return _INVISIBLE.sub(" ", text)


def in_one_line(text: str) -> str:
    """Return text without what is invisible or beside more white space, or that it is empty."""
    return " ".join(visible(text).split()) or NAMELESS


def shortened(text: str, letters: int = NAME_LETTERS) -> str:
    """Cut a text that is too wide to stand beside a bar; wide letters count twice."""
    text, width = in_one_line(text), 0
    for index, letter in enumerate(text):
        width += _letters(letter)
        if width > letters and _width(text[index:]) > 1:
            return text[:index].rstrip() + "…"
    return text


def _letters(letter: str) -> int:
    return 2 if letter >= "\u1100" else 1


def _width(text: str) -> int:
    return sum(map(_letters, text))


def bars(
    names: Sequence[str], columns: Mapping[str, Sequence[int]], colours: Sequence[str] = COLOURS
) -> str:
    """Draw horizontal bars: a row for each name, a column with its own scale for each title.

    Args:
        names: written beside the rows; cut where too long.
        columns: the values of the rows, by the title of the column.
        colours: of the columns, in order.
    """
    from matplotlib import rc_context

    shown = [shortened(name) for name in names]
    left = _names_width(shown)
    gap, top, rows = 16, 24, _ROW * len(shown)
    each = (WIDTH - left) / len(columns) - gap
    with rc_context():
        figure = _figure(top + rows + 6)
        for index, (title, values) in enumerate(columns.items()):
            area = (left + index * (each + gap), top, each, rows)
            axes = _bar_axes(figure, area, len(values))
            _bar_column(axes, values, colours[index % len(colours)], each)
            axes.set_title(title, loc="left", fontsize=9, fontweight="bold", pad=5)
        _write_names(figure, len(shown), left, top)
        return _svg(figure, shown)


def _bar_column(axes: "Axes", values: Sequence[int], colour: str, width: float) -> None:
    """Draw bars with their numbers behind them, which need room inside the column."""
    written = [f"{value:,}" for value in values]
    room = max(map(len, written), default=0) * _LETTER + 10
    largest = max(values, default=0) or 1
    axes.set_xlim(0, largest * width / max(width - room, 20))
    axes.barh(range(len(values)), values, height=0.7, color=colour)
    for row, (value, text) in enumerate(zip(values, written, strict=True)):
        axes.annotate(
            text, (value, row), (4, 0), textcoords="offset points", va="center", color="#323F4B"
        )


def funnel(steps: Sequence[tuple[str, int]]) -> str:
    """Draw the way from the rows that were read to the examples that are kept.

    Args:
        steps: a name and a number each: what was read, then what was removed (below zero), and
            at last what is kept.
    """
    from matplotlib import rc_context

    shown = [shortened(name, STEP_LETTERS) for name, _ in steps]
    written = [f"{number:,}".replace("-", "\N{MINUS SIGN}") for _, number in steps]
    left, top, right = _names_width(shown), 6, max(map(len, written)) * _LETTER + 14
    area = (left, top, WIDTH - left - right, _ROW * len(steps))
    with rc_context():
        figure = _figure(top + area[3] + 6)
        axes = _bar_axes(figure, area, len(steps))
        _funnel_bars(axes, [number for _, number in steps])
        for row, text in enumerate(written):
            figure.text(1, _from_top(figure, top, row), text, ha="right", va="center")
        _write_names(figure, len(shown), left, top)
        return _svg(figure, shown)


def _funnel_bars(axes: "Axes", numbers: Sequence[int]) -> None:
    """Draw what is removed where it was cut off; a handful of thousands is still to be seen."""
    whole = float(max(numbers[0], 1))
    axes.set_xlim(0, whole)
    axes.barh(range(len(numbers)), [whole] * len(numbers), height=0.7, color="#F0F3F6")
    rest = whole
    for row, number in enumerate(numbers):
        size = max(abs(number), whole / 300) if number else 0.0
        rest += min(number, 0)
        start = min(rest, whole - size) if number < 0 else 0.0
        colour = REMOVED if number < 0 else COLOURS[0] if row else NEUTRAL
        axes.barh(row, size, left=start, height=0.7, color=colour)


def histograms(
    panels: Mapping[str, Mapping[str, Any]], unit: str, colours: Sequence[str] = COLOURS
) -> str:
    """Draw how many rows are how long, one panel above the other over the same axis.

    A solid line marks the median and a dotted one what 95% do not exceed, where the panel has
    `percentiles`.

    Args:
        panels: `edges`, `counts` and `percentiles` of each, by title; edges are one more.
        unit: what the axis below measures.
        colours: of the panels, in order.
    """
    from matplotlib import rc_context

    height, top = 72, 22
    uneven = any(_is_uneven(panel["edges"]) for panel in panels.values())
    low, high = _ends(panels.values(), used_only=uneven)
    with rc_context():
        figure = _figure(len(panels) * (height + top + 10) + 28)
        for index, (title, panel) in enumerate(panels.items()):
            area = (58, top + index * (height + top + 10), WIDTH - 76, height)
            axes = figure.add_axes(_fractions(figure, area))
            if uneven:
                _stretch_short_lengths(axes, panels)
            axes.set_xlim(low, high if high > low else low + 1)
            _histogram(axes, panel, colours[index % len(colours)])
            axes.set_title(title, loc="left", fontsize=9, pad=5)
            is_last = index == len(panels) - 1
            axes.tick_params(labelbottom=is_last)
            axes.set_xlabel(unit if is_last else "")
        return _svg(figure)


def _histogram(axes: "Axes", panel: Mapping[str, Any], colour: str) -> None:
    from matplotlib.ticker import MaxNLocator, StrMethodFormatter

    edges, counts = list(panel["edges"]), panel["counts"]
    if len(edges) == 2 and edges[0] == edges[1]:
        edges[1] += 1
    axes.stairs(counts, edges, fill=True, color=colour)
    axes.set_ylim(0, max(counts) * 1.08 or 1)
    axes.grid(visible=True, axis="y")
    axes.yaxis.set_major_locator(MaxNLocator(nbins=3, steps=[1, 2, 5, 10], integer=True))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    if axes.get_xscale() == "linear":
        whole = all(float(edge).is_integer() for edge in edges)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=8, steps=[1, 2, 5, 10], integer=whole))
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}" if whole else "{x:g}"))
    for percentile, line in (("50", "solid"), ("95", "dotted")):
        if percentile in panel.get("percentiles", {}):
            place = panel["percentiles"][percentile]
            axes.axvline(place, color="#1F2933", linewidth=1, linestyle=line)


def _ends(panels: Collection[Mapping[str, Any]], *, used_only: bool) -> tuple[float, float]:
    """Return where the common axis begins and ends; growing bins may be empty for a long way."""
    used = [
        pair
        for panel in panels
        for pair, count in zip(pairwise(panel["edges"]), panel["counts"], strict=True)
        if count or not used_only
    ]
    return min(low for low, _ in used), max(high for _, high in used)


def _is_uneven(edges: Sequence[float]) -> bool:
    widths = [after - before for before, after in pairwise(edges)]
    return max(widths) > GROWING * min(widths)


def _stretch_short_lengths(axes: "Axes", panels: Mapping[str, Mapping[str, Any]]) -> None:
    """Take a logarithmic axis where the bins grow; it is linear below the first edge."""
    from matplotlib.ticker import NullLocator, StrMethodFormatter, SymmetricalLogLocator

    edges = {edge for panel in panels.values() for edge in panel["edges"] if edge > 0}
    threshold = min(edges, default=1)
    axes.set_xscale("symlog", linthresh=threshold)
    marks = (1, 2, 5) if max(edges, default=1) < 1000 * threshold else (1,)
    locator = SymmetricalLogLocator(base=10, linthresh=threshold, subs=marks)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))


def _names_width(names: Sequence[str]) -> float:
    return max(40, max(map(_width, names), default=0) * _LETTER + 8)


def _write_names(figure: "Figure", count: int, left: float, top: float) -> None:
    """Hold the places of names; matplotlib has no glyphs for all scripts and reads `$` as math."""
    for row in range(count):
        place = (left - 6) / WIDTH, _from_top(figure, top, row)
        figure.text(*place, f"@{row}@", ha="right", va="center")


def _from_top(figure: "Figure", top: float, row: int) -> float:
    return float(1 - (top + (row + 0.5) * _ROW) / _height(figure))


def _figure(height: float) -> "Figure":
    """Return an empty figure in our style, whatever the style of the user is."""
    from matplotlib import rcdefaults, rcParams
    from matplotlib.figure import Figure

    rcdefaults()
    rcParams.update(_STYLE)
    return Figure(figsize=(WIDTH / 72, height / 72))


def _height(figure: "Figure") -> float:
    return float(figure.get_figheight() * 72)


def _fractions(
    figure: "Figure", area: tuple[float, float, float, float]
) -> tuple[float, float, float, float]:
    """Turn left, top, width and height in points into what matplotlib takes."""
    left, top, width, height = area
    total = _height(figure)
    return left / WIDTH, 1 - (top + height) / total, width / WIDTH, height / total


def _bar_axes(figure: "Figure", area: tuple[float, float, float, float], rows: int) -> "Axes":
    axes = figure.add_axes(_fractions(figure, area))
    axes.set_ylim(rows - 0.5, -0.5)
    axes.axis("off")
    return axes


def _svg(figure: "Figure", names: Sequence[str] = ()) -> str:
    """Return the picture as an element of a page, with the names in their places."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    file = StringIO()
    metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    canvas: Any = FigureCanvasSVG(figure)
    canvas.print_svg(file, metadata=metadata)
    drawn = file.getvalue()
    drawn = drawn[drawn.index("<svg") :].rstrip()
    # Several pictures share a page: no sizes of their own, no style for all, no id twice.
    for pattern in _NOT_IN_A_PAGE:
        drawn = pattern.sub("", drawn)
    own = sha256(drawn.encode()).hexdigest()[:8]
    drawn = _ID.sub(rf"\g<1>{own}-", drawn)
    return _PLACE.sub(lambda found: f">{escape(names[int(found[1])])}<", drawn)
