"""One recipe trained under several seeds, against its base: comparisons over seeds and rows.

An interval over rows alone says what another test set would change, not what another training
would. Every seed answers the same rows, so the difference of tuned and base varies over both; see
`metrics.crossed`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from loratory.errors import ConfigError, DataError
from loratory.evaluation.compare import check_paired, effect
from loratory.evaluation.score import check, defined, signature_of, undefined_reason
from loratory.evaluation.verdict import RELEVANT, judge
from loratory.metrics.array import Array
from loratory.metrics.base import Metric
from loratory.metrics.crossed import variance
from loratory.metrics.paired import Paired, flips, influences
from loratory.metrics.randomisation import TIE
from loratory.metrics.significance import mcnemar, share_interval
from loratory.records import Comparison, Prediction

__all__ = ["check_several", "compare_seeds", "contrast_seeds"]

TEST = "Student's t over seeds and rows"


def compare_seeds(
    runs: Sequence[tuple[list[Prediction], list[Prediction]]],
    metrics: Sequence[Metric],
    *,
    confidence: float = 0.95,
    relevant: float = RELEVANT,
) -> list[Comparison]:
    """Return one comparison for every value of every metric, over several seeds of one recipe.

    Args:
        runs: base and tuned predictions of each seed, at least two; all on the same rows.
        metrics: what to compare.
        confidence: of the intervals, above 0 and below 1.
        relevant: the smallest difference that matters, as for `judge`.

    Raises:
        ConfigError: as for `compare`.
        DataError: fewer than two seeds, or as for `compare`; it names the row.
    """
    check_several(runs)
    for number, (base, tuned) in enumerate(runs, 1):
        check(base, metrics)
        check(tuned, metrics)
        check_paired(base, tuned)
        check_paired(runs[0][0], base, ("the first seed", f"seed number {number}"))
    found: list[Comparison] = []
    for metric in metrics:
        found += contrast_seeds(metric, runs, confidence=confidence, relevant=relevant)
    return judge(found, relevant=relevant)


def contrast_seeds(
    metric: Any,
    runs: Sequence[tuple[list[Any], list[Any]]],
    *,
    confidence: float = 0.95,
    relevant: float = RELEVANT,
) -> list[Comparison]:
    """Return one comparison for every value of one metric: means over seeds, after minus before.

    The interval holds what other seeds and other rows would change. Where nothing varies, over
    seeds or over rows, the rows alone are tested, as for one run.

    Args:
        metric: as for `compare.contrast`.
        runs: rows before and after, of each seed, at least two; the same items in the same order.
        confidence: of the intervals.
        relevant: the smallest difference that matters.

    Raises:
        ConfigError: `confidence` out of range.
        DataError: fewer than two seeds, or no rows.
    """
    if not 0 < confidence < 1:
        raise ConfigError(f"confidence: {confidence} is not between 0 and 1; 0.95 is usual.")
    check_several(runs)
    n = len(runs[0][0])
    if not n:
        raise DataError("there are no rows to compare; give at least one.")
    # In one call, because the shape of a row may depend on all of them (classes seen).
    rows = metric.statistics([row for pair in runs for side in pair for row in side])
    sides = rows.reshape(len(runs), 2, n, -1)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        values = metric.reduce(sides.sum(axis=2))  # each (seeds, 2)
        equal = np.array_equal(sides[:, 0], sides[:, 1])
        added = [[influences(side, metric.reduce) for side in pair] for pair in sides]
    comparisons = []
    for name, value in values.items():
        moves = np.array([[side[name] for side in pair] for pair in added])  # (seeds, 2, n)
        old, new = (defined(float(mean)) for mean in value.mean(axis=0))
        common: dict[str, Any] = {
            "metric": name,
            "base": old,
            "tuned": new,
            "n": n,
            "signature": signature_of(metric, name),
            "confidence": confidence,
            "lower_is_better": name in metric.lower_is_better,
            "descriptive": name in metric.descriptive,
            "seeds": len(runs),
        }
        if old is None or new is None:
            reason = undefined_reason(metric, name)
            common |= {"difference": None, "low": None, "high": None, "reason": reason}
        else:
            common |= _measured(value, moves, confidence, equal)
        comparisons.append(Comparison(**common))
    return judge(comparisons, relevant=relevant)


def check_several(runs: Sequence[Any]) -> None:
    """Raise a `DataError` unless there are two seeds or more."""
    if len(runs) < 2:
        raise DataError(
            f"seeds: {len(runs)} given, and a spread needs at least 2, better 3 or more. "
            "Train with other seeds, or compare the one run by itself."
        )


def _measured(value: Array, moves: Array, confidence: float, equal: bool) -> dict[str, Any]:
    """Return difference, interval, p value and effect of one value.

    Args:
        value: of each seed before and after, shape (seeds, 2).
        moves: the influence of each row on each, shape (seeds, 2, rows).
        confidence: of the interval.
        equal: whether base and tuned have the same statistics under every seed.
    """
    differences = value[:, 1] - value[:, 0]
    middle = float(differences.mean())
    shifts = moves[:, 1] - moves[:, 0]
    shifts -= shifts.mean(axis=1, keepdims=True)
    found: dict[str, Any] = {"difference": middle, "low": None, "high": None}
    n = shifts.shape[1]
    if n < 2:
        return found
    spread = math.sqrt((shifts**2).sum() / (shifts.size - len(shifts)))
    right = flips((value[:, :1] + moves[:, 0]).ravel(), (value[:, 1:] + moves[:, 1]).ravel())
    size, kind = effect(middle, Paired(0.0, 0.0, 0.0, spread, *(right or (None, None))))
    found |= {"effect": size, "effect_kind": kind, "test": TEST}
    parts = variance(differences, shifts)
    error = parts.standard_error
    if error > TIE * max(abs(middle), spread):
        reach = parts.reach(1 - confidence)
        return found | {
            "low": middle - reach * error,
            "high": middle + reach * error,
            "p": parts.p(middle),
            "standard_error": error,
            "degrees": parts.joint(1 - confidence),
        }
    # Nothing varies: every row is moved as far as every other one, under every seed.
    if right is None or equal:
        p = 1.0 if abs(middle) <= TIE else 2.0 ** (1 - n)
        return found | {"low": middle, "high": middle, "p": p, "test": "all swaps of rows"}
    gained, lost = (count // len(value) for count in right)
    share = share_interval(gained, lost, n, confidence)
    return found | {
        "low": share.low,
        "high": share.high,
        "p": mcnemar(gained, lost),
        "test": "McNemar mid-p",
        "standard_error": share.standard_error,
    }
