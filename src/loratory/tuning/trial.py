"""A few real steps before a training: how long it will take, and what it really holds.

Nothing is written. The optimiser steps are taken on a copy of the run that is thrown away: on the
longest batch first, which shows the peak, and then on batches drawn from those of the first epoch.
One batch of test rows is answered by the base model and by the adapted one. What remedies and the
method ask of the training loop, such as replay, a penalty or a start drawn from rows or general
texts, is done as in training, and so are validations by a metric.
"""

from __future__ import annotations

import math
import random
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch

from loratory.config import RunConfig, TrainConfig
from loratory.methods.base import TrainingHooks
from loratory.progress import Progress, Silent
from loratory.records import Example
from loratory.tuning.batch import collate, sorted_batches
from loratory.tuning.encode import Encoded, Encoder
from loratory.tuning.fused import accelerated
from loratory.tuning.fused.compiled import compiled
from loratory.tuning.loss import loss_sum
from loratory.tuning.memory import peak_bytes
from loratory.tuning.model import Loaded
from loratory.tuning.predict import predict
from loratory.tuning.regularise import Remedies, remedies_of
from loratory.tuning.steps import (
    Step,
    an_epoch,
    steps_for_seconds,
    steps_for_tokens,
    total_steps,
    width,
)
from loratory.tuning.texts import text_batches
from loratory.tuning.trainer import objective, scale_rates
from loratory.tuning.validation import goal_for, measured_beside

__all__ = ["Seconds", "Trial", "try_out"]


@dataclass(frozen=True)
class Seconds:
    """A time that is expected, in seconds."""

    expected: float
    low: float
    high: float
    """From the fastest to the slowest of what was measured; equal where it was measured once."""

    def plus(self, other: Seconds) -> Seconds:
        """Return both, one after the other."""
        return Seconds(self.expected + other.expected, self.low + other.low, self.high + other.high)


@dataclass(frozen=True)
class Trial:
    """What a few real steps showed."""

    steps: int
    """Optimiser steps that were taken."""
    step_seconds: tuple[float, ...]
    """Of each, the first one aside: it also prepares kernels."""
    training: Seconds
    """Of the whole training, without early stopping: the method's start, steps and validations, not
    checkpoints."""
    training_steps: int
    """Optimiser steps of the whole training, as far as `max_tokens` and `max_seconds` let it go."""
    start: float
    """The part of `training` in which the method draws its start from rows or texts, in seconds."""
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
    examples: Mapping[str, Sequence[Example]],
    config: RunConfig,
    steps: int,
    progress: Progress,
    texts: Sequence[str] = (),
) -> Trial:
    """Take a few optimiser steps and answer a batch of test rows; measure both.

    Args:
        loaded: the base model.
        model: with the method attached. It is changed, and of no use afterwards.
        encoder: of the model.
        rows: the splits, encoded.
        examples: of the validation and the test split.
        config: the recipe.
        steps: optimiser steps, at least 2; the first is not counted in the time.
        progress: hears of every step.
        texts: general ones, to replay or for a start that looks at them.
    """
    train = config.train
    hooks = config.method.training(model)
    shift = getattr(model, "prepare_decoder_input_ids_from_labels", None)
    batcher = collate(loaded.spec, shift)

    def batches(step: Step) -> list[dict[str, Any]]:
        return [_moved(batcher([rows["train"][i] for i in part]), model) for part in step.batches]

    epoch = an_epoch(rows["train"], config)
    planned = total_steps(len(rows["train"]), config)
    if train.activation_checkpointing:
        model.activation_checkpointing_enable()
    general = text_batches(
        loaded.spec,
        texts,
        max_tokens=config.remedy.replay_tokens,
        seed=config.seed,
        shift_right=shift,
    )
    start = _start(
        hooks,
        (batch for step in epoch for batch in batches(step)),
        (_moved(batch, model) for batch in general),
    )
    remedies = remedies_of(config.remedy, model, loaded.spec, texts, train, seed=config.seed)
    optimizer = torch.optim.AdamW(
        [p for p in model.parameters() if p.requires_grad], lr=train.learning_rate
    )
    if hooks.learning_rates:
        scale_rates(optimizer, dict(model.named_parameters()), hooks.learning_rates)
    if hooks.begin is not None:
        hooks.begin(0, planned)
    # Longest first; the others are drawn, so that their mean is that of the epoch.
    first = epoch[:planned]
    longest = max(first, key=lambda step: step.tokens)
    drawn = random.Random(config.seed).sample(first, min(steps - 1, len(first)))  # noqa: S311
    while len(drawn) < steps - 1:
        drawn.append(first[len(drawn) % len(first)])
    model.train()
    taken = []
    progress.begin("steps", steps)
    with (
        accelerated(model, loaded.spec.family, wanted=train.fuses),
        compiled(model, wanted=train.torch_compile),
    ):
        for number, step in enumerate((longest, *drawn), start=1):
            began = time.perf_counter()
            _step(model, batches(step), optimizer, train, hooks, remedies, number)
            taken.append((step.tokens, time.perf_counter() - began))
            progress.advance(1)
    rates = [seconds / tokens for tokens, seconds in taken[1:]]
    mean = sum(s for _, s in taken[1:]) / sum(n for n, _ in taken[1:])
    allowed = steps_for_tokens(rows["train"], loaded.spec.family, config, planned)
    beside = measured_beside(len(rows["train"]), len(rows["validation"]), config.seed)
    once = _validation(model, batcher, rows["validation"], config)
    once = once.plus(_validation(model, batcher, [rows["train"][i] for i in beside], config))
    if (goal := goal_for(config, encoder, examples["validation"])) is not None:
        once = once.plus(_answers(model, encoder, goal.examples, config))
    every = train.eval_steps if train.eval_steps >= 1 else math.ceil(train.eval_steps * planned)
    # Whole epochs have the tokens of this one; a part of a later one has its share.
    tokens = sum(step.tokens for step in first) / len(first)
    limit = train.max_seconds
    expected, fast, slow = (
        _whole(tokens * rate, validation, int(every), limit, allowed)
        for rate, validation in (
            (mean, once.expected),
            (min(rates), once.low),
            (max(rates), once.high),
        )
    )
    # In the same seconds a faster machine takes more steps, and may end later for it.
    ends = [start + run.stepping + run.validating for run in (fast, expected, slow)]
    checks = [run.validating for run in (fast, expected, slow)]
    training = Seconds(ends[1], min(ends), max(ends))
    validation = Seconds(checks[1], min(checks), max(checks))
    training_peak = peak_bytes()
    with model.disable_adapter():
        base = _answers(model, encoder, examples["test"], config)
    tuned = _answers(model, encoder, examples["test"], config)
    return Trial(
        steps=len(taken),
        step_seconds=tuple(seconds for _, seconds in taken[1:]),
        training=training,
        training_steps=expected.steps,
        start=start,
        validation=validation,
        prediction={"base": base, "tuned": tuned},
        training_peak_bytes=training_peak,
        peak_bytes=peak_bytes(),
    )


