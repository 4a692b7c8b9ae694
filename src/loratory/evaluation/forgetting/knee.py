"""Gain against forgetting over the scale of an adapter, and the scale where the curve bends.

The knee is that of Satopaa et al. 2011, "Finding a 'Kneedle' in a Haystack": with both axes
brought to 0 to 1, the point that lies highest above the diagonal. Before it a step of scale wins
more than it costs; behind it, it costs more than it wins.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from loratory.errors import DataError
from loratory.records import Finding, ScalePoint

__all__ = ["knee", "told"]


def knee(points: Sequence[ScalePoint]) -> ScalePoint | None:
    """Return the point where more scale begins to cost more than it wins.

    None where no point gains anything. Where nothing is forgotten, it is the point that gains
    most. Of equal points the one with the smallest scale counts.

    Args:
        points: of different scales, in any order.

    Raises:
        DataError: fewer than three points, or a scale twice.
    """
    if len(points) < 3:
        raise DataError(f"scales: got {len(points)}; a knee needs at least three.")
    if len({point.scale for point in points}) < len(points):
        raise DataError("scales: one of them is given twice.")
    ordered = sorted(points, key=lambda point: point.scale)
    best = max(point.gain for point in ordered)
    if best <= 0:
        return None
    costs = [max(0.0, point.forgetting) for point in ordered]
    dearest = max(costs)
    share = [cost / dearest if dearest else 0.0 for cost in costs]
    heights = [point.gain / best - cost for point, cost in zip(ordered, share, strict=True)]
    return ordered[heights.index(max(heights))]


def told(finding: Finding, points: Sequence[ScalePoint]) -> Finding:
    """Return a finding with what a sweep of the adapter's scale has shown.

    The points go to `facts["scales"]`, the knee's scale, or None, to `facts["knee"]`.

    Args:
        finding: on forgetting.
        points: as for `knee`, the tuned model at scale 1 among them.

    Raises:
        DataError: as for `knee`, or no point of scale 1.
    """
    best = knee(points)
    whole = next((point for point in points if point.scale == 1), None)
    if whole is None:
        raise DataError("scales: 1, the tuned model, is not among them.")
    facts = {
        "scales": [dataclasses.asdict(point) for point in points],
        "knee": None if best is None else best.scale,
    }
    return dataclasses.replace(
        finding,
        sentences=(*finding.sentences, _sentence(best, whole)),
        facts={**finding.facts, **facts},
    )


def _sentence(best: ScalePoint | None, whole: ScalePoint) -> str:
    if best is None:
        return (
            "At no scale does the adapter do the task better than the base model on the validation "
            "rows, so none is recommended."
        )
    if best.scale == 0:
        return (
            "Turned down, the adapter loses its gain on the task as fast as its forgetting, or "
            "faster: no scale between base and tuned model is better than the others."
        )
    if best.scale == whole.scale:
        return (
            "Turned down, the adapter would lose more on the task than it would spare elsewhere: "
            "its own scale of 1 is the knee of gain against forgetting."
        )
    return (
        f"The knee of gain against forgetting is at {best.scale:g} of the adapter's scale. There "
        f"the loss of a task token is {_nats(-best.gain)} than the base model's (at scale 1: "
        f"{_nats(-whole.gain)}), and that of a token of general text {_nats(best.forgetting)} (at "
        f"scale 1: {_nats(whole.forgetting)}). loratory interpolate --scale {best.scale:g} writes "
        "that adapter."
    )


def _nats(rise: float) -> str:
    return f"{abs(rise):.3f} nats {'worse' if rise > 0 else 'better'}"
