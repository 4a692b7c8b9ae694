"""What one way of looking at bias gives: numbers, what the verdict rests on, and words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from loratory.evaluation.bias.growth import Growth
from loratory.records import Contrasts

__all__ = ["MIN_ROWS", "Part", "joined"]

MIN_ROWS = 10
"""Fewer pairs or swapped rows give no number."""


class Part(NamedTuple):
    """One way of looking at bias, and what it showed."""

    tables: tuple[Contrasts, ...] = ()
    growths: tuple[Growth, ...] = ()
    """What the verdict rests on."""
    sentences: tuple[str, ...] = ()
    """What was not measured, and why."""
    limits: tuple[str, ...] = ()
    facts: Mapping[str, Any] = {}


def joined(parts: Sequence[Part]) -> Part:
    """Return all parts as one, in their order."""
    facts: dict[str, Any] = {}
    for part in parts:
        facts |= part.facts
    return Part(
        tuple(table for part in parts for table in part.tables),
        tuple(growth for part in parts for growth in part.growths),
        tuple(sentence for part in parts for sentence in part.sentences),
        tuple(limit for part in parts for limit in part.limits),
        facts,
    )
