"""Puts the fused parts into a model for the time of a training."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from loratory.methods.base import Family, quiet
from loratory.tuning.fused import attention, lora, norm
from loratory.tuning.model import base_of

__all__ = ["Accelerated", "accelerated"]


@dataclass(frozen=True)
class Accelerated:
    """What was put into a model."""

    layers: int
    """LoRA layers that are one product each."""
    groups: int
    """Groups of them that share an input."""
    norms: int
    attention: bool


@contextmanager
def accelerated(
    model: Any, family: Family, *, training: bool = True, wanted: bool = True
) -> Iterator[Accelerated]:
    """Let a model with an adapter compute by fused parts within the context.

    What is not plain LoRA on a frozen layer stays as it is: DoRA, dropout, quantised layers, other
    methods. Which layers share an input is seen in one forward pass over two tokens.

    Args:
        model: a peft model; its parameters are not changed.
        family: of the model.
        training: take what is there for the backward pass as well; without it, only the LoRA
            layers, so that what is beside them stays the base model's own.
        wanted: without it nothing is put in: `train.fused`.
    """
    if not wanted:
        yield Accelerated(0, 0, 0, False)
        return
    with ExitStack() as undo:
        adapter = getattr(model, "active_adapter", None)
        groups = _groups(model, family, adapter) if isinstance(adapter, str) else []
        for group in groups:
            undo.callback(group.put_in())
        norms = [module for module in model.modules() if training and norm.can_fuse(module)]
        for module in norms:
            undo.callback(norm.put_in(module))
        yield Accelerated(
            layers=sum(len(group.layers) for group in groups),
            groups=sum(len(group.layers) > 1 for group in groups),
            norms=len(norms),
            attention=training and _attend(model, undo),
        )


def _attend(model: Any, undo: ExitStack) -> bool:
    """Switch a model's attention, where it is transformers' sdpa on a CPU."""
    inner = base_of(model)
    device = next(inner.parameters()).device.type
    if getattr(inner.config, "_attn_implementation", None) != "sdpa" or device == "cuda":
        return False
    attention.register()
    inner.set_attn_implementation(attention.NAME)
    undo.callback(inner.set_attn_implementation, "sdpa")
    return True


def _groups(model: Any, family: Family, adapter: str) -> list[lora.Group]:
    """Return the layers that can be fused, those that are given one tensor together."""
    layers = [module for module in model.modules() if lora.can_fuse(module, adapter)]
    if not layers:
        return []
    # The tensors are kept until the end: a number of one that is gone may be given again.
    given: list[tuple[Any, Tensor]] = []

    def note(layer: Any, args: tuple[Any, ...]) -> None:
        given.append((layer, args[0]))

    handles = [layer.register_forward_pre_hook(note) for layer in layers]
    try:
        _try(model, family)
    finally:
        for handle in handles:
            handle.remove()
    found: list[tuple[Tensor, list[Any]]] = []
    for layer, x in given:
        if found and found[-1][0] is x:
            found[-1][1].append(layer)
        else:
            found.append((x, [layer]))
    once: set[int] = set()
    groups = []
    for _, members in found:
        fresh = [layer for layer in members if id(layer) not in once]
        once |= {id(layer) for layer in members}
        if fresh:
            groups.append(lora.Group(fresh, adapter))
    return groups


def _try(model: Any, family: Family) -> None:
    inner = model.get_base_model()
    ids = torch.zeros((1, 2), dtype=torch.long, device=next(inner.parameters()).device)
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    if family == "seq2seq":
        inputs["decoder_input_ids"] = ids
    training = model.training
    model.eval()
    try:
        with torch.no_grad(), quiet():
            inner(**inputs)
    finally:
        model.train(training)
