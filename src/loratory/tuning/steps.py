"""The optimiser steps of a training: which rows each reads, and where a budget ends them."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import NamedTuple

from loratory.config import RunConfig
from loratory.methods.base import Family
from loratory.tuning.encode import Encoded
from loratory.tuning.trainer import LikeLength

__all__ = ["Step", "an_epoch", "steps_for_seconds", "steps_for_tokens", "total_steps", "width"]


class Step(NamedTuple):
    """The batches of one optimiser step, as places in the training split."""

    batches: list[list[int]]
    tokens: int
    """Of all batches, padding included."""


def an_epoch(rows: Sequence[Encoded], config: RunConfig, epoch: int = 0) -> list[Step]:
    """Return the optimiser steps of an epoch, as training on one process draws them.

    Args:
        rows: the training split.
        config: the recipe.
        epoch: which one, from 0.
    """
    size = config.train.per_device_train_batch_size
    accumulated = config.train.gradient_accumulation_steps
    lengths = [row.length for row in rows]
    order = list(LikeLength(lengths, size * accumulated, config.seed, lambda: epoch))
    batches = [order[i : i + size] for i in range(0, len(order), size)]
    parts = (batches[i : i + accumulated] for i in range(0, len(batches), accumulated))
    return [Step(part, sum(width(rows, batch) for batch in part)) for part in parts]


def width(rows: Sequence[Encoded], batch: Sequence[int]) -> int:
    """Return the tokens of a batch, padding included."""
    return len(batch) * max(rows[i].length for i in batch)


def total_steps(rows: int, config: RunConfig) -> int:
    """Return the optimiser steps of a whole training on one process, budgets aside."""
    train = config.train
    if train.max_steps > 0:
        return train.max_steps
    return math.ceil(train.num_train_epochs * _steps_an_epoch(rows, config))


def _steps_an_epoch(rows: int, config: RunConfig) -> int:
    train = config.train
    batches = math.ceil(rows / train.per_device_train_batch_size)
    return max(math.ceil(batches / train.gradient_accumulation_steps), 1)


def steps_for_tokens(rows: Sequence[Encoded], family: Family, config: RunConfig, steps: int) -> int:
    """Return how many of `steps` are taken until `train.max_tokens` tokens are read.

    The step that reaches the limit is the last. All are taken where there is no limit.

    Args:
        rows: the training split.
        family: of the model.
        config: the recipe.
        steps: that there are at most.
    """
    limit = config.train.max_tokens
    if limit is None:
        return steps
    read = [_read(row, family) for row in rows]
    epoch = (limit - 1) // sum(read)  # the one in which the limit is reached
    taken, seen = 0, epoch * sum(read)
    for step in an_epoch(rows, config, epoch):
        taken += 1
        seen += sum(read[i] for batch in step.batches for i in batch)
        if seen >= limit:
            break
    return min(epoch * _steps_an_epoch(len(rows), config) + taken, steps)


def steps_for_seconds(seconds: Callable[[int], float], limit: float | None, steps: int) -> int:
    """Return how many of `steps` are taken until `limit` seconds have passed.

    Args:
        seconds: that the first so many steps take, rising.
        limit: `train.max_seconds`; None for none.
        steps: that there are at most.
    """
    if limit is None:
        return steps
    return min(bisect_left(range(1, steps + 1), limit, key=seconds) + 1, steps)


def _read(row: Encoded, family: Family) -> int:
    """Return the tokens that the trainer counts as read: those of the model's input."""
    spoken = len(row.answer) - 1 if family == "causal" else 0  # the end token is a target only
    return len(row.prompt) + spoken
