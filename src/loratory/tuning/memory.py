"""What a training will hold in memory at its worst moment, by part, estimated before it starts.

Weights, gradients and optimiser state are counted; activations and logits come from a
`rehearsal` of the largest batch. What the running process holds already is read from the system.
On a CPU one part is left that can only be estimated: what the C library's `heap` keeps beyond
what is in use.
"""

from __future__ import annotations

import resource
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from loratory.config import TrainConfig
from loratory.config.remedy import RemedyConfig
from loratory.tuning.account import Account, account, adapter_bytes
from loratory.tuning.batch import sorted_batches
from loratory.tuning.device import device
from loratory.tuning.encode import Encoded
from loratory.tuning.fused import accelerated
from loratory.tuning.heap import share
from loratory.tuning.model import Resolved
from loratory.tuning.quantize import kept_precise, weight_bytes
from loratory.tuning.regularise import Update
from loratory.tuning.rehearsal import Held, Shape, rehearsed, train_step
from loratory.tuning.replay import replayed

__all__ = [
    "Memory",
    "Rehearsal",
    "Weights",
    "base_weights",
    "expected_memory",
    "largest",
    "peak_bytes",
    "rehearse",
    "replay_shape",
    "resident_bytes",
]

NONE = RemedyConfig()

MOMENTS = 2
"""AdamW's running means for each trainable parameter, in its own type."""


@dataclass(frozen=True)
class Memory:
    """Bytes at the worst moment of a training, by part."""

    runtime: int
    """What the process held before the weights: Python, torch, the rows. 0 on a GPU."""
    weights: int
    """Of the base model as stored, of the method, and of starts that `remedy.l2_weight` keeps."""
    gradients: int
    optimizer: int
    activations: int
    """What the backward pass reads again."""
    logits: int
    """Logits, their float32 copy and gradient, and what the backward pass makes meanwhile."""
    heap: int
    """What the C library keeps beyond what is in use. 0 on a GPU."""
    loading: int
    """While the weights are read: runtime, weights, and their file. Not part of the sum."""

    @property
    def training(self) -> int:
        """Return the sum of the parts."""
        return (
            self.runtime
            + self.weights
            + self.gradients
            + self.optimizer
            + self.activations
            + self.logits
            + self.heap
        )

    @property
    def peak(self) -> int:
        """Return the larger of training and loading."""
        return max(self.training, self.loading)


@dataclass(frozen=True)
class Weights:
    """A base model's."""

    parameters: int
    stored: int
    """Bytes as they are kept, quantised ones packed."""
    plain: int
    """Bytes without quantisation."""


def base_weights(model: Any, spec: Resolved, heads: Sequence[str]) -> Weights:
    """Return the size of a bare model, which may be without storage.

    Args:
        model: the base model, no method attached.
        spec: how it will be loaded.
        heads: modules of a classifier that are never quantised.
    """
    plain = sum(p.numel() * p.element_size() for p in model.parameters())
    stored = plain
    if spec.quantization != "none":
        precise = kept_precise(model, heads) if spec.family == "classifier" else ()
        stored = weight_bytes(model, spec.quantization, precise)
    return Weights(sum(p.numel() for p in model.parameters()), stored, plain)


@dataclass(frozen=True)
class Rehearsal:
    """What a training's largest batch was found to hold, by a model without storage."""

    account: Account
    """The model's parameters."""
    own: int
    """Bytes of all of them, the method's included."""
    trained: int
    """Bytes of those that are trained."""
    starts: int
    """Bytes that `remedy.l2_weight` keeps."""
    held: Held | None
    """None where the model cannot be run on tensors without numbers."""


