"""Sums of rows of numbers, and groups of rows for the bootstrap, in bounded memory.

Neighbouring rows are added up in pairs, fours, eights and so on, so that there are never
more than 20,000 groups: a block bootstrap (Künsch 1989, "The Jackknife and the Bootstrap for
General Stationary Observations") of blocks that do not overlap. Which rows a group holds, and
in which order they are added, depends on the number of rows alone.
"""

from __future__ import annotations

import numpy as np

from loratory.errors import DataError
from loratory.metrics.base import Array

__all__ = ["MOST", "Tally"]

MOST = 20_000
"""Groups kept; up to so many rows are kept as they are."""

_DIGITS = 53
_OFFSET = 1074 + _DIGITS  # no power of two of a double is below zero after this shift


class Tally:
    """Takes rows of shape (m, k) bit by bit."""

    def __init__(self, most: int = MOST) -> None:
        self.n = 0
        """Rows taken so far."""
        self._most = most
        self._level = 0
        self._groups: list[Array] = []
        self._count = 0
        self._odd: dict[int, Array] = {}  # by level, a sum that waits for its neighbour
        self._exact: list[int] | None = None

    @property
    def group(self) -> int:
        """Rows a group; 1 while there are few. The last group may hold fewer."""
        return 1 << self._level

    def add(self, rows: Array) -> None:
        """Take rows.

        Raises:
            DataError: rows of another width than those before, or a number is not finite.
        """
        if not len(rows):
            return
        if not np.isfinite(rows).all():
            raise DataError("a statistic is not finite, so nothing can be said of the sum.")
        if self._groups and rows.shape[1] != self._groups[0].shape[1]:
            raise DataError(
                f"rows of {rows.shape[1]} numbers after rows of {self._groups[0].shape[1]}: the "
                "metric's rows depend on each other, so it must say so with `whole`."
            )
        self.n += len(rows)
        if self._level:
            self._add_exactly(rows)
        self._carry(rows, 0)
        while self._count > self._most:
            self._merge()

    def totals(self) -> Array:
        """Return the sums of the columns, shape (k,).

        Up to `MOST` rows they are numpy's sum over the rows, as `evaluation.score` has it. Of
        more rows they are exact and rounded once, as `math.fsum` does.
        """
        if self._exact is None:
            return np.asarray(self.groups().sum(axis=0))
        return np.array([total / (1 << _OFFSET) for total in self._exact])

    def groups(self) -> Array:
        """Return the sums of the groups in their order, shape (groups, k)."""
        rest = [self._odd[level] for level in sorted(self._odd, reverse=True)]
        parts = [*self._groups, *([np.sum(rest, axis=0)] if rest else [])]
        # One part stays as it is, its layout in memory included: sums depend on it.
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _carry(self, rows: Array, level: int) -> None:
        """Add sums of 2^level rows each to the groups, in pairs until they are of their size."""
        while level < self._level and len(rows):
            if level in self._odd:
                rows = np.concatenate([self._odd.pop(level), rows])
            if len(rows) % 2:
                self._odd[level], rows = rows[-1:].copy(), rows[:-1]
            rows = rows[0::2] + rows[1::2]
            level += 1
        if len(rows):
            self._groups.append(rows)
            self._count += len(rows)

    def _merge(self) -> None:
        """Make groups of twice as many rows."""
        rows = np.concatenate(self._groups)
        if self._exact is None:
            self._exact = [0] * rows.shape[1]
            self._add_exactly(rows)
        self._groups, self._count = [], 0
        self._level += 1
        self._carry(rows, self._level - 1)

    def _add_exactly(self, rows: Array) -> None:
        """Add doubles as whole numbers of 2^-_OFFSET."""
        assert self._exact is not None
        mantissas, powers = np.frexp(rows)
        numbers = np.ldexp(mantissas, _DIGITS).astype(np.int64)
        # In halves, so that sums of many rows still fit.
        halves = ((numbers >> 26, 26), (numbers & ((1 << 26) - 1), 0))
        for power in np.unique(powers).tolist():
            there = powers == power
            for half, shift in halves:
                sums = np.where(there, half, 0).sum(axis=0).tolist()
                for column, total in enumerate(sums):
                    self._exact[column] += total << (shift + power - _DIGITS + _OFFSET)
