"""CorDA's knowledge-preserving start (Yang et al. 2024, arXiv 2406.05223).

W C = U S Vᵀ, where C is the covariance of a layer's inputs over general texts. Of the parts
sᵢ uᵢ vᵢᵀ C⁻¹, which add up to W, the r with the smallest sᵢ are those that do least to such
inputs. They become B A and are trained; what does most stays as it is. As for PiSSA, the layers
take the start off their results and the weights do not change.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from loratory.errors import ConfigError, ModelError
from loratory.tuning.regularise import base_logits
from loratory.tuning.starts import fill, hold, linear_layers, weight_of

__all__ = ["corda", "preserve"]

DAMPING = 0.01
"""Share of the mean variance added to each; doubled until the inverse is good."""
WORST = 0.05
"""Frobenius norm of C C⁻¹ − I, above which an inverse is not good. Both are the authors'."""
AT_ONCE = 2**30
"""Bytes of covariances held at a time, unless one alone has more. The texts are read once for
each such group of layers."""


def corda(weight: Tensor, covariance: Tensor, r: int) -> tuple[Tensor, Tensor]:
    """Return A (r, in) and B (out, r) whose product is what matters least to inputs.

    Without it the weight keeps all but the r smallest singular values of W C. Both get the square
    roots of those values.

    Args:
        weight: shape (out, in).
        covariance: of the inputs, not centred, shape (in, in); finite and not zero.
        r: at most the smaller side.
    """
    damped, inverse = _inverted(covariance)
    u, s, vt = torch.linalg.svd(weight @ damped, full_matrices=False)
    root = s[-r:].sqrt()
    return root[:, None] * (vt[-r:] @ inverse), u[:, -r:] * root


def _inverted(covariance: Tensor) -> tuple[Tensor, Tensor]:
    """Return the covariance with some variance added, and its inverse."""
    one = torch.eye(len(covariance), dtype=covariance.dtype, device=covariance.device)
    damping = DAMPING
    while True:
        damped = covariance + damping * covariance.diagonal().mean() * one
        inverse, failed = torch.linalg.inv_ex(damped)
        if not failed and float(torch.dist(damped @ inverse, one)) < WORST:
            return damped, inverse
        damping *= 2


def preserve(model: Any, batches: Iterable[dict[str, Any]]) -> None:
    """Start A and B at the part of each weight that matters least to general texts.

    The model gives what it gave before.

    Args:
        model: with peft's LoRA attached, and `hold` called.
        batches: of general texts, one a batch, on the model's device.

    Raises:
        ConfigError: there is no text.
        ModelError: no text reaches a layer, or its inputs or weights are of no use.
    """
    texts = list(batches)
    if not texts:
        raise ConfigError(
            "remedy.replay_data: none of its texts has a token, and init_lora_weights corda starts "
            "from what the layers make of them. Give other texts."
        )
    adapter = model.active_adapter
    for group in _groups(linear_layers(model)):
        covariances = _covariances(model, [layer for _, layer in group], texts)
        for (name, layer), covariance in zip(group, covariances, strict=True):
            weight = weight_of(layer)
            _check(name, weight, covariance)
            first, second = corda(weight, covariance, layer.r[adapter])
            root = math.sqrt(layer.scaling[adapter])
            fill(layer.lora_A[adapter].weight, first / root, name)
            fill(layer.lora_B[adapter].weight, second / root, name)
    hold(model)


def _groups(layers: Iterable[tuple[str, Any]]) -> Iterator[list[tuple[str, Any]]]:
    """Yield layers together as far as their covariances fit into `AT_ONCE`."""
    group: list[tuple[str, Any]] = []
    held = 0
    for name, layer in layers:
        size = 4 * layer.in_features**2
        if group and held + size > AT_ONCE:
            yield group
            group, held = [], 0
        group.append((name, layer))
        held += size
    if group:
        yield group


def _covariances(
    model: Any, layers: Sequence[Any], texts: Sequence[dict[str, Any]]
) -> list[Tensor | None]:
    """Return the mean of XᵀX over texts for each layer, in float32; None for one not reached.

    As in the authors' code, X (tokens, in) is divided by the size of its largest value, so that no
    text outweighs the others.
    """
    found: list[Tensor | None] = [None] * len(layers)
    counts = [0] * len(layers)

    def note(place: int, args: tuple[Any, ...]) -> None:
        x = args[0].detach().reshape(-1, args[0].shape[-1]).float()  # (tokens, in)
        if not len(x):
            return  # an expert to which no token of the text was sent
        x = x / x.max().abs()
        before = found[place]
        found[place] = x.T @ x if before is None else before.addmm_(x.T, x)
        counts[place] += 1

    handles = [
        layer.get_base_layer().register_forward_pre_hook(
            lambda _, args, place=place: note(place, args)
        )
        for place, layer in enumerate(layers)
    ]
    try:
        for text in texts:
            base_logits(model, text)
    finally:
        for handle in handles:
            handle.remove()
    return [
        None if total is None else total / count for total, count in zip(found, counts, strict=True)
    ]


def _check(name: str, weight: Tensor, covariance: Tensor | None) -> None:
    if covariance is None:
        raise ModelError(
            f"method.init_lora_weights: corda starts from general texts, and none of them reaches "
            f"{name}. Leave that layer out of target_modules, or give more texts in "
            "remedy.replay_data."
        )
    if not bool(torch.isfinite(covariance).all()) or not bool(covariance.any()):
        raise ModelError(
            f"method.init_lora_weights: the inputs of {name} are zero or not finite on a text of "
            "remedy.replay_data. Leave that layer out of target_modules, or set model.dtype: "
            "float32."
        )
    if not bool(torch.isfinite(weight).all()):
        raise ModelError(
            f"method.init_lora_weights: the weight of {name} holds values that are not finite."
        )