def rehearse(
    model: Any,
    spec: Resolved,
    config: TrainConfig,
    rows: Sequence[Encoded],
    base: Weights,
    finish: Callable[[], None] | None = None,
    *,
    remedy: RemedyConfig = NONE,
    texts: Sequence[Encoded] = (),
) -> Rehearsal:
    """Count a model's parameters, and rehearse a step on its largest batch.

    Args:
        model: without storage, the method attached. It is of no use afterwards.
        spec: the model.
        config: the recipe's train section.
        rows: the training split; at least one.
        base: of the base model, before the method was attached.
        finish: what the method does to the model before it is saved.
        remedy: the recipe's remedy section.
        texts: general ones, encoded; counted where the remedies replay them.
    """
    starts = 0
    size = config.per_device_train_batch_size
    with rehearsed(model, device()) as ready:
        counted = account(ready, base.parameters)
        own = sum(p.numel() * p.element_size() for p in ready.parameters())
        trained = sum(p.numel() * p.element_size() for p in ready.parameters() if p.requires_grad)
        if config.activation_checkpointing:
            ready.activation_checkpointing_enable()
        if remedy.l2_weight:
            starts = Update(ready).kept_bytes
        held: Held | None = None
        # A model's own code may raise anything.
        with suppress(Exception):
            replay = replay_shape(texts, remedy, size)
            near = bool(remedy.kl_weight)
            with accelerated(ready, spec.family, wanted=config.fuses):
                most = largest(rows, size, config.per_device_train_batch_tokens)
                held = train_step(ready, spec.family, most, replay=replay, near=near)
        if finish is not None:
            finish()
            counted = replace(counted, adapter_bytes=adapter_bytes(ready))
    return Rehearsal(counted, own, trained, starts, held)


def expected_memory(
    found: Rehearsal, spec: Resolved, config: TrainConfig, base: Weights
) -> Memory | None:
    """Estimate what a training will hold, in this process.

    The estimate is None where the model cannot be run on tensors without numbers, because
    what it computes next hangs on what it computed.

    Args:
        found: by `rehearse`.
        spec: the model.
        config: the recipe's train section.
        base: as for `rehearse`.
    """
    held = found.held
    if held is None:
        return None
    weights = base.stored + max(found.own - base.plain, 0) + found.starts
    cpu = device() == "cpu"
    runtime = resident_bytes() if cpu else 0
    # Gradients of an earlier pass of the same step are all there when the next one begins.
    earlier = found.trained if config.gradient_accumulation_steps > 1 else 0
    return Memory(
        runtime=runtime,
        weights=weights,
        gradients=max(held.gradients, earlier),
        optimizer=MOMENTS * found.trained,
        activations=held.activations,
        logits=held.logits,
        heap=int(share() * (held.activations + held.logits)) if cpu else 0,
        loading=runtime + weights + (_files(spec) if cpu else 0),
    )


def replay_shape(texts: Sequence[Encoded], remedy: RemedyConfig, size: int) -> Shape | None:
    """Return the largest batch of general texts that a step of so many rows replays, if any."""
    if not (texts and remedy.replays):
        return None
    return largest(texts, replayed(remedy.replay_share, size))


def largest(rows: Sequence[Encoded], size: int, tokens: int | None = None) -> Shape:
    """Return the longest batch that rows of like length make, with the most supervised tokens.

    Args:
        rows: at least one.
        size: rows in a batch.
        tokens: in a batch at most, padding included.
    """
    lengths = [row.length for row in rows]
    numbers = sorted_batches(lengths, size, sys.maxsize if tokens is None else tokens)
    batches = [[rows[i] for i in batch] for batch in numbers]
    # A decoder reads prompt and answer as one, all but the answer's last token.
    whole = max(row.length for row in rows)
    prompt = max(len(row.prompt) for row in rows)
    answer = max(len(row.answer) for row in rows)
    return Shape(
        rows=len(batches[0]),
        prompt=prompt,
        answer=answer,
        supervised=max(sum(max(len(row.answer), 1) for row in batch) for batch in batches),
        whole=max(whole - 1, 1) if answer else whole,
    )


def _files(spec: Resolved) -> int:
    folder = Path(spec.path)
    if not folder.is_dir():
        return 0
    return sum(file.stat().st_size for file in folder.glob("*.safetensors"))


def resident_bytes() -> int:
    """Return what this process holds now; where the system does not tell, its peak so far."""
    try:
        text = Path("/proc/self/statm").read_text(encoding="ascii")
        return int(text.split()[1]) * resource.getpagesize()
    except OSError:
        return _most()


def peak_bytes() -> int:
    """Return the most memory this process has held so far, or the GPU's allocator has."""
    return int(torch.cuda.max_memory_allocated()) if torch.cuda.is_available() else _most()


def _most() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
