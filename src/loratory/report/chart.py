"""Small charts as inline SVG text: no script, no font, no file beside it.

Colours come from the page by class (`s0`, `s1`, …), so one chart serves light, dark and
paper; without the page's CSS it is still drawn in the text's own colour. Every chart carries
a title and a description for those who do not see it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from markupsafe import Markup, escape

from loratory.report.wording import clean

__all__ = ["Mark", "Point", "Series", "interval_strip", "line_chart", "thin", "ticks"]

Point = tuple[float, float]

WIDTH, HEIGHT = 680, 300
# Left and bottom leave room for labels enlarged on a phone.
LEFT, RIGHT, TOP, BOTTOM = 58, 14, 54, 44


@dataclass(frozen=True)
class Series:
    """One line: its name in the legend and its points in order of x."""

    name: str
    points: Sequence[Point]
    dots: bool = False
    """Draw every point, for series measured now and then."""


class Mark(NamedTuple):
    """One point pointed out, with a vertical line through it."""

    x: float
    y: float
    label: str


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Return round numbers from at or below `low` to at or above `high`.

    They are 1, 2 or 5 times a power of ten apart, about `count` of them. Equal ends are
    widened, so that there are always two ticks.
    """
    assert math.isfinite(low) and math.isfinite(high) and low <= high
    if high - low <= 1e-9 * max(abs(low), abs(high), 1e-300):
        spread = abs(low) / 2 or 0.5
        low, high = low - spread, high + spread
    raw = (high - low) / max(count - 1, 1)
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw * (1 - 1e-9))
    # The tolerance keeps 0.3 / 0.1 from becoming a tick too many.
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [float(f"{i * step:.12g}") for i in range(first, last + 1)]


def thin(points: Sequence[Point], limit: int = 240) -> list[Point]:
    """Return at most `limit` points, each the mean of a run of neighbours."""
    if len(points) <= limit:
        return list(points)
    width = math.ceil(len(points) / limit)
    runs = (points[i : i + width] for i in range(0, len(points), width))
    return [(sum(x for x, _ in run) / len(run), sum(y for _, y in run) / len(run)) for run in runs]


def line_chart(
    series: Sequence[Series],
    *,
    id: str,
    title: str,
    description: str,
    x_label: str,
    mark: Mark | None = None,
) -> Markup:
    """Draw lines over a common x axis.

    Args:
        series: at least one of them with a point; all values finite.
        id: unique in the page; the first part of the ids used inside.
        title: what the chart is.
        description: what it shows, in words, for a screen reader.
        x_label: what x counts.
        mark: a point to point out.

    Raises:
        ValueError: no series has a point.
    """
    points = [point for one in series for point in one.points] + ([mark[:2]] if mark else [])
    if not points:
        raise ValueError("a line chart needs at least one point")
    x_ticks = ticks(min(x for x, _ in points), max(x for x, _ in points), 6)
    y_ticks = ticks(min(y for _, y in points), max(y for _, y in points), 5)
    frame = _Frame(x_ticks, y_ticks)
    parts = [
        f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-labelledby="{_text(id)}-title {_text(id)}-desc" font-size="13" '
        'fill="currentColor">',
        f'<title id="{_text(id)}-title">{_text(title)}</title>',
        f'<desc id="{_text(id)}-desc">{_text(description)}</desc>',
        _legend(series),
        *_axes(frame, x_label),
    ]
    for index, one in enumerate(series):
        parts += _line(frame, one, index)
    if mark:
        parts += _mark(frame, mark)
    return Markup("\n".join([*parts, "</svg>"]))  # noqa: S704 (every text in it is escaped)


class _Frame:
    """Data to pixels."""

    def __init__(self, x_ticks: list[float], y_ticks: list[float]) -> None:
        self.x_ticks, self.y_ticks = x_ticks, y_ticks

    def x(self, value: float) -> float:
        share = (value - self.x_ticks[0]) / (self.x_ticks[-1] - self.x_ticks[0])
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        share = (value - self.y_ticks[0]) / (self.y_ticks[-1] - self.y_ticks[0])
        return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)


def _text(text: str) -> Markup:
    return escape(clean(text))


