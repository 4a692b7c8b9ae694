"""A training step without numbers: what it would hold in memory, tensor by tensor.

The model runs forward and backward on fake tensors, which have shape, type and device, but no
storage (PyTorch's `FakeTensorMode`). Each new storage is counted when an operation makes it and
taken off when the last tensor on it is gone, so that the count is that of the real step, whatever
the architecture or the method, in a second or two and without reading a weight.

Not seen are scratch buffers inside an operation, and what an allocator holds beyond what is in
use; `memory` adds the latter.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from loratory.methods.base import Family, quiet
from loratory.tuning.head import head_losses
from loratory.tuning.loss import is_headless
from loratory.tuning.regularise import divergence

__all__ = ["Held", "Shape", "answer", "rehearsed", "train_step"]


@dataclass(frozen=True)
class Shape:
    """A batch: its rows, padded to one length."""

    rows: int
    prompt: int
    """Tokens of the longest row; of an encoder-decoder, of its input."""
    answer: int
    """Tokens of the longest answer; 0 for a classification head."""
    supervised: int
    """Supervised tokens of all rows together."""
    whole: int = 0
    """Tokens of the longest row, as a decoder reads it in training; 0 is `prompt`."""


@dataclass(frozen=True)
class Held:
    """Bytes in use at the worst moment, weights aside."""

    activations: int
    """What the backward pass reads again; in prediction the key-value cache."""
    logits: int
    """Logits, their float32 copy and their gradient; in prediction, whatever else is in use."""
    gradients: int
    """Of the trainable parameters, as far as they are there at that moment."""

    @property
    def total(self) -> int:
        """Return the sum of the parts."""
        return self.activations + self.logits + self.gradients


class Tracker(TorchDispatchMode):  # type: ignore[misc,unused-ignore]
    """Counts the bytes of storages that operations made and that are still alive."""

    def __init__(self, known: Any) -> None:
        super().__init__()
        self.seen: weakref.WeakSet[Any] = weakref.WeakSet(known)
        self.live = self.peak = self.gradients = self.gradients_at_peak = 0

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        if function is torch.ops.aten._local_scalar_dense.default:
            return args[0].dtype.is_floating_point * 1.0 or 1  # a number is asked for: any will do
        out = function(*args, **(kwargs or {}))
        for leaf in tree_leaves(out):
            if isinstance(leaf, torch.Tensor):
                self._add(leaf.untyped_storage())
        return out

    def _add(self, storage: Any) -> None:
        if storage in self.seen:
            return
        self.seen.add(storage)
        size = storage.nbytes()
        self.live += size
        if self.live > self.peak:
            self.peak, self.gradients_at_peak = self.live, self.gradients
        weakref.finalize(storage, self._drop, size)

    def _drop(self, size: int) -> None:
        self.live -= size


@contextmanager
def rehearsed(model: Any, device: str) -> Iterator[Any]:
    """Give a model without storage fake tensors for parameters, as if on `device`.

    The model is changed, and of no other use afterwards.
    """
    with FakeTensorMode(allow_non_fake_inputs=True):
        made: dict[Any, Any] = {}
        for module in model.modules():
            for name, old in list(module._parameters.items()):
                if old is not None and old not in made:
                    data = torch.empty(old.shape, dtype=old.dtype, device=device)
                    made[old] = torch.nn.Parameter(data, requires_grad=old.requires_grad)
                module._parameters[name] = made.get(old)
            for name, old in list(module._buffers.items()):
                if old is not None:
                    module._buffers[name] = torch.empty(old.shape, dtype=old.dtype, device=device)
        yield model


def train_step(
    model: Any, family: Family, shape: Shape, *, replay: Shape | None = None, near: bool = False
) -> Held:
    """Return what one forward and backward pass holds.

    Args:
        model: within `rehearsed`; activation checkpointing switched on if it is to be.
        family: of the model.
        shape: of the batch.
        replay: of the general texts that are trained on in the same pass.
        near: whether the base model answers too, to be held near it (`remedy.kl_weight`).
    """
    model.train()
    with _tracked(model) as tracker:
        watched = [
            parameter.register_post_accumulate_grad_hook(_counted(tracker))
            for parameter in model.parameters()
            if parameter.requires_grad
        ]
        if near:
            logits, body = _counted_logits(tracker, model, family, shape)
            loss = _summed(logits)
            with torch.no_grad(), quiet(), model.disable_adapter():
                base, _ = _counted_logits(tracker, model, family, shape)
            loss = loss + divergence(base, logits)
            del base, logits
        else:
            loss, body = _counted_loss(tracker, model, family, shape)
        if replay is not None:
            more, left = _counted_loss(tracker, model, family, replay)
            loss, body = loss + more, body + left
        loss.backward()
        for handle in watched:
            handle.remove()
        rest = tracker.peak - tracker.gradients_at_peak
        activations = min(body, rest)
        held = Held(activations, rest - activations, tracker.gradients_at_peak)
    model.zero_grad()
    return held


def answer(model: Any, family: Family, shape: Shape, new_tokens: int) -> Held:
    """Return what a forward pass without gradients, and the generation after it, holds.

    Args:
        model: within `rehearsed`.
        family: of the model.
        shape: of the batch of prompts; `supervised` counts for validation alone.
        new_tokens: that are generated at most; 0 for a forward pass as validation makes it.
    """
    device = next(model.parameters()).device
    model.eval()
    with _tracked(model) as tracker, torch.no_grad():
        if new_tokens and family == "causal":
            out = model(
                input_ids=_ids(shape.rows, shape.prompt, device), use_cache=True, logits_to_keep=1
            )
            cache = tracker.live - out.logits.untyped_storage().nbytes()
            del out
            # The cache grows by a token a step, and one layer's is copied as it does.
            grown = cache * (shape.prompt + new_tokens) // shape.prompt
            return Held(grown, max(tracker.peak - cache, 0), 0)
        _counted_logits(tracker, model, family, shape)
        return Held(0, tracker.peak, 0)


def _counted_loss(
    tracker: Tracker, model: Any, family: Family, shape: Shape
) -> tuple[torch.Tensor, int]:
    """Return a batch's loss, and the bytes that its forward pass left before the head."""
    if not is_headless(model):
        logits, body = _counted_logits(tracker, model, family, shape)
        return _summed(logits), body
    head = model.get_output_embeddings()
    states, body = _counted_logits(tracker, model, family, shape, whole=False)
    targets = torch.zeros(len(states), dtype=torch.long, device=states.device)
    return head_losses(states, head, targets).sum(), body


