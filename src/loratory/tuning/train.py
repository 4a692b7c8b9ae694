"""Training an adapter: started, or gone on with from its last checkpoint, its best state kept."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import (
    EarlyStoppingCallback,
    TrainerCallback,
    TrainerState,
    TrainingArguments,
)
from transformers.trainer_callback import PrinterCallback

from loratory.codec import to_lines
from loratory.config import TrainConfig
from loratory.config.remedy import RemedyConfig
from loratory.errors import RunError
from loratory.evaluation.overfitting import LOSSES, RowLosses
from loratory.methods.base import TrainingHooks
from loratory.progress import Progress
from loratory.tuning.adapter import save_adapter
from loratory.tuning.batch import collate
from loratory.tuning.budget import Budget
from loratory.tuning.checkpoint import last_whole, number_of, state_of
from loratory.tuning.device import device
from loratory.tuning.encode import Encoded
from loratory.tuning.fused import accelerated
from loratory.tuning.fused.compiled import compiled
from loratory.tuning.garbage import frozen
from loratory.tuning.model import Resolved
from loratory.tuning.pages import kept_pages
from loratory.tuning.regularise import remedies_of
from loratory.tuning.resuming import Stopping, stoppable
from loratory.tuning.texts import text_batches
from loratory.tuning.trainer import Rows, SupervisedTrainer
from loratory.tuning.validation import Goal, measured_beside

__all__ = ["Trained", "train"]

PLAIN = TrainingHooks()
NONE = RemedyConfig()


@dataclass(frozen=True)
class Trained:
    """How a training ended."""

    steps: int
    best_step: int
    best_eval_loss: float
    """Validation loss at `best_step`, in nats a token."""
    stopped_early: bool
    examples_per_second: float
    """Training rows a second, validation and checkpoints included."""
    metric: str = "loss"
    """What decided which step is best."""
    best_value: float | None = None
    """Its value at `best_step`."""
    validation_seconds: float = 0.0
    """Spent in validations by this process, answering rows included."""
    generate_seconds: float = 0.0
    """The part of them spent on answering rows for `metric`."""
    validation_share: float = 0.0
    """Validations' share of the seconds this process trained, 0 to 1."""


class _Log(TrainerCallback):  # type: ignore[misc,unused-ignore]
    """Writes train.jsonl, a line a logged step, and tells the progress display."""

    def __init__(self, file: Path, progress: Progress) -> None:
        self.file = file
        self.progress = progress
        self.shown = 0

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.best_model_checkpoint:
            # The run may have been moved, or resumed from another working directory.
            state.best_model_checkpoint = str(
                Path(args.output_dir) / f"checkpoint-{state.best_global_step}"
            )
        if not state.is_world_process_zero:
            return
        for file in (self.file, self.file.with_name(LOSSES)):
            lines = file.read_text(encoding="utf-8").split("\n") if file.exists() else []
            # After a resume the steps beyond the checkpoint are taken, and logged, again.
            kept = [line for line in lines if _step(line) <= state.global_step]
            file.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")
        self.progress.begin("train", state.max_steps)
        self.progress.advance(state.global_step)
        self.shown = state.global_step

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float], **_: Any) -> None:
        # Trainer's own summary, and the speeds it puts beside every loss when it counts tokens.
        logs = {key: value for key, value in logs.items() if not key.startswith("train_")}
        if "loss" not in logs and "eval_loss" not in logs:
            return
        loss = logs.get("loss", logs.get("eval_loss", math.nan))
        if not math.isfinite(loss):
            raise RunError(
                f"train: the loss is {loss} at step {state.global_step}. Lower "
                "train.learning_rate, raise train.warmup_steps, or set model.dtype: float32."
            )
        if not state.is_world_process_zero:
            return
        with self.file.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps({"step": state.global_step, **logs}) + "\n")
        name = "loss" if "loss" in logs else "validation loss"
        self.progress.advance(state.global_step - self.shown, f"{name} {loss:.3f}")
        self.shown = state.global_step