def _px(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def _label(value: float, step: float) -> str:
    places = max(0, -math.floor(math.log10(step) + 1e-9))
    text = f"{abs(value):,.{places}f}"
    return f"−{text}" if value < 0 else text


def _legend(series: Sequence[Series]) -> str:
    # One flowing text: the keys keep their distance at any font size.
    keys = [
        f'<tspan class="key s{index}"{gap}>●</tspan> {_text(one.name)}'
        for index, one in enumerate(series)
        for gap in (' dx="18"' if index else "",)
    ]
    return f'<text class="legend" x="{LEFT}" y="18">{"".join(keys)}</text>'


def _axes(frame: _Frame, x_label: str) -> list[str]:
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
    parts = []
    for value in frame.y_ticks:
        y = _px(frame.y(value))
        label = _label(value, frame.y_ticks[1] - frame.y_ticks[0])
        parts.append(
            f'<line class="grid" x1="{LEFT}" y1="{y}" x2="{right}" y2="{y}" '
            'stroke="currentColor" stroke-opacity=".15"/>'
            f'<text x="{LEFT - 8}" y="{y}" dy=".32em" text-anchor="end">{label}</text>'
        )
    last = len(frame.x_ticks) - 1
    for index, value in enumerate(frame.x_ticks):
        x = _px(frame.x(value))
        label = _label(value, frame.x_ticks[1] - frame.x_ticks[0])
        # The last label ends with the axis, or it would be cut off at the edge.
        anchor = "end" if index == last else "middle"
        parts.append(
            f'<text x="{x}" y="{bottom}" dy="1.5em" text-anchor="{anchor}">'
            f"{label}{' ' + _text(x_label) if index == last else ''}</text>"
        )
    parts.append(
        f'<line class="axis" x1="{LEFT}" y1="{bottom}" x2="{right}" y2="{bottom}" '
        'stroke="currentColor"/>'
    )
    return parts


def _line(frame: _Frame, one: Series, index: int) -> list[str]:
    spots = [(_px(frame.x(x)), _px(frame.y(y))) for x, y in one.points]
    parts = []
    if len(spots) > 1:
        path = " ".join(f"{x},{y}" for x, y in spots)
        parts.append(
            f'<polyline class="line s{index}" points="{path}" fill="none" '
            'stroke="currentColor" stroke-linejoin="round"/>'
        )
    if one.dots or len(spots) == 1:
        parts += [f'<circle class="dot s{index}" cx="{x}" cy="{y}" r="3.5"/>' for x, y in spots]
    return parts


def _mark(frame: _Frame, mark: Mark) -> list[str]:
    x, y = frame.x(mark.x), frame.y(mark.y)
    near_end = x > (LEFT + WIDTH - RIGHT) / 2
    return [
        f'<line class="mark" x1="{_px(x)}" y1="{TOP - 18}" x2="{_px(x)}" y2="{HEIGHT - BOTTOM}" '
        'stroke="currentColor" stroke-dasharray="3 3"/>',
        f'<circle class="mark" cx="{_px(x)}" cy="{_px(y)}" r="6" fill="none" '
        'stroke="currentColor"/>',
        f'<text class="mark" x="{_px(x - 7 if near_end else x + 7)}" y="{TOP - 9}" '
        f'text-anchor="{"end" if near_end else "start"}">{_text(mark.label)}</text>',
    ]


def interval_strip(
    value: float, low: float, high: float, extent: tuple[float, float], tone: str
) -> Markup:
    """Draw one difference with its interval against zero, small enough for a table cell.

    The numbers stand beside it in the table, so it is hidden from screen readers.

    Args:
        value: the difference.
        low: lower end of its interval.
        high: upper end of its interval.
        extent: the ends of the scale, shared by the rows of a table; zero lies inside.
        tone: class that colours it.
    """
    width, height, pad = 150, 22, 6
    span = (extent[1] - extent[0]) or 1.0

    def x(at: float) -> str:
        return _px(pad + (at - extent[0]) / span * (width - 2 * pad))

    middle = height // 2
    return Markup(  # noqa: S704 (numbers, and an escaped class)
        f'<svg class="strip {escape(tone)}" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" aria-hidden="true">'
        f'<line class="zero" x1="{x(0)}" y1="1" x2="{x(0)}" y2="{height - 1}" '
        'stroke="currentColor" stroke-opacity=".5"/>'
        f'<line class="range" x1="{x(low)}" y1="{middle}" x2="{x(high)}" y2="{middle}" '
        'stroke="currentColor" stroke-width="3" stroke-linecap="round"/>'
        f'<circle cx="{x(value)}" cy="{middle}" r="4.5" fill="currentColor"/></svg>'
    )
