"""Whether a step's loss and gradient may be learnt from, and what to say where they may not."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from loratory.errors import RunError
from loratory.tuning.encode import Encoded

__all__ = ["NATS", "Soundness", "rows_of"]

NATS, TIMES = 100.0, 10.0
"""A loss has exploded that is above so many nats a target and so many times the first one. Guessing
among a million tokens costs 14 nats."""
NAMED = 8
"""Rows that are named at most."""


class Soundness:
    """Looks at every step before it is taken, so that what was learnt so far stays as it is."""

    def __init__(self) -> None:
        self._first: float | None = None

    def loss(self, value: float, step: int, rows: Sequence[str], kept: str | None) -> None:
        """Refuse a loss that is not a number, or has exploded.

        Args:
            value: of a batch, in nats a target.
            step: the one that would be taken, from 1.
            rows: the batch's, by id.
            kept: where the best adapter so far is, if there is one.

        Raises:
            RunError: the sentence names step, rows and what to try.
        """
        if not math.isfinite(value):
            raise RunError(_sentence(f"the loss is {value}", step, rows, kept))
        if self._first is None:
            self._first = value
        if value > max(NATS, TIMES * self._first):
            raise RunError(_sentence(f"the loss has exploded to {value:.4g}", step, rows, kept))

    def gradient(self, norm: float, step: int, kept: str | None) -> None:
        """Refuse a gradient whose norm is not a number.

        Args:
            norm: of all gradients together.
            step: as for `loss`.
            kept: as for `loss`.

        Raises:
            RunError: the sentence names the step and what to try.
        """
        if not math.isfinite(norm):
            raise RunError(_sentence(f"the gradient's norm is {norm}", step, (), kept))


def _sentence(what: str, step: int, rows: Sequence[str], kept: str | None) -> str:
    named = ", ".join(rows[:NAMED]) + (", …" if len(rows) > NAMED else "")
    batch = f" (rows {named})" if rows else ""
    look = ", or look at these rows" if rows else ""
    there = f" The best adapter so far is in {kept}." if kept else ""
    return (
        f"train: {what} at step {step}{batch}, which was not taken. Lower train.learning_rate, "
        f"raise train.warmup_steps, set model.dtype: float32{look}.{there}"
    )


def rows_of(inputs: dict[str, Any], known: Sequence[Encoded]) -> list[str]:
    """Return the ids of a batch's rows, as far as their prompts tell.

    Args:
        inputs: of a forward pass.
        known: the rows that are trained on.
    """
    found = []
    for ids in inputs["input_ids"].tolist():
        fits = [row for row in known if row.prompt and ids[: len(row.prompt)] == row.prompt]
        if fits:
            found.append(max(fits, key=lambda row: len(row.prompt)).id)
    return found
