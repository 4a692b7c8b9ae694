"""What a validation measures: the loss of every row, and a value of the recipe's metrics.

Training rows are measured beside the validation rows, in the same way: their loss while training is
that of a model in motion, with dropout, and not to be held against a validation loss.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from loratory.config import DecodeConfig, RunConfig
from loratory.errors import ConfigError, DataError, RunError, suggest
from loratory.metrics.base import Metric
from loratory.progress import Silent
from loratory.records import Example, Prediction
from loratory.tasks.base import Task
from loratory.tuning.batch import IGNORE, collate, sorted_batches
from loratory.tuning.encode import Encoded, Encoder
from loratory.tuning.loss import loss_sum, losses
from loratory.tuning.model import Resolved, base_of
from loratory.tuning.predict import predict

__all__ = ["Goal", "goal_for", "mean_loss", "measured_beside", "row_losses", "sampled"]

MOST_TRAINING_ROWS = 200
"""Training rows whose loss is measured at each validation, where validation has as many."""


def sampled(count: int, most: int, seed: int) -> list[int]:
    """Return at most `most` of `count` places, ascending: the same for the same seed."""
    if count <= most:
        return list(range(count))
    drawn = np.random.Generator(np.random.PCG64(seed)).choice(count, most, replace=False)
    return sorted(drawn.tolist())


def measured_beside(rows: int, validation: int, seed: int) -> list[int]:
    """Return which training rows are measured at each validation, as many as validation has."""
    return sampled(rows, min(validation, MOST_TRAINING_ROWS), seed)


def mean_loss(model: Any, spec: Resolved, rows: Sequence[Encoded], batch_size: int) -> float:
    """Return the mean cross-entropy of a supervised token of all rows, in nats.

    Args:
        model: of any family, with or without an adapter; put into evaluation mode.
        spec: the base model.
        rows: at least one.
        batch_size: rows in one forward pass.
    """
    model.eval()
    batcher = collate(spec, getattr(model, "prepare_decoder_input_ids_from_labels", None))
    sums = torch.zeros(2, dtype=torch.float64)
    for batch in sorted_batches([row.length for row in rows], batch_size):
        inputs = {k: v.to(model.device) for k, v in batcher([rows[i] for i in batch]).items()}
        with torch.inference_mode():
            loss, count = loss_sum(model, inputs)
        sums += torch.stack([loss.double(), count.double()]).cpu()
    return float(sums[0] / sums[1])


def row_losses(model: Any, batch: dict[str, Any]) -> torch.Tensor:
    """Return each row's summed cross-entropy in nats, and its targets; shape (B, 2), float64.

    Added up, they are what `loss_sum` gives for the batch.

    Args:
        model: any of the three families, with or without an adapter.
        batch: what `collate` gave; it is not changed.
    """
    labels = batch["labels"]
    nats = losses(model, batch).double()
    rows = (labels != IGNORE).nonzero()[:, 0]  # in the order of the targets
    sums = torch.zeros(len(labels), 2, dtype=torch.float64, device=nats.device)
    return sums.index_add_(0, rows, torch.stack([nats, torch.ones_like(nats)], dim=1))


@dataclass(frozen=True)
class Goal:
    """A value of a metric by which the best state is chosen, and how it is measured."""

    name: str
    """Of the value: `rougeL`, `accuracy`."""
    metric: Metric
    encoder: Encoder
    examples: tuple[Example, ...]
    """Validation rows to answer."""
    decode: DecodeConfig

    @property
    def greater_is_better(self) -> bool:
        """Return the value's direction."""
        return self.name not in self.metric.lower_is_better

    def measure(self, model: Any) -> float:
        """Return the value, in the metric's own unit, of the model as it is.

        Raises:
            RunError: it is undefined for what the model answers.
        """
        inner = base_of(model)
        kept = getattr(inner, "generation_config", None)
        answers = predict(model, self.encoder, self.examples, self.decode, Silent(), self.name)
        if kept is not None:
            inner.generation_config = kept
        totals = self.metric.statistics(answers).sum(axis=0)
        value = float(self.metric.reduce(totals)[self.name])
        if not np.isfinite(value):
            reason = self.metric.undefined.get(self.name, "not defined for these answers")
            raise RunError(
                f"train.metric_for_best_model: {self.name} is undefined on the "
                f"{len(answers)} validation rows that were answered ({reason}). Choose loss or "
                "another value, or raise train.eval_generate_rows."
            )
        return value


def goal_for(config: RunConfig, encoder: Encoder, validation: Sequence[Example]) -> Goal | None:
    """Return what `train.metric_for_best_model` names; None for the loss.

    A classification head answers the whole split, as that costs what the loss costs.

    Args:
        config: the recipe, its task bound to its labels.
        encoder: of the model.
        validation: its examples.

    Raises:
        ConfigError: no such value, or one of which neither direction is better.
    """
    name = config.train.metric_for_best_model
    if name == "loss":
        return None
    field = "train.metric_for_best_model"
    known = _values(config.metrics, config.task, validation)
    metric = known.get(name)
    better = ["loss", *(x for x, of in known.items() if x not in of.descriptive)]
    if metric is None:
        raise ConfigError(f"{field}: unknown '{name}'. {suggest(name, better)}")
    if name in metric.descriptive:
        raise ConfigError(
            f"{field}: {name} is neither better when larger nor when smaller. {suggest('', better)}"
        )
    most = len(validation)
    if encoder.spec.family != "classifier":
        most = config.train.eval_generate_rows
    places = sampled(len(validation), most, config.seed)
    return Goal(name, metric, encoder, tuple(validation[i] for i in places), config.decode)


def _values(
    metrics: Sequence[Metric], task: Task, examples: Sequence[Example]
) -> dict[str, Metric]:
    """Return the values that the recipe's metrics give, by name: of perfect answers, if need be."""
    found: dict[str, Metric] = {}
    answers = [_perfect(task, example) for example in examples[:8]]
    for metric in metrics:
        try:
            totals = metric.statistics(answers).sum(axis=0)
        except DataError:  # it needs what these rows lack, and the scoring will say so
            continue
        with np.errstate(invalid="ignore", divide="ignore"):
            found |= dict.fromkeys(metric.reduce(totals), metric)
    return found


def _perfect(task: Task, example: Example) -> Prediction:
    names = task.choices()
    chances = tuple(float(i == example.label) for i in range(len(names)))
    return Prediction(
        id=example.id,
        text=task.answer(example),
        references=example.references,
        source=example.source,
        label=example.label,
        predicted=example.label,
        probabilities=chances,
    )