class _Whole(NamedTuple):
    """A whole training, as far as `max_seconds` lets it go."""

    steps: int
    stepping: float
    """Seconds of its steps."""
    validating: float
    """Seconds of its validations."""


def _whole(step: float, validation: float, every: int, limit: float | None, most: int) -> _Whole:
    """Return a training whose steps and validations take so many seconds each."""
    steps = steps_for_seconds(lambda n: n * step + n // every * validation, limit, most)
    # Wherever it ends, a training validates its last step.
    return _Whole(steps, steps * step, math.ceil(steps / every) * validation)


def _start(
    hooks: TrainingHooks, rows: Iterator[dict[str, Any]], texts: Iterator[dict[str, Any]]
) -> float:
    """Let the method draw its start from rows or texts, if it does; return the seconds taken."""
    began = time.perf_counter()
    if hooks.start is None and hooks.start_on_texts is None:
        return 0.0
    if hooks.start is not None:
        hooks.start(rows)
    if hooks.start_on_texts is not None:
        hooks.start_on_texts(texts)
    return time.perf_counter() - began


def _step(
    model: Any,
    batches: Sequence[dict[str, Any]],
    optimizer: torch.optim.Optimizer,
    train: TrainConfig,
    hooks: TrainingHooks,
    remedies: Remedies | None,
    number: int,
) -> None:
    supervised = sum(int((batch["labels"] >= 0).sum()) for batch in batches)
    for batch in batches:
        total = objective(model, batch, hooks, remedies, number - 1)
        (total / max(supervised, 1)).backward()
    if train.max_grad_norm:
        torch.nn.utils.clip_grad_norm_(
            [p for p in model.parameters() if p.requires_grad], train.max_grad_norm
        )
    optimizer.step()
    if hooks.after_step is not None:
        hooks.after_step(number)
    optimizer.zero_grad()
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def _moved(batch: Mapping[str, Any], model: Any) -> dict[str, Any]:
    return {key: value.to(model.device) for key, value in batch.items()}


def _validation(model: Any, batcher: Any, rows: Sequence[Encoded], config: RunConfig) -> Seconds:
    """Time one batch of middle length, and scale it to the whole split."""
    batches = sorted_batches([row.length for row in rows], config.train.per_device_eval_batch_size)
    middle = batches[len(batches) // 2]
    batch = batcher([rows[i] for i in middle])
    model.eval()
    taken = []
    for _ in range(2):
        began = time.perf_counter()
        with torch.no_grad():
            loss_sum(model, _moved(batch, model))
        taken.append(time.perf_counter() - began)
    share = sum(width(rows, item) for item in batches) / width(rows, middle)
    return Seconds(share * statistics.mean(taken), share * min(taken), share * max(taken))


def _answers(model: Any, encoder: Encoder, rows: Sequence[Example], config: RunConfig) -> Seconds:
    """Time one batch of rows that are answered, and scale it to all batches."""
    size = config.decode.batch_size
    batches = math.ceil(len(rows) / size)
    some = random.Random(config.seed).sample(list(rows), min(size, len(rows)))  # noqa: S311
    began = time.perf_counter()
    predict(model, encoder, some, config.decode, Silent(), "")
    once = (time.perf_counter() - began) * (len(rows) / len(some) if batches > 1 else 1)
    return Seconds(once, once, once)