def _counted_logits(
    tracker: Tracker, model: Any, family: Family, shape: Shape, *, whole: bool = True
) -> tuple[torch.Tensor, int]:
    """Return a batch's logits, or what the head would read, and the bytes left beside them."""
    device = next(model.parameters()).device
    before = tracker.live
    with _head(model, family, shape, device, whole):
        logits = _logits(model, family, shape, device)
    return logits, tracker.live - before - logits.untyped_storage().nbytes()


def _summed(logits: torch.Tensor) -> torch.Tensor:
    targets = torch.zeros(logits.shape[0], dtype=torch.long, device=logits.device)
    return functional.cross_entropy(logits.float(), targets, reduction="sum")


@contextmanager
def _tracked(model: Any) -> Iterator[Tracker]:
    known = [item.untyped_storage() for item in (*model.parameters(), *model.buffers())]
    with Tracker(known) as tracker:
        yield tracker


def _counted(tracker: Tracker) -> Callable[[Any], None]:
    def count(parameter: Any) -> None:
        tracker.gradients += parameter.grad.untyped_storage().nbytes()

    return count


@contextmanager
def _head(model: Any, family: Family, shape: Shape, device: Any, whole: bool) -> Iterator[None]:
    """Apply a decoder's head where positions are supervised, as `loss` does, or not at all."""
    head = model.get_output_embeddings() if family == "causal" else None
    if head is None:
        yield
        return

    def select(_: Any, args: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor]:
        where = torch.zeros(shape.supervised, dtype=torch.long, device=device)
        return (args[0].flatten(0, 1)[where].unsqueeze(0),)

    handle = head.register_forward_pre_hook(select)
    if not whole:
        head.forward = lambda states: states
    try:
        yield
    finally:
        handle.remove()
        vars(head).pop("forward", None)


def _logits(model: Any, family: Family, shape: Shape, device: Any) -> Any:
    if family == "causal":
        ids = _ids(shape.rows, shape.whole or shape.prompt, device)
        return model(input_ids=ids, use_cache=False).logits[0]  # (N, V)
    ids = _ids(shape.rows, shape.prompt, device)
    mask = torch.ones_like(ids)
    if family == "classifier":
        return model(input_ids=ids, attention_mask=mask).logits  # (B, K)
    spoken = _ids(shape.rows, shape.answer, device)
    logits = model(input_ids=ids, attention_mask=mask, decoder_input_ids=spoken).logits
    return logits.flatten(0, 1)[: shape.supervised]  # (N, V)


def _ids(rows: int, length: int, device: Any) -> torch.Tensor:
    return torch.zeros((rows, max(length, 1)), dtype=torch.long, device=device)
