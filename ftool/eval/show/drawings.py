"""Curves as inline SVG: plain lines and points with axes, the same bytes on each run."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from math import floor, log10

WIDTH, HEIGHT = 400, 260
LEFT, RIGHT, TOP, BOTTOM = 48, 12, 12, 40
COLOURS = ("#0072B2", "#D55E00", "#009E73")
"""Told apart by colour-blind readers. Source: Okabe and Ito (2002), Color Universal Design."""
GRID, INK = "#e4e8ec", "#52606d"
TICKS = 5

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Line:
    """A curve, or with `dots` points with bars from low to high."""

    name: str
    points: Sequence[Point]
    dots: Sequence[Point] = ()
    """The low and the high end of the bar at each point."""


def chart(
    lines: Sequence[Line],
    *,
    x: str,
    y: str,
    x_range: Point | None = None,
    y_range: Point | None = None,
    diagonal: bool = False,
) -> str:
    """Draw curves into one picture with axes, ticks and, for more than one, a legend.

    Args:
        lines: with at least one point in all.
        x: what the horizontal axis says.
        y: what the vertical axis says.
        x_range: both ends of the axis; those of the points by default.
        y_range: likewise.
        diagonal: draw the line on which both axes are equal.
    """
    points = [point for line in lines for point in line.points]
    across = _scale(x_range or _ends([p[0] for p in points]), LEFT, WIDTH - RIGHT)
    up = _scale(y_range or _ends([p[1] for p in points]), HEIGHT - BOTTOM, TOP)
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(f"{y} by {x}")}">',
        *(_tick_across(value, across.at(value)) for value in across.ticks()),
        *(_tick_up(value, up.at(value)) for value in up.ticks()),
        f'<text x="{(LEFT + WIDTH - RIGHT) / 2:g}" y="{HEIGHT - 6}" text-anchor="middle">'
        f"{escape(x)}</text>",
        f'<text transform="translate(12 {(TOP + HEIGHT - BOTTOM) / 2:g}) rotate(-90)"'
        f' text-anchor="middle">{escape(y)}</text>',
    ]
    if diagonal:
        low, high = max(across.low, up.low), min(across.high, up.high)
        ends = f"M{_at(across, up, (low, low))}L{_at(across, up, (high, high))}"
        parts.append(f'<path d="{ends}" stroke="{INK}" stroke-dasharray="4 4" fill="none"/>')
    for line, colour in zip(lines, COLOURS, strict=False):
        parts.append(_drawn(line, colour, across, up))
    if len(lines) > 1:
        parts += [_legend(line.name, place) for place, line in enumerate(lines)]
    return "".join([*parts, "</svg>"])


@dataclass(frozen=True, slots=True)
class _Scale:
    """A range of values on a range of pixels."""

    low: float
    high: float
    first: float
    last: float

    def at(self, value: float) -> float:
        share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return self.first + share * (self.last - self.first)

    def ticks(self) -> list[float]:
        """Return round numbers inside the range, at distances of 1, 2 or 5 times a power of 10."""
        rough = (self.high - self.low) / TICKS
        power = 10.0 ** floor(log10(rough))
        step = next(size * power for size in (1, 2, 5, 10) if size * power >= rough * 0.999)
        start = -floor(-self.low / step + 1e-9)
        count = floor((self.high - start * step) / step + 1e-9)
        return [(start + place) * step for place in range(count + 1)]


def _ends(values: Sequence[float]) -> Point:
    return min(values), max(values)


def _scale(ends: Point, first: float, last: float) -> _Scale:
    low, high = ends
    if high - low <= 1e-9 * max(1.0, abs(high)):
        low, high = low - 0.5, high + 0.5
    return _Scale(low, high, first, last)


def _at(across: _Scale, up: _Scale, point: Point) -> str:
    return f"{across.at(point[0]):.1f} {up.at(point[1]):.1f}"


def _tick_across(value: float, place: float) -> str:
    return (
        f'<path d="M{place:.1f} {TOP}V{HEIGHT - BOTTOM}" stroke="{GRID}"/>'
        f'<text x="{place:.1f}" y="{HEIGHT - BOTTOM + 15}" text-anchor="middle">{value:g}</text>'
    )


def _tick_up(value: float, place: float) -> str:
    return (
        f'<path d="M{LEFT} {place:.1f}H{WIDTH - RIGHT}" stroke="{GRID}"/>'
        f'<text x="{LEFT - 6}" y="{place + 4:.1f}" text-anchor="end">{value:.4g}</text>'
    )


def _drawn(line: Line, colour: str, across: _Scale, up: _Scale) -> str:
    if line.dots:
        bars = "".join(
            f"M{_at(across, up, (point[0], low))}V{up.at(high):.1f}"
            for point, (low, high) in zip(line.points, line.dots, strict=True)
        )
        circles = "".join(
            f'<circle cx="{across.at(px):.1f}" cy="{up.at(py):.1f}" r="3.5" fill="{colour}"/>'
            for px, py in line.points
        )
        return f'<path d="{bars}" stroke="{colour}" fill="none"/>{circles}'
    path = "L".join(_at(across, up, point) for point in line.points)
    ends = ' stroke-width="2" stroke-linejoin="round" stroke-linecap="round" fill="none"'
    return f'<path d="M{path}" stroke="{colour}"{ends}/>' if line.points else ""


def _legend(name: str, place: int) -> str:
    y = TOP + 12 + 16 * place
    x = WIDTH - RIGHT - 8
    return (
        f'<text x="{x - 18}" y="{y}" text-anchor="end">{escape(name)}</text>'
        f'<path d="M{x - 12} {y - 4}H{x}" stroke="{COLOURS[place]}" stroke-width="3"/>'
    )
