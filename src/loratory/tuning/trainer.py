"""transformers' `Trainer`, subclassed where its numbers differ from what is meant.

Seven things are ours: the loss, which is summed over supervised tokens and divided by their
number in the whole optimiser step; the validation loss, which is the same mean over the whole
split rather than a mean of batch means; and the order of the rows, which hangs on seed and
epoch alone, so that a resumed run sees the rows an undisturbed one would have seen; the count of
tokens read, which leaves padding out for decoders too; a batch that memory has no room for is taken
in parts; what a method asks for: learning rates
of its own, a penalty, a state in the checkpoints; and what holds the model near its base.
Checkpoints are those of `resuming`; schedules, clipping, distribution and loggers are transformers'
own.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch.utils.data import Dataset, Sampler
from transformers.trainer_pt_utils import get_length_grouped_indices

from loratory.evaluation.overfitting import RowLosses
from loratory.methods.base import TrainingHooks
from loratory.tuning.batch import IGNORE, sorted_batches
from loratory.tuning.encode import Encoded
from loratory.tuning.halving import Halving
from loratory.tuning.loss import losses, supervised_logits, target_losses
from loratory.tuning.regularise import Remedies
from loratory.tuning.resuming import Resuming
from loratory.tuning.soundness import NATS, Soundness, rows_of
from loratory.tuning.validation import Goal, row_losses

__all__ = ["Rows", "SupervisedTrainer", "objective", "scale_rates"]

METHOD_STATE = "method_state.safetensors"
"""In a checkpoint: the trained parameters as they are, and what else a method must remember."""


class Rows(Dataset[Encoded]):  # type: ignore[misc]
    """Encoded rows as torch's loaders want them."""

    def __init__(self, rows: Sequence[Encoded]) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Encoded:
        return self.rows[index]


class LikeLength(Sampler[int]):  # type: ignore[misc]
    """Every row once, shuffled, rows of like length beside each other to save padding.

    Args:
        lengths: of the rows, in tokens.
        size: rows in an optimiser step.
        seed: of the shuffling.
        epoch: tells which epoch begins.
    """

    def __init__(
        self, lengths: Sequence[int], size: int, seed: int, epoch: Callable[[], int]
    ) -> None:
        self.lengths = list(lengths)
        self.size = size
        self.seed = seed
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        # Not torch's global generator: its state at the start of an epoch is lost on a resume.
        generator = torch.Generator().manual_seed(self.seed * 10_007 + self.epoch())
        yield from get_length_grouped_indices(self.lengths, self.size, generator=generator)


