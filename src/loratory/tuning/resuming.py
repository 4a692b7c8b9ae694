"""A `Trainer` whose checkpoints are sealed and hold no pickle, and which can be told to stop.

What a training goes on from is all here: optimiser, schedule, random states, and the sum of losses
since the last logged one, so that a checkpoint may be written at any step and leaves no trace in
the curve. Engines that shard a model (FSDP, DeepSpeed) keep their own files.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from transformers import Trainer, TrainerCallback
from transformers.trainer import TRAINING_ARGS_NAME

from loratory.config import TrainConfig
from loratory.errors import RunError
from loratory.tuning import checkpoint as checkpoints
from loratory.tuning.randomness import load_random, save_random

__all__ = ["Resuming", "Stopping", "shared_batch", "stoppable"]


class Resuming(Trainer):  # type: ignore[misc]
    """`Trainer` with checkpoints as `loratory.tuning.checkpoint` has them."""

    @property
    def _shards(self) -> bool:
        return bool(self.is_fsdp_enabled or self.is_deepspeed_enabled)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        most, self.args.save_total_limit = self.args.save_total_limit, None
        try:
            super()._save_checkpoint(model, trial)
        finally:
            self.args.save_total_limit = most
        self.accelerator.wait_for_everyone()
        if self.args.should_save:
            # Sealed before an older one goes.
            folder = Path(self.args.output_dir)
            checkpoints.seal(folder / f"checkpoint-{self.state.global_step}")
            checkpoints.rotate(folder, most or 10**9, self.state.best_global_step)

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        super()._save(output_dir, state_dict)
        # A pickle of what the recipe says; nobody reads it.
        (Path(output_dir or self.args.output_dir) / TRAINING_ARGS_NAME).unlink(missing_ok=True)

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        if self._shards:
            super()._save_optimizer_and_scheduler(output_dir)
        elif self.args.should_save:
            folder = Path(output_dir)
            checkpoints.save_optimizer(folder, self.optimizer.state_dict())
            checkpoints.save_values(folder, "schedule", self.lr_scheduler.state_dict())
        if self.args.should_save:
            since = {"total": self._total_loss_scalar, "logged": self._globalstep_last_logged}
            checkpoints.save_values(Path(output_dir), "losses", since)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if self._shards or checkpoint is None:
            super()._load_optimizer_and_scheduler(checkpoint)
            return
        folder = Path(checkpoint)
        self.optimizer.load_state_dict(checkpoints.load_optimizer(folder))
        self.lr_scheduler.load_state_dict(checkpoints.load_values(folder, "schedule"))

    def _save_scaler(self, output_dir: str) -> None:
        scaler = getattr(self.accelerator, "scaler", None)
        if scaler is not None and self.args.should_save:
            checkpoints.save_values(Path(output_dir), "scaler", scaler.state_dict())

    def _load_scaler(self, checkpoint: str | None) -> None:
        scaler = getattr(self.accelerator, "scaler", None)
        if checkpoint is not None and scaler is not None:
            known = checkpoints.load_values(Path(checkpoint), "scaler")
            if known:
                scaler.load_state_dict(known)

    def _own_state(self, folder: str) -> Path:
        return Path(folder) / f"process-{self.args.process_index}.safetensors"

    def _save_rng_state(self, output_dir: str) -> None:
        Path(output_dir).mkdir(parents=True, exist_ok=True)
        # Losses are a process's own until they are logged.
        save_random(self._own_state(output_dir), {"losses": self._tr_loss})

    def _load_rng_state(self, checkpoint: str | None) -> None:
        if checkpoint is None:
            return
        since = checkpoints.load_values(Path(checkpoint), "losses") or {}
        self._total_loss_scalar = since["total"]
        self._globalstep_last_logged = since["logged"]
        file = self._own_state(checkpoint)
        if file.exists():  # else there are more processes now: this one begins anew
            beside = load_random(file)
            self._tr_loss.copy_(beside["losses"])


def shared_batch(config: TrainConfig, began: int, now: int) -> TrainConfig:
    """Return the settings with which other processes take the steps that those before took.

    A step is of as many rows as it was: fewer processes read more batches for it, more of them
    fewer, or smaller ones.

    Args:
        config: the recipe's train section, which speaks of one process.
        began: processes by which the training was begun.
        now: processes by which it goes on.

    Raises:
        RunError: the rows of a step cannot be shared evenly by so many.
    """
    batch, steps = config.per_device_train_batch_size, config.gradient_accumulation_steps
    rows = batch * steps * began
    if began == now:
        return config
    if rows % (batch * now) == 0:
        changes = {"gradient_accumulation_steps": rows // (batch * now)}
    elif rows % now == 0:
        changes = {"gradient_accumulation_steps": 1, "per_device_train_batch_size": rows // now}
    else:
        raise RunError(
            f"train: it was begun with {rows} rows a step, which {now} processes cannot share "
            f"evenly. Go on with {began} or another divisor of {rows}."
        )
    return config.model_copy(update=changes)


class Stopping(TrainerCallback):  # type: ignore[misc,unused-ignore]
    """Ends a training behind the step in which it was asked to, its checkpoint written."""

    def __init__(self) -> None:
        self.asked: int | None = None
        """The signal that came."""

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if self._anywhere(args):
            control.should_save = True

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if self.asked is not None:
            raise KeyboardInterrupt(self.asked)

    def _anywhere(self, args: Any) -> bool:
        """Return whether any process was asked: all write a checkpoint together."""
        if args.world_size == 1:
            return self.asked is not None
        told = torch.tensor([self.asked or 0], device=args.device)
        torch.distributed.all_reduce(told, op=torch.distributed.ReduceOp.MAX)
        self.asked = int(told) or None
        return self.asked is not None


@contextmanager
def stoppable(stopping: Stopping) -> Iterator[None]:
    """Let Ctrl-C and SIGTERM ask for the end within the context; the second time at once.

    Where the context is not the main thread's, signals are left to whom they belong.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def ask(number: int, _: Any) -> None:
        if stopping.asked is not None:
            raise KeyboardInterrupt(number)
        stopping.asked = number

    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, ask) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
