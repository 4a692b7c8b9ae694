"""Checks that several methods' `problems` share: each returns sentences, none where all is well."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["above_zero", "at_least_one", "names_layers", "share"]


def at_least_one(field: str, value: int) -> list[str]:
    """Refuse a rank or another count below 1."""
    return [] if value >= 1 else [f"{field}: got {value}; it must be at least 1."]


def above_zero(field: str, value: float) -> list[str]:
    """Refuse a scale of 0, below it, or not a number."""
    return [] if value > 0 else [f"{field}: got {value}; it must be above 0."]


def share(field: str, value: float) -> list[str]:
    """Refuse a probability outside [0, 1)."""
    return [] if 0 <= value < 1 else [f"{field}: got {value}; it must be in [0, 1)."]


def names_layers(targets: Sequence[str]) -> list[str]:
    """Refuse an empty list of layers."""
    return [] if targets else ["target_modules: empty; name layers, or say [all-linear]."]
