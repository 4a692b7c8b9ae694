"""Rows to training, validation and test rows that share no question.

The draw is by hash: each row gets a number from the seed and its own text (for a sample:
its id), and a part takes those with the lowest. So a split is the same on every machine and
Python version, does not depend on the order of the file, and changes little when rows are
added.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from loratory.tasks.base import Row
from loratory.tasks.draw import draw
from loratory.tasks.rows import SourceRow

__all__ = ["Item", "apportion", "carve", "items", "question", "sample", "without"]


class Item(NamedTuple):
    """A row with what decides where it may go."""

    row: SourceRow
    key: bytes
    """The same for two rows that ask the same."""
    stratum: str
    """The value of the column to stratify by; one and the same for all without one."""


def question(values: Row, columns: Sequence[str]) -> bytes:
    """Return a digest of the given columns, blind to case and white space.

    Of a list of messages that ends with the assistant's, that last turn is the answer and is
    left out: two conversations that differ only there ask the same.
    """
    digest = hashlib.blake2b(digest_size=16)
    for column in columns:
        digest.update(_bytes(_normal(values.get(column))) + b"\0")
    return digest.digest()


def _normal(value: Any) -> str:
    if isinstance(value, list | tuple) and value:
        last = value[-1]
        answered = isinstance(last, Mapping) and last.get("role") == "assistant"
        value = json.dumps(value[:-1] if answered else value, sort_keys=True, default=str)
    return " ".join(str(value).split()).casefold()


def items(rows: Sequence[SourceRow], inputs: Sequence[str], stratify: str | None) -> list[Item]:
    """Return rows with their keys (over the columns `inputs`) and strata."""
    return [
        Item(row, question(row.values, inputs), str(row.values.get(stratify)) if stratify else "")
        for row in rows
    ]


def without(rows: Sequence[Item], others: Sequence[Item]) -> list[Item]:
    """Return those rows that ask nothing asked by `others`."""
    taken = {item.key for item in others}
    return [item for item in rows if item.key not in taken]


def apportion(counts: Sequence[int], caps: Sequence[int], size: int) -> list[int]:
    """Divide `size` seats among strata by largest remainder.

    Every stratum that can have a seat gets one where there are enough, the seat being taken
    from the stratum with the most. Ties go to the stratum that comes first.

    Args:
        counts: rows of each stratum.
        caps: the most seats each may get; may not exceed `counts`.
        size: seats in all; `sum(caps)` are given when it is more.
    """
    total = sum(counts)
    size = min(size, sum(caps))
    seats = [min(cap, size * n // total) for n, cap in zip(counts, caps, strict=True)]
    order = sorted(range(len(counts)), key=lambda i: -(size * counts[i] % total))
    left = size - sum(seats)
    while left:  # once, and again only where caps were in the way
        for i in order:
            if left and seats[i] < caps[i]:
                seats[i] += 1
                left -= 1
    for i in sorted(range(len(counts)), key=lambda i: -counts[i]):
        if seats[i] == 0 and caps[i] > 0:
            donor = max(range(len(seats)), key=seats.__getitem__)
            if seats[donor] < 2:
                break
            seats[donor] -= 1
            seats[i] = 1
    return seats


def carve(rows: Sequence[Item], size: int, seed: int, part: str) -> tuple[list[Item], list[Item]]:
    """Take about `size` rows out, stratified, and return them and the rest.

    Rows that ask the same stay together, so a part can fall short of `size` by less than
    the largest such group. Something of each stratum stays in the rest where that leaves
    enough: a class that only the test set knows cannot be learnt.
    """
    groups: dict[bytes, list[Item]] = {}
    for item in rows:
        groups.setdefault(item.key, []).append(item)
    drawn = sorted(groups.values(), key=lambda group: draw(seed, part, group[0].key))
    strata: dict[str, list[list[Item]]] = {}
    for group in drawn:
        strata.setdefault(group[0].stratum, []).append(group)

    counts = [sum(map(len, stratum)) for stratum in strata.values()]
    spared = [min(map(len, stratum)) for stratum in strata.values()]
    caps = [n - few for n, few in zip(counts, spared, strict=True)]
    if sum(caps) < size:  # too many strata of one question each to keep one of every kind
        caps = counts
    taken: set[bytes] = set()
    if counts:
        for stratum, seats in zip(strata.values(), apportion(counts, caps, size), strict=True):
            taken |= _fill(stratum, seats)
    part_rows = [item for item in rows if item.key in taken]
    return part_rows, [item for item in rows if item.key not in taken]


def _fill(stratum: Sequence[Sequence[Item]], seats: int) -> set[bytes]:
    taken: set[bytes] = set()
    left = seats
    for group in stratum:
        if len(group) <= left:
            taken.add(group[0].key)
            left -= len(group)
    if seats and not taken and len(stratum) > 1:
        # Every group is larger than the part: one too large is better than none at all.
        taken.add(min(stratum, key=len)[0].key)
    return taken


def sample(rows: Sequence[Item], limit: int | None, seed: int, part: str) -> list[Item]:
    """Return at most `limit` rows, stratified, in the order given; all without a limit."""
    if limit is None or limit >= len(rows):
        return list(rows)
    strata: dict[str, list[str]] = {}
    for item in sorted(rows, key=lambda item: draw(seed, f"{part} rows", item.row.id)):
        strata.setdefault(item.stratum, []).append(item.row.id)
    counts = [len(ids) for ids in strata.values()]
    kept: set[str] = set()
    for ids, seats in zip(strata.values(), apportion(counts, counts, limit), strict=True):
        kept.update(ids[:seats])
    return [item for item in rows if item.row.id in kept]


def _bytes(text: str) -> bytes:
    # A lone surrogate is refused later, by the task, which can name column and row.
    return text.encode("utf-8", "surrogatepass")
