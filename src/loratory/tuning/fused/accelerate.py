"""Puts the fused parts into a model for the time of a training."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor

from loratory.methods.base import Family, quiet
from loratory.tuning import head
from loratory.tuning.batch import IGNORE
from loratory.tuning.fused import attention, decoder, dropout, lora, norm
from loratory.tuning.fused.near import is_near
from loratory.tuning.loss import headless, is_packing, losses, packing
from loratory.tuning.model import base_of

__all__ = ["Accelerated", "accelerated", "can_pack"]


@dataclass(frozen=True)
class Accelerated:
    """What was put into a model."""

    layers: int
    """LoRA layers that are one product each."""
    groups: int
    """Groups of them that share an input."""
    norms: int
    dropouts: int
    attention: bool
    packing: bool
    """Losses are computed without padding, and what rows begin with once."""
    head: bool
    """Losses are computed a block of logits at a time."""
    laid: bool
    """Layers are one function each."""


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
        yield Accelerated(0, 0, 0, 0, False, False, False, False)
        return
    with ExitStack() as undo:
        adapter = getattr(model, "active_adapter", None)
        groups = _groups(model, family, adapter, training) if isinstance(adapter, str) else []
        for group in groups:
            undo.callback(group.put_in())
        norms = [module for module in model.modules() if training and norm.can_fuse(module)]
        for module in norms:
            undo.callback(norm.put_in(module))
        dropouts = [m for m in model.modules() if training and dropout.can_fuse(m)]
        for module in dropouts:
            undo.callback(dropout.put_in(module))
        attends = training and undo.enter_context(attention.product_attention(model))
        decodes = training and family == "causal"
        trial = _Trial(model)
        fusing = decodes and head.can_fuse(model.get_output_embeddings())
        heads = fusing and trial.enters(headless(model), undo)
        packs = decodes and can_pack(model, trial)
        laid = (
            packs
            and isinstance(adapter, str)
            and decoder.can_lay(model, adapter)
            and trial.enters(_laid(model, adapter), undo)
        )
        if packs and not laid:
            undo.enter_context(packing(model))
        yield Accelerated(
            layers=sum(len(group.layers) for group in groups),
            groups=sum(len(group.layers) > 1 for group in groups),
            norms=len(norms),
            dropouts=len(dropouts),
            attention=attends,
            packing=packs,
            head=heads,
            laid=laid,
        )


@contextmanager
def _laid(model: Any, adapter: str) -> Iterator[None]:
    # Layers laid out read packed rows alone: it pays to pack whatever it saves.
    with decoder.laid_to_train(model, adapter), packing(model, most=1.0):
        yield


def can_pack(model: Any, trial: _Trial | None = None) -> bool:
    """Return whether a decoder computes the same of packed rows when it attends by products."""
    if is_packing(model):  # and so it was tried
        return True
    if _is_rehearsal(model):
        return False  # how much packing saves hangs on the rows
    with attention.product_attention(model) as attends, ExitStack() as undo:
        trial = trial or _Trial(model)
        return attends and _by_token(model) and trial.enters(packing(model), undo)


def _is_rehearsal(model: Any) -> bool:
    """Return whether a model has no numbers to try it with."""
    weight = next(model.parameters())
    return isinstance(weight, FakeTensor) or bool(weight.is_meta)


def _by_token(model: Any) -> bool:
    """Return whether what is trained has no regard to where a row begins."""
    configs = getattr(model, "peft_config", {}).values()
    return not any(
        c.is_prompt_learning or getattr(c, "alora_invocation_tokens", None) for c in configs
    )


class _Trial:
    """A decoder's losses of a few tokens, which ways of computing them are held to."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._plain: Tensor | None = None

    def enters(self, way: AbstractContextManager[None], undo: ExitStack) -> bool:
        """Enter a context, to be left by `undo`; return whether the losses are the same within.

        Where they are not, or cannot be computed, it is left at once.
        """
        if _is_rehearsal(self._model):
            undo.enter_context(way)
            return True
        weight = next(self._model.parameters())
        with ExitStack() as tried:
            try:
                if self._plain is None:
                    self._plain = self._losses(weight.device)
                tried.enter_context(way)
                same = is_near(self._losses(weight.device), self._plain, weight.dtype)
            except (AttributeError, TypeError, ValueError, RuntimeError):
                same = False
            if same:
                undo.enter_context(tried.pop_all())
        return same

    def _losses(self, device: torch.device) -> Tensor:
        generator = torch.Generator().manual_seed(0)
        size = base_of(self._model).config.vocab_size
        ids = torch.randint(size, (2, 12), generator=generator)
        ids[1, :4] = ids[0, :4]
        labels = torch.full_like(ids, IGNORE)
        labels[0, 6:], labels[1, 5:8] = ids[0, :6], ids[1, :3]
        batch = {"input_ids": ids, "labels": labels, "shift_labels": labels}
        mode = self._model.training
        self._model.eval()
        try:
            with torch.no_grad(), quiet():
                return losses(self._model, {key: x.to(device) for key, x in batch.items()})
        finally:
            self._model.train(mode)


def _groups(model: Any, family: Family, adapter: str, training: bool) -> list[lora.Group]:
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
            groups.append(lora.Group(fresh, adapter, training=training))
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
