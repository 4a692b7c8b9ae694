"""The supervised loss: summed cross-entropy of the supervised positions, and their count.

A sum and a count, not a mean: means over batches of unequal size do not add up, which is how
gradient accumulation and validation come to report wrong losses. The head of a decoder is
applied to supervised positions only. Its logits are the largest tensor of a step, and the
prompt's are thrown away.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel

from loratory.tuning.batch import IGNORE
from loratory.tuning.head import head_losses
from loratory.tuning.packing import MOST, pack

__all__ = [
    "head_on",
    "headless",
    "is_headless",
    "is_packing",
    "loss_sum",
    "losses",
    "packing",
    "supervised_logits",
    "target_losses",
    "whole_head",
]


_packing: WeakKeyDictionary[Any, float] = WeakKeyDictionary()
_headless: WeakKeyDictionary[Any, bool] = WeakKeyDictionary()


@contextmanager
def _among(models: WeakKeyDictionary[Any, Any], model: Any, value: Any) -> Iterator[None]:
    before = models.get(model)  # answering in the midst of a training asks for the same
    models[model] = value
    try:
        yield
    finally:
        if before is None:
            del models[model]
        else:
            models[model] = before


def packing(model: Any, most: float = MOST) -> AbstractContextManager[None]:
    """Let a decoder read its batches as `pack` gives them within the context.

    Args:
        model: a decoder.
        most: as `pack` takes it.
    """
    return _among(_packing, model, most)


def is_packing(model: Any) -> bool:
    """Return whether `packing` holds for a model."""
    return _unwrapped(model) in _packing


def headless(model: Any) -> AbstractContextManager[None]:
    """Let a decoder's losses be computed from its last states within the context."""
    return _among(_headless, model, True)


def is_headless(model: Any) -> bool:
    """Return whether `headless` holds for a model."""
    return _unwrapped(model) in _headless


def loss_sum(model: Any, batch: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return summed cross-entropy in nats (a scalar, float32) and the number of targets.

    Args:
        model: any of the three families, with or without an adapter.
        batch: what `collate` gave; it is not changed.
    """
    nats = losses(model, batch)
    return nats.sum(), torch.tensor(len(nats), device=nats.device)


def losses(model: Any, batch: dict[str, Any]) -> torch.Tensor:
    """Return the cross-entropy of every target in nats, shape (N,), float32, row by row.

    Args:
        model: as for `loss_sum`.
        batch: as for `loss_sum`.
    """
    if "shift_labels" in batch and is_headless(model):
        head = _unwrapped(model).get_output_embeddings()
        targets = batch["labels"][batch["labels"] != IGNORE]
        return head_losses(_at_targets(model, batch, head, head_off), head, targets)
    return target_losses(*supervised_logits(model, batch))


def target_losses(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the cross-entropy of each target in nats, (N,), of what `supervised_logits` gave."""
    precise = torch.promote_types(logits.dtype, torch.float32)
    return functional.cross_entropy(logits.to(precise), targets, reduction="none")


def supervised_logits(model: Any, batch: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the logits of the supervised places, shape (N, V), and their targets, shape (N,).

    Args:
        model: as for `loss_sum`.
        batch: as for `loss_sum`.
    """
    labels = batch["labels"]
    keep = labels != IGNORE
    head = _unwrapped(model).get_output_embeddings() if "shift_labels" in batch else None
    if head is not None:
        logits = _at_targets(model, batch, head, head_on)
    else:
        logits = model(**{key: value for key, value in batch.items() if key != "labels"}).logits
        logits = logits if labels.dim() == 1 else logits[keep]  # (B, K) or (N, V)
    return logits, labels[keep]


def _at_targets(model: Any, batch: dict[str, Any], head: Any, how: Any) -> torch.Tensor:
    """Return what a decoder gives at its supervised places, its head being as `how` says."""
    inputs = {key: value for key, value in batch.items() if key not in ("labels", "shift_labels")}
    keep = batch["labels"] != IGNORE
    if is_packing(model):
        packed = pack(inputs["input_ids"], keep, _packing[_unwrapped(model)], asked_only=True)
        inputs, keep = (inputs, keep) if packed is None else packed
    with how(head, keep):
        found: torch.Tensor = model(**inputs, use_cache=False).logits[0]
        return found


def _unwrapped(model: Any) -> Any:
    return model.module if isinstance(model, DistributedDataParallel) else model


@contextmanager
def whole_head(model: Any) -> Iterator[None]:
    """Let the output head be one product where it is applied to the last token alone.

    The last states are a slice with gaps. PyTorch then multiplies row by row, and copies the head's
    weight for each row of the batch, which takes longer than the whole model.

    Args:
        model: a decoder.
    """

    def close(_: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
        return (args[0].contiguous(), *args[1:])

    head = model.get_output_embeddings()
    if head is None:
        yield
        return
    handle = head.register_forward_pre_hook(close)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def head_on(head: Any, keep: torch.Tensor) -> Iterator[None]:
    """Let the output head see only the hidden states where `keep` (B, T) is true.

    Within the context the model's logits have shape (1, N, V), N the number of true places.
    A hook, rather than a second forward of our own, keeps whatever the model does around its
    head, such as scaling or capping logits.
    """

    def select(_: Any, args: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor]:
        states = args[0]
        if states.shape[1] < keep.shape[1]:  # a layer has done it (fused/decoder.py)
            return (states[:, : int(keep.sum())],)
        states = states[:, -keep.shape[1] :]  # behind the vectors that prompt tuning puts first
        return (states[keep].unsqueeze(0),)

    handle = head.register_forward_pre_hook(select)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def head_off(head: Any, keep: torch.Tensor) -> Iterator[None]:
    """Let a model give, for its logits, what its head would read where `keep` (B, T) is true.

    Within the context they have shape (1, N, d). It serves models that do nothing behind their
    head.
    """

    def forward(states: torch.Tensor) -> torch.Tensor:
        return states

    with head_on(head, keep):
        head.forward = forward
        try:
            yield
        finally:
            del head.forward
