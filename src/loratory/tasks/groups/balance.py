"""Group-balanced sampling: every group equally often beside every label.

Idrissi et al. 2022, "Simple data balancing achieves competitive worst-group-accuracy" (arXiv
2110.14503). Where label and group go together in the data, a model can read the one off the other;
after balancing it cannot. Rows of rarer groups are repeated; none is thrown away.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from loratory.errors import DataError, suggest
from loratory.records import Example
from loratory.tasks.base import Row
from loratory.tasks.draw import draw
from loratory.tasks.groups.swap import axes, swap
from loratory.tasks.groups.wordlist import WordList

__all__ = [
    "MOST",
    "Balanced",
    "balanced",
    "check_column",
    "group_of",
    "group_words",
    "with_group",
]

MOST = 10
"""A row stands at most so many times, lest a handful of rows be learnt by heart."""


class Balanced(NamedTuple):
    """Training rows in which groups occur equally often."""

    examples: list[Example]
    counts: dict[str, int]
    """Group to its rows before."""
    added: int
    short: tuple[str, ...]
    """Groups that are still rarer than others somewhere, their rows having been repeated `MOST`
    times."""


def balanced(examples: Sequence[Example], groups: Sequence[str], seed: int = 0) -> Balanced:
    """Repeat rows until, within every label, all groups have as many rows as the largest.

    Rows without a group (an empty text) stay as they are. Without labels, groups are balanced
    over all rows. A group that a label has no row of cannot be balanced there; it is named in
    `short`.

    Args:
        examples: training rows.
        groups: the group of each, in the same order.
        seed: which rows are repeated once more than others.

    Raises:
        DataError: fewer than two groups.
    """
    assert len(examples) == len(groups), "one group a row"
    counts: dict[str, int] = {}
    for group in groups:
        if group:
            counts[group] = counts.get(group, 0) + 1
    if len(counts) < 2:
        found = ", ".join(counts) or "none"
        raise DataError(
            f"data.balance: the training rows have fewer than two groups (found: {found}). "
            "Name another column or word list, or leave it out."
        )
    cells: dict[int | None, dict[str, list[int]]] = {}
    for i, (row, group) in enumerate(zip(examples, groups, strict=True)):
        if group:
            cells.setdefault(row.label, {name: [] for name in sorted(counts)})[group].append(i)
    times = [1] * len(examples)
    short = set()
    for cell in cells.values():
        goal = max(map(len, cell.values()))
        for name, rows in cell.items():
            if len(rows) * MOST < goal:
                short.add(name)
            if not rows:
                continue
            whole, rest = divmod(min(goal, len(rows) * MOST), len(rows))
            order = sorted(rows, key=lambda i: draw(seed, "balance", examples[i].id))
            for place, i in enumerate(order):
                times[i] = whole + (place < rest)
    found_rows = [
        row if copy == 1 else dataclasses.replace(row, id=f"{row.id}~{copy}")
        for row, count in zip(examples, times, strict=True)
        for copy in range(1, count + 1)
    ]
    return Balanced(found_rows, counts, len(found_rows) - len(examples), tuple(sorted(short)))


def group_words(examples: Sequence[Example], words: WordList) -> list[str]:
    """Return the group whose listed words each example holds; empty for none, or for both."""
    (axis,) = axes([words])
    found = []
    for row in examples:
        first, second = 0, 0
        for text in (row.source, *(turn.content for turn in row.context)):
            seen = swap(text, axis)
            first, second = first + seen.first, second + seen.second
        one_alone = bool(first) != bool(second)
        found.append(axis.groups[0 if first else 1] if one_alone else "")
    return found


def with_group(examples: Sequence[Example], row: Row, column: str) -> list[Example]:
    """Return the examples of one row of data with the group that a column of it names.

    Args:
        examples: what the task made of the row.
        row: the row as read.
        column: its column; an empty or absent value means that the row belongs to no group.

    Raises:
        DataError: a value that is neither text, a number, nor true or false.
    """
    group = group_of(row, column, examples[0].id if examples else "a row")
    return [dataclasses.replace(example, group=group) for example in examples]


def group_of(row: Row, column: str, where: str) -> str:
    """Return the group that a column of a row names; arguments and errors as `with_group`."""
    value = row.get(column)
    if value is None or value != value:  # a blank cell of Parquet is not a number
        return ""
    if not isinstance(value, str | int | float):
        raise DataError(
            f"{where}: {column} must be a name or a number, got {type(value).__name__}."
        )
    return " ".join(str(value).split())


def check_column(rows: Iterable[Row], column: str, field: str = "bias.group") -> None:
    """Raise unless some row has a column.

    Raises:
        DataError: none has it; the sentence begins with `field`.
    """
    known: dict[str, None] = {}
    for row in rows:
        if column in row:
            return
        known |= dict.fromkeys(row)
    raise DataError(f"{field}: the data have no column '{column}'. {suggest(column, known)}")
