"""The supervised loss: summed cross-entropy of the supervised positions, and their count.

A sum and a count, not a mean: means over batches of unequal size do not add up, which is how
gradient accumulation and validation come to report wrong losses. The head of a decoder is
applied to supervised positions only. Its logits are the largest tensor of a step, and the
prompt's are thrown away.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel

from loratory.tuning.batch import IGNORE

__all__ = ["cross_entropy_sum", "head_on", "loss_sum", "supervised_logits", "whole_head"]


def loss_sum(model: Any, batch: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return summed cross-entropy in nats (a scalar, float32) and the number of targets.

    Args:
        model: any of the three families, with or without an adapter.
        batch: what `collate` gave; it is not changed.
    """
    logits, targets = supervised_logits(model, batch)
    return cross_entropy_sum(logits, targets)


def supervised_logits(model: Any, batch: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the logits of the supervised places, shape (N, V), and their targets, shape (N,).

    Args:
        model: as for `loss_sum`.
        batch: as for `loss_sum`.
    """
    inputs = {key: value for key, value in batch.items() if key not in ("labels", "shift_labels")}
    labels = batch["labels"]
    keep = labels != IGNORE
    inner = model.module if isinstance(model, DistributedDataParallel) else model
    head = inner.get_output_embeddings() if "shift_labels" in batch else None
    if head is not None:
        with head_on(head, keep):
            logits = model(**inputs, use_cache=False).logits[0]  # (N, V)
    else:
        logits = model(**inputs).logits
        logits = logits if labels.dim() == 1 else logits[keep]  # (B, K) or (N, V)
    return logits, labels[keep]


def cross_entropy_sum(
    logits: torch.Tensor, targets: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return summed cross-entropy, as `loss_sum`, of what `supervised_logits` gave."""
    count = torch.tensor(len(targets), device=targets.device)
    return functional.cross_entropy(logits.float(), targets, reduction="sum"), count


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
        states = args[0][:, -keep.shape[1] :]  # behind the vectors that prompt tuning puts first
        return (states[keep].unsqueeze(0),)

    handle = head.register_forward_pre_hook(select)
    try:
        yield
    finally:
        handle.remove()