class _Method(TrainerCallback):  # type: ignore[misc,unused-ignore]
    """Calls the method where it asked to be called."""

    def __init__(self, hooks: TrainingHooks) -> None:
        self.hooks = hooks

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if self.hooks.begin is not None:
            self.hooks.begin(state.global_step, state.max_steps)

    def on_optimizer_step(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if self.hooks.after_step is not None:
            self.hooks.after_step(state.global_step + 1)


def _step(line: str) -> float:
    """Return the step a line of train.jsonl is of; infinity for one that was cut short."""
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return math.inf


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
    hooks: TrainingHooks = PLAIN,
    remedy: RemedyConfig = NONE,
    texts: Sequence[str] = (),
    goal: Goal | None = None,
) -> Trained:
    """Train what is trainable in `model`, and leave its best state in `folder/adapter`.

    A checkpoint in `folder/checkpoints` is continued, early stopping's count included.

    Args:
        spec: the base model.
        model: with an adapter attached.
        rows: the training split.
        validation: the split whose loss, without a goal, decides what is best and when to stop.
        config: the recipe's train section.
        seed: of batches and dropout.
        folder: the run folder.
        progress: hears of every logged step.
        hooks: what the method asks for, of its `training`.
        remedy: the recipe's remedy section.
        texts: to replay, where the remedies say so, and for a start that looks at them.
        goal: the value that decides what is best and when to stop; None for the loss.

    Raises:
        ConfigError: the method cannot do with so few steps, or with these texts.
        RunError: the loss is not a number, or the goal's value is undefined.
    """
    asked = "loss" if goal is None else goal.name
    assert asked == config.metric_for_best_model, "the goal is made from the recipe, by goal_for"
    began = time.monotonic()
    checkpoints = folder / "checkpoints"
    arguments = _arguments(config, seed, checkpoints, goal)
    shift_right = getattr(model, "prepare_decoder_input_ids_from_labels", None)
    beside = measured_beside(len(rows), len(validation), seed)

    def keep(losses: RowLosses) -> None:
        if trainer.is_world_process_zero():
            with (folder / LOSSES).open("a", encoding="utf-8") as stream:
                stream.writelines(to_lines([losses]))

    trainer = SupervisedTrainer(
        model=model,
        args=arguments,
        train_dataset=Rows(rows),
        eval_dataset=Rows(validation),
        data_collator=collate(spec, shift_right),
        callbacks=[_Log(folder / "train.jsonl", progress), Budget.of(config), _Method(hooks)],
        hooks=hooks,
        remedies=remedies_of(
            remedy,
            model,
            spec,
            texts,
            config,
            seed=seed,
            rank=arguments.process_index,
            world=arguments.world_size,
        ),
        goal=goal,
        beside=[rows[i] for i in beside],
        keep=keep,
        tokens=config.per_device_train_batch_tokens,
        note=progress.note,
    )
    trainer.remove_callback(PrinterCallback)
    patience = config.early_stopping_patience
    if patience is not None:
        trainer.add_callback(EarlyStoppingCallback(patience, config.early_stopping_threshold))
    # Last: what is logged and measured at a step does not hang on whether it is the last.
    stopping = Stopping()
    trainer.add_callback(stopping)
    found, before = last_whole(checkpoints), 0
    for sentence in found.damaged:
        progress.note(f"Not gone on from {sentence}")
    resume = found.checkpoint
    if resume is not None:
        progress.note(f"Going on from {resume.name}")
        before = number_of(resume)
    if resume is not None and (ended := _ended(resume, patience)) is not None:
        # Stopped between the last checkpoint and the adapter: Trainer would take another step.
        trainer.state = ended
        kept = checkpoints / f"checkpoint-{ended.best_global_step}"
        model.load_adapter(str(kept), model.active_adapter)
        trainer.take_up(kept)
    else:
        if hooks.start is not None and resume is None:
            hooks.start(trainer._prepare_inputs(batch) for batch in trainer.get_train_dataloader())
        if hooks.start_on_texts is not None and resume is None:
            progress.note("Looking at general texts for the start")
            general = text_batches(
                spec, texts, max_tokens=remedy.replay_tokens, seed=seed, shift_right=shift_right
            )
            hooks.start_on_texts(trainer._prepare_inputs(batch) for batch in general)
        with (
            stoppable(stopping),
            frozen(),
            kept_pages(),
            accelerated(model, spec.family, wanted=config.fuses),
            compiled(model, wanted=config.torch_compile),
        ):
            trainer.train(resume_from_checkpoint=str(resume) if resume else None)
    if hooks.finish is not None:
        hooks.finish()
    seconds = time.monotonic() - began
    state = trainer.state
    if trainer.args.should_save:
        save_adapter(trainer.accelerator.unwrap_model(model), spec, folder)
    trainer.accelerator.wait_for_everyone()
    done = (state.global_step - before) * trainer.get_total_train_batch_size(trainer.args)
    best = state.best_global_step or state.global_step
    return Trained(
        steps=state.global_step,
        best_step=best,
        best_eval_loss=next(
            float(entry["eval_loss"])
            for entry in state.log_history
            if entry["step"] == best and "eval_loss" in entry
        ),
        stopped_early=state.global_step < state.max_steps and not Budget.used_up(state),
        examples_per_second=done / seconds,
        metric=asked,
        best_value=float(state.best_metric),
        validation_seconds=trainer.validation_seconds,
        generate_seconds=trainer.goal_seconds,
        validation_share=trainer.validation_seconds / seconds,
    )


def _arguments(
    config: TrainConfig, seed: int, checkpoints: Path, goal: Goal | None = None
) -> TrainingArguments:
    ours = {"early_stopping_patience", "early_stopping_threshold", "max_tokens", "max_seconds"}
    ours |= {"metric_for_best_model", "eval_generate_rows", "fused", "torch_compile"}
    ours |= {"per_device_train_batch_tokens"}
    values = config.model_dump(exclude=ours)
    if not values["report_to"]:
        values["report_to"] = "none"
    return TrainingArguments(
        output_dir=str(checkpoints),
        seed=seed,
        data_seed=seed,
        # As `device` chose: Trainer would take a Mac's GPU, and without a GPU takes torchrun's
        # processes for so many runs of their own.
        use_cpu=device() == "cpu",
        eval_strategy="steps",
        save_strategy="steps",
        save_steps=values["eval_steps"],
        load_best_model_at_end=True,
        metric_for_best_model=f"eval_{'loss' if goal is None else goal.name}",
        greater_is_better=goal is not None and goal.greater_is_better,
        # Without it, resuming would forget how many validations have passed without gain.
        restore_callback_states_from_checkpoint=True,
        remove_unused_columns=False,
        disable_tqdm=True,
        logging_nan_inf_filter=False,
        logging_first_step=True,
        include_num_input_tokens_seen="no" if config.max_tokens is None else "non_padding",
        dataloader_pin_memory=torch.cuda.is_available(),
        **values,
    )


def _ended(checkpoint: Path, patience: int | None) -> TrainerState | None:
    """Return the state of a training that this checkpoint is the end of."""
    state = state_of(checkpoint)
    if state.global_step >= state.max_steps or Budget.used_up(state):
        return state
    stopping = state.stateful_callbacks.get("EarlyStoppingCallback", {}).get("attributes", {})
    waited = stopping.get("early_stopping_patience_counter", 0)
    return state if patience is not None and waited >= patience else None