class SupervisedTrainer(Resuming):
    """`Trainer` with the supervised loss, exact validation, and batches of like length.

    Args:
        args: Trainer's, and so is all else.
        hooks: what the method asks for.
        remedies: what holds the model near its base.
        goal: what is measured at each validation besides the loss.
        beside: training rows whose loss is measured there as that of validation rows is.
        keep: is handed the losses of every row at each validation.
        tokens: read in one forward pass at most, padding included.
        note: is told what a user should know.
        kwargs: Trainer's.
    """

    def __init__(
        self,
        *args: Any,
        hooks: TrainingHooks,
        remedies: Remedies | None = None,
        goal: Goal | None = None,
        beside: Sequence[Encoded] = (),
        keep: Callable[[RowLosses], None] | None = None,
        tokens: int | None = None,
        note: Callable[[str], None] = print,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.halving = Halving(note, tokens)
        self.soundness = Soundness()
        self.hooks = hooks
        self.remedies = remedies
        self.goal, self.beside, self.keep = goal, beside, keep
        self.validation_seconds = self.goal_seconds = 0.0
        # The number of supervised tokens of a whole step is counted and handed to compute_loss,
        # which divides by it: accumulating 1×8 rows then equals 8×1.
        self.model_accepts_loss_kwargs = True
        self.loss_is_scaled_for_ga = True
        # Only a loss of transformers' own would shift labels: counted here are all of them.
        self._loss_shifts_labels = False

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> torch.Tensor:
        assert not return_outputs, "validation has its own loop"
        assert num_items_in_batch is not None
        total = objective(model, inputs, self.hooks, self.remedies, self.state.global_step)
        # Gradients are averaged over processes, but the count is already of all of them.
        return total / num_items_in_batch * self.accelerator.num_processes

    def training_step(
        self,
        model: Any,
        inputs: dict[str, Any],
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> torch.Tensor:
        def learn(part: dict[str, Any]) -> torch.Tensor:
            return super(SupervisedTrainer, self).training_step(model, part, num_items_in_batch)

        loss = self.halving.run(model, inputs, learn, alone=self.args.world_size == 1)
        value = float(loss)
        rows = () if math.isfinite(value) and value < NATS else self._named(inputs)
        self.soundness.loss(value, self.state.global_step + 1, rows, self._kept())
        return loss

    def _get_grad_norm(self, model: Any, grad_norm: Any = None) -> Any:
        norm = super()._get_grad_norm(model, grad_norm)
        # A scaler of float16 leaves such steps out by itself.
        if norm is not None and getattr(self.accelerator, "scaler", None) is None:
            self.soundness.gradient(float(norm), self.state.global_step + 1, self._kept())
        return norm

    def _named(self, inputs: dict[str, Any]) -> Sequence[str]:
        return rows_of(inputs, self.train_dataset.rows)

    def _kept(self) -> str | None:
        best = self.state.best_global_step
        return f"{self.args.output_dir}/checkpoint-{best}" if best else None

    def _track_num_input_tokens(self, inputs: dict[str, Any]) -> None:
        if self.args.include_num_input_tokens_seen == "no" or "shift_labels" not in inputs:
            super()._track_num_input_tokens(inputs)
            return
        # A decoder's batch has no attention mask, and a pad token may be an end token too. But
        # every row ends in a target, so what lies behind its last one is padding.
        keep = inputs["labels"] != IGNORE  # (B, T)
        places = torch.arange(1, keep.shape[1] + 1, device=keep.device)
        read = (keep * places).amax(dim=1).sum().to(self.args.device)
        self.state.num_input_tokens_seen += int(self.accelerator.gather(read).sum())

    def evaluate(self, *_: Any, metric_key_prefix: str = "eval", **__: Any) -> dict[str, float]:
        began = time.monotonic()
        self.model.eval()
        nats, tokens = self._losses(self.eval_dataset.rows)
        metrics = {f"{metric_key_prefix}_loss": sum(nats) / sum(tokens)}
        if self.beside:
            trained = self._losses(self.beside)
            metrics[f"{metric_key_prefix}_train_loss"] = sum(trained[0]) / sum(trained[1])
            if self.keep is not None:
                self.keep(RowLosses(self.state.global_step, nats, tokens, *trained))
        if self.goal is not None:
            asked = time.monotonic()
            value = self.goal.measure(self.accelerator.unwrap_model(self.model))
            metrics[f"{metric_key_prefix}_{self.goal.name}"] = value
            self.goal_seconds += time.monotonic() - asked
        self.validation_seconds += time.monotonic() - began
        self.log(metrics)
        self.control: Any = self.callback_handler.on_evaluate(
            self.args, self.state, self.control, metrics
        )
        return metrics

    def _losses(self, rows: Sequence[Encoded]) -> tuple[tuple[float, ...], tuple[int, ...]]:
        """Return the summed loss of every row, in nats, and its number of supervised tokens."""
        batches = sorted_batches([row.length for row in rows], self.args.eval_batch_size)
        rank, world = self.args.process_index, self.args.world_size
        sums = torch.zeros(len(rows), 2, dtype=torch.float64, device=self.args.device)
        for start in range(0, len(batches), world):
            # Every process must go forward as often; one that has run out takes a batch again,
            # and does not count it.
            turn = start + rank
            places = batches[turn % len(batches)]
            batch = self.data_collator([rows[i] for i in places])
            with torch.no_grad():
                found = row_losses(self.model, self._prepare_inputs(batch))
            if turn < len(batches):
                sums[places] = found
        nats, tokens = self.accelerator.reduce(sums, reduction="sum").T.tolist()
        return tuple(nats), tuple(map(int, tokens))

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        fresh = self.optimizer is None
        optimizer: torch.optim.Optimizer = super().create_optimizer(model)
        if fresh and self.hooks.learning_rates:
            scale_rates(optimizer, dict(self.model.named_parameters()), self.hooks.learning_rates)
        return optimizer

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        super()._save(output_dir, state_dict)
        if self.hooks.state is None:
            return
        tensors = {f"parameter.{key}": value for key, value in self._trained().items()}
        for i, part in enumerate(self.hooks.state()):
            tensors |= {f"{i}.{key}": value for key, value in part.items()}
        kept = {key: value.detach().contiguous() for key, value in tensors.items()}
        save_file(kept, Path(output_dir or self.args.output_dir) / METHOD_STATE)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        super()._load_from_checkpoint(resume_from_checkpoint, model)
        self.take_up(Path(resume_from_checkpoint))

    def _load_best_model(self) -> None:
        super()._load_best_model()
        self.take_up(Path(str(self.state.best_model_checkpoint)))

    def take_up(self, checkpoint: Path) -> None:
        """Set the trained parameters, and what the method remembers, to a checkpoint's."""
        if self.hooks.state is None:
            return
        tensors = load_file(checkpoint / METHOD_STATE, device=str(self.args.device))
        parts = self.hooks.state()
        for part in parts:
            part.clear()
        trained = self._trained()
        for key, value in tensors.items():
            where, _, name = key.partition(".")
            if where == "parameter":
                trained[name].data.copy_(value)
            else:
                parts[int(where)][name] = value

    def _trained(self) -> dict[str, torch.nn.Parameter]:
        return {key: p for key, p in self.model.named_parameters() if p.requires_grad}

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        rows = (train_dataset or self.train_dataset).rows
        # Of all processes together: then the rows of a step do not hang on how many they are.
        size = self.get_total_train_batch_size(self.args)
        lengths = [row.length for row in rows]
        # A hair more, for a share such as 3 × (1/3) may fall short of its epoch.
        return LikeLength(
            lengths, size, self.args.seed, lambda: int((self.state.epoch or 0) + 1e-6)
        )


def objective(
    model: Any, inputs: dict[str, Any], hooks: TrainingHooks, remedies: Remedies | None, step: int
) -> torch.Tensor:
    """Return what a batch adds to the sum that a step is to lower, in nats.

    It is the cross-entropy of its targets, and for each target what the remedies and the method's
    penalty add: the counts of a step's batches make up its whole.

    Args:
        model: as the training has it.
        inputs: the batch.
        hooks: what the method asks for.
        remedies: what holds the model near its base.
        step: optimiser steps already taken.
    """
    if remedies is not None and remedies.compares:
        logits, targets = supervised_logits(model, inputs)
        nats = target_losses(logits, targets)
    else:  # nobody asks for logits, so that they need not be there as a whole
        logits, nats = None, losses(model, inputs)
    total, count = nats.sum(), len(nats)
    if remedies is not None:
        total = total + count * remedies.added(model, inputs, logits, step)
    if hooks.penalty is not None:
        total = total + count * hooks.penalty()
    return total


def scale_rates(
    optimizer: torch.optim.Optimizer,
    parameters: Mapping[str, torch.nn.Parameter],
    factors: Mapping[str, float],
) -> None:
    """Give the parameters whose name contains a key of `factors` that multiple of the rate.

    Each group is split by factor; decay and all else stay as they were. The first key that a
    name contains counts.
    """
    names = {id(parameter): name for name, parameter in parameters.items()}

    def factor(parameter: torch.nn.Parameter) -> float:
        name = names.get(id(parameter), "")
        return next((value for key, value in factors.items() if key in name), 1.0)

    split = []
    for group in optimizer.param_groups:
        for value in dict.fromkeys(factor(p) for p in group["params"]):
            chosen = [p for p in group["params"] if factor(p) == value]
            split.append({**group, "params": chosen, "lr": group["lr"] * value})
    optimizer.param_groups[:] = split
