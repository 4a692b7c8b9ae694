"""Parameters of a test that are crossed: all in the whole suite, few in the fast tests."""

from __future__ import annotations

import itertools
from collections.abc import Container, Iterable, Sequence
from typing import Any

import pytest


def thinned(cases: Iterable[tuple[Any, ...]]) -> list[Any]:
    """Mark cases as slow, but for so few that each value of each parameter stays among the fast.

    The parameter of most values has one fast case for each of them, with the other parameters'
    values in turn.
    """
    cases = list(cases)
    columns = [list(dict.fromkeys(column)) for column in zip(*cases, strict=True)]
    longest = max(range(len(columns)), key=lambda i: len(columns[i]))
    fast = set()
    for turn, value in enumerate(columns[longest]):
        with_it = [case for case in cases if case[longest] == value]
        fast.add(with_it[turn % len(with_it)])
    for case in cases:
        if any(all(case[i] != other[i] for other in fast) for i in range(len(case))):
            fast.add(case)
    return [pytest.param(*case, marks=() if case in fast else pytest.mark.slow) for case in cases]


def few(values: Iterable[Any], fast: Container[Any]) -> list[Any]:
    """Mark values as slow, but for those that are named."""
    return [pytest.param(v, marks=() if v in fast else pytest.mark.slow) for v in values]


def crossed(**values: Sequence[Any]) -> pytest.MarkDecorator:
    """Parametrize a test by every combination of values, `thinned`."""
    return pytest.mark.parametrize(tuple(values), thinned(itertools.product(*values.values())))
