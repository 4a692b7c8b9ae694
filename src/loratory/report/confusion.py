"""Which class was taken for which."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from loratory.records import Prediction

__all__ = ["Confusion", "Count", "Mistake", "confusion"]

LIMIT = 12
"""Classes up to which a full matrix can be read; beyond, only the commonest mistakes."""

MISTAKES = 15


class Count(NamedTuple):
    """One cell: of the rows of a true class, those taken for this one."""

    rows: int
    share: float
    """Of the true class's rows, 0 to 1."""
    heat: int
    """`share` in tenths, 0 to 10; 0 only for an empty cell."""


class Mistake(NamedTuple):
    """A wrong class, with how often it was given."""

    true: str
    predicted: str
    rows: int


class Confusion(NamedTuple):
    """One system's confusion matrix: row = true class, column = predicted class."""

    labels: tuple[str, ...]
    columns: tuple[str, ...]
    """The labels, and `no answer` when some rows have none."""
    matrix: tuple[tuple[Count, ...], ...]
    """Empty for more classes than a matrix can show."""
    mistakes: tuple[Mistake, ...]
    """The commonest, most frequent first."""
    right: int
    rows: int


def confusion(predictions: Sequence[Prediction], labels: Sequence[str]) -> Confusion | None:
    """Count predicted classes by true class; None when no row has a true class among `labels`."""
    size = len(labels)

    def place(index: int | None) -> int:
        return index if index is not None and 0 <= index < size else size

    taken = Counter((place(item.label), place(item.predicted)) for item in predictions)
    pairs = Counter({pair: rows for pair, rows in taken.items() if pair[0] < size})
    if not pairs:
        return None
    columns = [*labels, *(["no answer"] if any(p == size for _, p in pairs) else [])]
    totals = [sum(pairs[t, p] for p in range(len(columns))) for t in range(size)]
    matrix = tuple(
        tuple(_count(pairs[t, p], totals[t]) for p in range(len(columns))) for t in range(size)
    )
    wrong = sorted((-rows, t, p) for (t, p), rows in pairs.items() if t != p)
    return Confusion(
        labels=tuple(labels),
        columns=tuple(columns),
        matrix=matrix if size <= LIMIT else (),
        mistakes=tuple(Mistake(labels[t], columns[p], -rows) for rows, t, p in wrong[:MISTAKES]),
        right=sum(rows for (t, p), rows in pairs.items() if t == p),
        rows=pairs.total(),
    )


def _count(rows: int, total: int) -> Count:
    share = rows / total if total else 0.0
    return Count(rows, share, max(1, round(10 * share)) if rows else 0)
