"""What a metric is: additive statistics of one prediction, and a reduction of their sum.

A metric maps a prediction to a row of numbers. Rows add up; the sum over a test set gives
the score. Because only sums matter, one seeded bootstrap serves every metric, two systems
are compared pair by pair with the same weights, and scoring splits over any number of
processes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Protocol

from loratory.metrics.array import Array
from loratory.records import Prediction
from loratory.registry import Registry

__all__ = ["METRICS", "Array", "Metric", "metric"]


class Metric(Protocol):
    """A frozen dataclass registered with `@metric(name)`; its fields are its settings.

    Two class variables are optional: `whole` is true where the statistics of a row depend on
    the other rows, so that a file is not scored in parts, and `alone` where one process must do
    all, because each would load a model of its own.
    """

    name: ClassVar[str]
    needs: ClassVar[frozenset[str]]
    """What a prediction must carry: `references`, `label`, `source`."""
    lower_is_better: ClassVar[frozenset[str]]
    """Those of the names `reduce` gives that are better when smaller."""
    descriptive: ClassVar[frozenset[str]]
    """Those that are neither: lengths and counts that explain other numbers."""
    undefined: ClassVar[Mapping[str, str]]
    """For a name that can be NaN, why, in words."""

    def problems(self) -> list[str]:
        """Return what is wrong with these settings, one `field: sentence` each."""

    @property
    def signature(self) -> str:
        """Everything that changes the numbers, on one line."""

    def statistics(self, predictions: list[Prediction]) -> Array:
        """Return one row a prediction, shape (n, k), that may be summed over rows."""

    def reduce(self, totals: Array) -> dict[str, Array]:
        """Turn sums of rows, shape (..., k), into named values, shape (...).

        A value that is undefined for these sums is NaN here; nobody but `evaluation.score`
        sees it, which turns it into None with a reason.
        """


METRICS: Registry[Metric] = Registry("metric", "loratory.metrics")
metric = METRICS.register
