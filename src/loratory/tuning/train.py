"""Training an adapter with transformers' `Trainer`, subclassed where its numbers differ.

Two things are ours: the loss, which is summed over supervised tokens and divided by their
number in the whole optimiser step, and the validation loss, which is the same mean over the
whole split rather than a mean of batch means. Schedules, clipping, checkpoints, resuming,
distribution and loggers are transformers' own.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import Dataset
from transformers import EarlyStoppingCallback, Trainer, TrainerCallback, TrainingArguments
from transformers.trainer_callback import PrinterCallback
from transformers.trainer_pt_utils import LengthGroupedSampler

from loratory.config import TrainConfig
from loratory.errors import RunError
from loratory.progress import Progress
from loratory.tuning.adapter import save_adapter
from loratory.tuning.encode import Encoded, collate
from loratory.tuning.loss import loss_sum
from loratory.tuning.model import Resolved

__all__ = ["Trained", "train"]


@dataclass(frozen=True)
class Trained:
    """How a training ended."""

    steps: int
    best_step: int
    best_eval_loss: float
    stopped_early: bool
    examples_per_second: float
    """Training rows a second, validation and checkpoints included."""


class _Rows(Dataset[Encoded]):  # type: ignore[misc]
    def __init__(self, rows: Sequence[Encoded]) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Encoded:
        return self.rows[index]


class SupervisedTrainer(Trainer):  # type: ignore[misc]
    """`Trainer` with the supervised loss, exact validation, and batches of like length."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # The number of supervised tokens of a whole step is counted and handed to compute_loss,
        # which divides by it: accumulating 1×8 rows then equals 8×1.
        self.model_accepts_loss_kwargs = True
        self.loss_is_scaled_for_ga = True

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> torch.Tensor:
        assert not return_outputs, "validation has its own loop"
        assert num_items_in_batch is not None
        total, _ = loss_sum(model, inputs)
        # Gradients are averaged over processes, but the count is already of all of them.
        return total / num_items_in_batch * self.accelerator.num_processes

    def evaluate(self, *_: Any, metric_key_prefix: str = "eval", **__: Any) -> dict[str, float]:
        self.model.eval()
        device = self.args.device
        total = torch.zeros((), dtype=torch.float64, device=device)
        count = torch.zeros((), dtype=torch.float64, device=device)
        for batch in self.get_eval_dataloader():
            with torch.no_grad():
                loss, n = loss_sum(self.model, self._prepare_inputs(batch))
            total += loss.double()
            count += n
        total, count = (self.accelerator.reduce(x, reduction="sum") for x in (total, count))
        metrics = {f"{metric_key_prefix}_loss": float(total / count)}
        self.log(metrics)
        self.control: Any = self.callback_handler.on_evaluate(
            self.args, self.state, self.control, metrics
        )
        return metrics

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        rows = (train_dataset or self.train_dataset).rows
        size = self.args.train_batch_size * self.args.gradient_accumulation_steps
        return LengthGroupedSampler(size, lengths=[row.length for row in rows])


class _Log(TrainerCallback):  # type: ignore[misc,unused-ignore]
    """Writes train.jsonl, a line a logged step, and tells the progress display."""

    def __init__(self, file: Path, progress: Progress) -> None:
        self.file = file
        self.progress = progress
        self.shown = 0

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        lines = self.file.read_text(encoding="utf-8").splitlines() if self.file.exists() else []
        # After a resume the steps beyond the checkpoint are taken, and logged, again.
        kept = [line for line in lines if json.loads(line)["step"] <= state.global_step]
        self.file.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")
        self.progress.begin("train", state.max_steps)
        self.progress.advance(state.global_step)
        self.shown = state.global_step

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float], **_: Any) -> None:
        if "train_runtime" in logs:  # Trainer's own summary; ours is in the manifest
            return
        line = {"step": state.global_step, **logs}
        with self.file.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(line) + "\n")
        loss = logs.get("loss", logs.get("eval_loss", math.nan))
        if not math.isfinite(loss):
            raise RunError(
                f"train: the loss is {loss} at step {state.global_step}. Lower "
                "train.learning_rate, raise train.warmup_steps, or set model.dtype: float32."
            )
        name = "loss" if "loss" in logs else "validation loss"
        self.progress.advance(state.global_step - self.shown, f"{name} {loss:.3f}")
        self.shown = state.global_step


