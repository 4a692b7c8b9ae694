"""What the types of ROUGE are called, and what their names say."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal, NamedTuple

__all__ = ["TYPES", "Kind", "is_extension", "kind_of", "type_problems"]

TYPES = ("rouge1", "rouge2", "rougeL", "rougeLsum")

# One spelling a type: a weight has no zero at its end, a gap none in front.
_VALID = re.compile(
    r"rouge(?:(?P<n>[1-9])|(?P<lcs>L|Lsum)|W-(?P<weight>[1-9](?:\.\d{0,5}[1-9])?)"
    r"|(?P<skip>SU?)(?P<gap>\*|0|[1-9]\d{0,4}))"
)
_AVAILABLE = (
    "Available: rouge1 to rouge9, rougeL, rougeLsum, rougeW-1.2 (any weight from 1 below 10), "
    "rougeS4 and rougeSU4 (any gap, or * for no limit)."
)


class Kind(NamedTuple):
    """One type of ROUGE."""

    family: Literal["N", "L", "Lsum", "W", "S", "SU"]
    n: int = 1
    """Words of an n-gram, for N."""
    weight: float = 1.0
    """Exponent of a run's length, for W."""
    gap: int | None = None
    """Most words between the two of a skip-bigram, for S and SU; None: no limit."""


def kind_of(name: str) -> Kind | None:
    """Return what a type's name says, or None for a name that is no type."""
    match = _VALID.fullmatch(name)
    if match is None:
        return None
    if match["n"]:
        return Kind("N", n=int(match["n"]))
    if match["weight"]:
        return Kind("W", weight=float(match["weight"]))
    if match["skip"]:
        gap = None if match["gap"] == "*" else int(match["gap"])
        return Kind("SU" if match["skip"] == "SU" else "S", gap=gap)
    return Kind("Lsum" if match["lcs"] == "Lsum" else "L")


def is_extension(name: str) -> bool:
    """Return whether rouge_score does not know a type, so that Lin 2004 alone defines it."""
    kind = kind_of(name)
    return kind is not None and kind.family in ("W", "S", "SU")


def type_problems(types: Sequence[str]) -> list[str]:
    """Return what is wrong with a list of ROUGE types, one `types: sentence` each."""
    problems = [f"types: unknown '{t}'. {_AVAILABLE}" for t in types if kind_of(t) is None]
    problems += [f"types: '{t}' is given twice." for t in sorted(set(types)) if types.count(t) > 1]
    return problems if types else [f"types: empty, so there is nothing to compute. {_AVAILABLE}"]
