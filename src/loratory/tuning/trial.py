"""A few real steps before a training: how long it will take, and what it really holds.

Nothing is written. The optimiser steps are taken on a copy of the run that is thrown away: on the
longest batch first, which shows the peak, and then on batches drawn from those of the first epoch.
One batch of test rows is answered by the base model and by the adapted one.
"""

from __future__ import annotations

import math
import random
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch

from loratory.config import RunConfig
from loratory.progress import Progress, Silent
from loratory.records import Example
from loratory.tuning.encode import Encoded, Encoder, collate
from loratory.tuning.generate import sorted_batches
from loratory.tuning.loss import loss_sum
from loratory.tuning.memory import peak_bytes
from loratory.tuning.model import Loaded
from loratory.tuning.predict import predict
from loratory.tuning.trainer import LikeLength

__all__ = ["Seconds", "Trial", "total_steps", "try_out"]


@dataclass(frozen=True)
class Seconds:
    """A time that is expected, in seconds."""

    expected: float
    low: float
    high: float
    """From the fastest to the slowest of what was measured; equal where it was measured once."""


@dataclass(frozen=True)
class Trial:
    """What a few real steps showed."""

    steps: int
    """Optimiser steps that were taken."""
    step_seconds: tuple[float, ...]
    """Of each, the first one aside: it also prepares kernels."""
    training: Seconds
    """Of the whole training, without early stopping: steps and validations, not checkpoints."""
    validation: Seconds
    """The part of `training` that is validation."""
    prediction: Mapping[str, Seconds]
    """Of the test rows, by system: base and tuned."""
    training_peak_bytes: int
    """The most memory that this process held up to the last step and validation."""
    peak_bytes: int
    """The same with prediction."""


def try_out(
    loaded: Loaded,
    model: Any,
    encoder: Encoder,
    rows: Mapping[str, Sequence[Encoded]],
    test: Sequence[Example],
    config: RunConfig,
    steps: int,
    progress: Progress,
) -> Trial:
    """Take a few optimiser steps and answer a batch of test rows; measure both.

    Args:
        loaded: the base model.
        model: with the method attached. It is changed, and of no use afterwards.
        encoder: of the model.
        rows: the splits, encoded.
        test: the test rows.
        config: the recipe.
        steps: optimiser steps, at least 2; the first is not counted in the time.
        progress: hears of every step.
    """
    train = config.train
    shift = getattr(model, "prepare_decoder_input_ids_from_labels", None)
    batcher = collate(loaded.spec, shift)
    epoch = _epoch(rows["train"], config)
    if train.activation_checkpointing:
        model.activation_checkpointing_enable()
    optimizer = torch.optim.AdamW(
        [p for p in model.parameters() if p.requires_grad], lr=train.learning_rate
    )
    # Longest first; the others are drawn, so that their mean is that of the epoch.
    order = sorted(epoch, key=lambda step: -step.tokens)
    drawn = random.Random(config.seed).sample(epoch, min(steps - 1, len(epoch)))  # noqa: S311
    while len(drawn) < steps - 1:
        drawn.append(epoch[len(drawn) % len(epoch)])
    model.train()
    taken = []
    progress.begin("steps", steps)
    for step in (order[0], *drawn):
        began = time.perf_counter()
        _step(
            model,
            [batcher([rows["train"][i] for i in part]) for part in step.batches],
            optimizer,
            train,
        )
        taken.append((step.tokens, time.perf_counter() - began))
        progress.advance(1)
    rates = [seconds / tokens for tokens, seconds in taken[1:]]
    mean = sum(s for _, s in taken[1:]) / sum(n for n, _ in taken[1:])
    count = total_steps(len(rows["train"]), config)
    # Whole epochs have the tokens of this one; a part of one has its share.
    tokens = sum(step.tokens for step in epoch) * count / len(epoch)
    validation = _validation(model, batcher, rows["validation"], config, count)
    training = Seconds(
        expected=tokens * mean + validation.expected,
        low=tokens * min(rates) + validation.low,
        high=tokens * max(rates) + validation.high,
    )
    training_peak = peak_bytes()
    with model.disable_adapter():
        base = _answers(model, encoder, test, config)
    tuned = _answers(model, encoder, test, config)
    return Trial(
        steps=len(taken),
        step_seconds=tuple(seconds for _, seconds in taken[1:]),
        training=training,
        validation=validation,
        prediction={"base": base, "tuned": tuned},
        training_peak_bytes=training_peak,
        peak_bytes=peak_bytes(),
    )