def train(
    spec: Resolved,
    model: Any,
    rows: Sequence[Encoded],
    validation: Sequence[Encoded],
    config: TrainConfig,
    *,
    seed: int,
    folder: Path,
    progress: Progress,
) -> Trained:
    """Train what is trainable in `model`, and leave its best state in `folder/adapter`.

    A checkpoint in `folder/checkpoints` is continued, early stopping's count included.

    Args:
        spec: the base model.
        model: with an adapter attached.
        rows: the training split.
        validation: the split whose loss decides what is best and when to stop.
        config: the recipe's train section.
        seed: of batches and dropout.
        folder: the run folder.
        progress: hears of every logged step.

    Raises:
        RunError: the loss is not a number, or the disk is full.
    """
    began = time.monotonic()
    checkpoints = folder / "checkpoints"
    trainer = SupervisedTrainer(
        model=model,
        args=_arguments(config, seed, checkpoints),
        train_dataset=_Rows(rows),
        eval_dataset=_Rows(validation),
        data_collator=collate(spec, getattr(model, "prepare_decoder_input_ids_from_labels", None)),
        callbacks=[_Log(folder / "train.jsonl", progress)],
    )
    trainer.remove_callback(PrinterCallback)
    if config.early_stopping_patience is not None:
        trainer.add_callback(
            EarlyStoppingCallback(config.early_stopping_patience, config.early_stopping_threshold)
        )
    resume = _last_checkpoint(checkpoints)
    if resume is not None:
        progress.note(f"Going on from {resume.name}")
    before = int(resume.name.rpartition("-")[2]) if resume else 0
    trainer.train(resume_from_checkpoint=str(resume) if resume else None)
    seconds = time.monotonic() - began
    state = trainer.state
    save_adapter(trainer.accelerator.unwrap_model(model), folder)
    done = (state.global_step - before) * trainer.get_total_train_batch_size(trainer.args)
    return Trained(
        steps=state.global_step,
        best_step=state.best_global_step or state.global_step,
        best_eval_loss=float(state.best_metric),
        stopped_early=state.global_step < state.max_steps,
        examples_per_second=done / seconds,
    )


def _arguments(config: TrainConfig, seed: int, checkpoints: Path) -> TrainingArguments:
    values = config.model_dump(exclude={"early_stopping_patience", "early_stopping_threshold"})
    if not values["report_to"]:
        values["report_to"] = "none"
    return TrainingArguments(
        output_dir=str(checkpoints),
        seed=seed,
        data_seed=seed,
        eval_strategy="steps",
        save_strategy="steps",
        save_steps=values["eval_steps"],
        load_best_model_at_end=True,
        metric_for_best_model="eval_loss",
        greater_is_better=False,
        # Without it, resuming would forget how many validations have passed without gain.
        restore_callback_states_from_checkpoint=True,
        remove_unused_columns=False,
        disable_tqdm=True,
        logging_nan_inf_filter=False,
        logging_first_step=True,
        dataloader_pin_memory=torch.cuda.is_available(),
        **values,
    )


def _last_checkpoint(checkpoints: Path) -> Path | None:
    found = [
        path
        for path in checkpoints.glob("checkpoint-*")
        # Written last by Trainer: without it the checkpoint is half a one.
        if (path / "trainer_state.json").is_file()
    ]
    return max(found, key=lambda path: int(path.name.rpartition("-")[2]), default=None)
