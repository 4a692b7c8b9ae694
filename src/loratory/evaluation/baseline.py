"""The best of the trivial systems, for each metric."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from loratory.records import Score

__all__ = ["MODELS", "Best", "best_baselines", "random_baseline"]

MODELS = ("base", "tuned")
"""The systems that are no baselines."""


class Best(NamedTuple):
    """A baseline and its score."""

    system: str
    score: Score


def random_baseline(systems: Iterable[str]) -> str | None:
    """Return the first baseline whose name begins with `random`; None if there is none."""
    return next((name for name in systems if name.startswith("random")), None)


def best_baselines(systems: Mapping[str, Sequence[Score]]) -> dict[str, Best]:
    """Return for each metric with a direction the baseline that does best by it.

    Args:
        systems: the scores of every system, by its name. Of equals the first is taken.
    """
    best: dict[str, Best] = {}
    for system, scores in systems.items():
        for score in scores if system not in MODELS else ():
            if score.value is None or score.descriptive:
                continue
            known = best.get(score.metric)
            if known is None or _rank(score) > _rank(known.score):
                best[score.metric] = Best(system, score)
    return best


def _rank(score: Score) -> float:
    assert score.value is not None
    return -score.value if score.lower_is_better else score.value