class _Step(NamedTuple):
    """The batches of one optimiser step, as places in the training split."""

    batches: list[list[int]]
    tokens: int
    """Of all batches, padding included."""


def _epoch(rows: Sequence[Encoded], config: RunConfig) -> list[_Step]:
    """Return the optimiser steps of the first epoch, as training draws them."""
    size = config.train.per_device_train_batch_size
    accumulated = config.train.gradient_accumulation_steps
    lengths = [row.length for row in rows]
    order = list(LikeLength(lengths, size * accumulated, config.seed, lambda: 0))
    batches = [order[i : i + size] for i in range(0, len(order), size)]
    steps = []
    for i in range(0, len(batches), accumulated):
        part = batches[i : i + accumulated]
        steps.append(_Step(part, sum(_width(rows, batch) for batch in part)))
    return steps


def _width(rows: Sequence[Encoded], batch: Sequence[int]) -> int:
    """Return the tokens of a batch, padding included."""
    return len(batch) * max(rows[i].length for i in batch)


def total_steps(rows: int, config: RunConfig) -> int:
    """Return the optimiser steps of a whole training on one process."""
    train = config.train
    if train.max_steps > 0:
        return train.max_steps
    batches = math.ceil(rows / train.per_device_train_batch_size)
    an_epoch = max(math.ceil(batches / train.gradient_accumulation_steps), 1)
    return math.ceil(train.num_train_epochs * an_epoch)


def _step(model: Any, batches: Sequence[dict[str, Any]], optimizer: Any, train: Any) -> None:
    supervised = sum(int((batch["labels"] >= 0).sum()) for batch in batches)
    for batch in batches:
        total, _ = loss_sum(model, _moved(batch, model))
        (total / max(supervised, 1)).backward()
    if train.max_grad_norm:
        torch.nn.utils.clip_grad_norm_(
            [p for p in model.parameters() if p.requires_grad], train.max_grad_norm
        )
    optimizer.step()
    optimizer.zero_grad()
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def _moved(batch: Mapping[str, Any], model: Any) -> dict[str, Any]:
    return {key: value.to(model.device) for key, value in batch.items()}


def _validation(
    model: Any, batcher: Any, rows: Sequence[Encoded], config: RunConfig, steps: int
) -> Seconds:
    """Time one batch of middle length, and scale it to every validation of the training."""
    train = config.train
    every = train.eval_steps if train.eval_steps >= 1 else math.ceil(train.eval_steps * steps)
    times = steps // max(int(every), 1)
    batches = sorted_batches([row.length for row in rows], train.per_device_eval_batch_size)
    middle = batches[len(batches) // 2]
    batch = batcher([rows[i] for i in middle])
    model.eval()
    taken = []
    for _ in range(2):
        began = time.perf_counter()
        with torch.no_grad():
            loss_sum(model, _moved(batch, model))
        taken.append(time.perf_counter() - began)
    share = sum(_width(rows, item) for item in batches) / _width(rows, middle) * times
    return Seconds(share * statistics.mean(taken), share * min(taken), share * max(taken))


def _answers(model: Any, encoder: Encoder, test: Sequence[Example], config: RunConfig) -> Seconds:
    """Time one batch of test rows, and scale it to all batches."""
    size = config.decode.batch_size
    batches = math.ceil(len(test) / size)
    some = random.Random(config.seed).sample(list(test), min(size, len(test)))  # noqa: S311
    began = time.perf_counter()
    predict(model, encoder, some, config.decode, Silent(), "")
    once = (time.perf_counter() - began) * (len(test) / len(some) if batches > 1 else 1)
    return Seconds(once, once, once)
