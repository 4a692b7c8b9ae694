"""Gain against forgetting over the scale of an adapter: a chart, and the numbers behind it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from markupsafe import Markup

from loratory.report import wording
from loratory.report.chart import Mark, Series, line_chart

__all__ = ["Scales", "scales"]


class Scales(NamedTuple):
    """What a sweep of the adapter's scale has shown."""

    chart: Markup
    description: str
    rows: tuple[tuple[str, str, str, bool], ...]
    """(scale, gain, forgetting, is the knee)."""


def scales(facts: Mapping[str, Any]) -> Scales | None:
    """Return the chart of a finding's facts; None where no scale was swept."""
    points = facts.get("scales")
    if not points:
        return None
    best = next((point for point in points if point["scale"] == facts.get("knee")), None)
    words = (
        f"How much better the task is done, upwards, against how much worse general text is "
        f"predicted, to the right, at {len(points)} scales of the adapter from "
        f"{points[0]['scale']:g} to {points[-1]['scale']:g}; both in nats a token."
    )
    mark = None
    if best is not None:
        words += f" The knee is at scale {best['scale']:g}."
        mark = Mark(best["forgetting"], best["gain"], f"knee: scale {best['scale']:g}")
    path = [(point["forgetting"], point["gain"]) for point in points]
    chart = line_chart(
        [Series("gain, nats a token", path, dots=True)],
        id="scales",
        title="Gain on the task against forgetting",
        description=words,
        x_label="nats forgotten",
        mark=mark,
    )
    rows = tuple(
        (
            f"{point['scale']:g}",
            wording.signed(point["gain"], 3),
            wording.signed(point["forgetting"], 3),
            point is best,
        )
        for point in points
    )
    return Scales(chart, words, rows)
