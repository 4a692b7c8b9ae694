"""LoRA from first principles: a frozen linear layer with a trainable update of low rank.

A linear layer computes W x, with W of shape (out, in). Fine-tuning would learn a change of W,
out × in numbers. LoRA (Hu et al. 2021, arXiv 2106.09685) learns a change of rank r instead, as
the product of a tall and a flat matrix:

    y = W x + s B A x        A: (r, in), random    B: (out, r), zero    s = alpha / r

B starts at zero, so training starts at the pre-trained model exactly. W is frozen: it needs no
gradient and no optimiser state. rsLoRA (Kalajdzievski 2023, arXiv 2312.03732) sets
s = alpha / sqrt(r), under which the size of the update does not fade as r grows. DoRA (Liu et
al. 2024, arXiv 2402.09353) learns the length of each row of the weight apart from its direction:

    y = m / n * (W + s B A) x        m: (out,), trained    n: the rows' lengths now

The arithmetic stands in plain functions, the layer carries the settings.
tests/parity/test_lora_parity.py holds outputs, gradients and merged weights to peft's layer.
`tuning.lora_model` puts the layer into a model, and reads and writes peft's files.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers.pytorch_utils import Conv1D

from loratory.errors import ConfigError, ModelError
from loratory.methods.lora import Lora

__all__ = [
    "LoraLinear",
    "check_rank",
    "count",
    "dora_norm",
    "lora_delta",
    "lora_update",
    "scale",
]


def scale(r: int, alpha: float, *, use_rslora: bool = False) -> float:
    """Return s, the factor of the update: alpha / r, or alpha / sqrt(r) for rsLoRA."""
    return alpha / (math.sqrt(r) if use_rslora else r)


def count(in_features: int, out_features: int, r: int, *, use_dora: bool = False) -> int:
    """Return how many numbers are trained: r (in + out), and with DoRA one for each output.

    >>> count(768, 768, r=8)
    12288
    """
    return r * (in_features + out_features) + (out_features if use_dora else 0)


def lora_delta(a: Tensor, b: Tensor, scaling: float) -> Tensor:
    """Return the update as a weight, s B A.

    Args:
        a: (r, in).
        b: (out, r).
        scaling: s, of `scale`.

    Returns:
        (out, in), of rank r at most.
    """
    return (b @ a) * scaling


def lora_update(x: Tensor, a: Tensor, b: Tensor, scaling: float) -> Tensor:
    """Return s B A x without forming B A: r (in + out) products a row instead of in × out.

    Args:
        x: (..., in).
        a: (r, in).
        b: (out, r).
        scaling: s, of `scale`.

    Returns:
        (..., out).
    """
    return functional.linear(functional.linear(x, a), b) * scaling


def dora_norm(weight: Tensor, delta: Tensor) -> Tensor:
    """Return n, the Euclidean length of each row of W + s B A: (out, in) twice gives (out,).

    A row is what leads to one output; the paper, which writes weights as (in, out), says column.
    """
    return torch.linalg.norm(weight + delta, dim=1)


class Merged(NamedTuple):
    """What undoing a merge needs."""

    original: nn.Parameter | None
    """The frozen weight itself, or None where it was not kept."""
    factor: Tensor | None
    """DoRA's m / n, (out,), at the time of merging."""


class LoraLinear(nn.Module):  # type: ignore[misc]
    """A frozen linear layer and its update of low rank.

    The trained numbers are float32 over a base in half precision, whose steps would be too
    coarse for them, and otherwise of the base's own dtype.
    """

    def __init__(self, base: nn.Module, settings: Lora, generator: torch.Generator | None = None):
        """Wrap `base`, a torch.nn.Linear or GPT-2's Conv1D.

        Args:
            base: it stays as it is, and is frozen.
            settings: rank, alpha, dropout, rsLoRA, DoRA.
            generator: of A's random start; on the CPU, so that every machine draws the same.

        Raises:
            ConfigError: the rank is above the layer's width.
        """
        super().__init__()
        self.base = base.requires_grad_(False)
        self.settings = settings
        self.transposed = isinstance(base, Conv1D)
        weight = base.weight
        if self.transposed:  # Conv1D keeps (in, out)
            self.in_features, self.out_features = (int(n) for n in weight.shape)
        else:
            # Not the weight's shape, which quantising changes.
            self.in_features, self.out_features = base.in_features, base.out_features
        check_rank(settings.r, self.in_features, self.out_features)
        self.scaling = scale(settings.r, settings.lora_alpha, use_rslora=settings.use_rslora)
        self.dropout = nn.Dropout(settings.lora_dropout)

        kind = {
            "device": weight.device,
            "dtype": torch.promote_types(weight.dtype, torch.float32),
        }
        a = torch.empty(settings.r, self.in_features)
        # Uniform in ±1/sqrt(in), as nn.Linear itself starts.
        nn.init.kaiming_uniform_(a, a=math.sqrt(5), generator=generator)
        self.lora_A = nn.Parameter(a.to(**kind))  # (r, in)
        self.lora_B = nn.Parameter(torch.zeros(self.out_features, settings.r, **kind))
        self.lora_magnitude: nn.Parameter | None = None
        if settings.use_dora:
            self._need_plain_weight("method.use_dora")
            self.lora_magnitude = nn.Parameter(self._norm(kind["dtype"]))  # (out,)
        self._merged: Merged | None = None

    @property
    def weight(self) -> Tensor:
        """Return the base's weight, which some models look at; merged, if it is."""
        return self.base.weight

    @property
    def bias(self) -> Tensor | None:
        """Return the base's bias, if it has one."""
        return self.base.bias

    @property
    def merged(self) -> bool:
        """Return whether the update is inside the base's weight at present."""
        return self._merged is not None

    def forward(self, x: Tensor) -> Tensor:
        """Return (..., out) for x of (..., in), in the dtype that the base answers in."""
        y = self.base(x)
        if self.merged:
            return y
        x = x.to(self.lora_A.dtype)
        dropped = self.dropout(x)
        update = lora_update(dropped, self.lora_A, self.lora_B, self.scaling)
        if self.lora_magnitude is None:
            return (y + update).to(y.dtype)
        # The paper's section 4.3 holds n constant in the backward pass, which saves its memory.
        factor = self.lora_magnitude / self._norm(x.dtype)  # (out,)
        if self.training and self.dropout.p > 0:
            # As in peft, what DoRA changes of W x is computed from the dropped inputs as well.
            plain = functional.linear(dropped, self._oriented().to(x.dtype))
        else:
            plain = y if self.bias is None else y - self.bias
        return (y + (factor - 1) * plain + factor * update).to(y.dtype)

    def delta(self) -> Tensor:
        """Return s B A, (out, in)."""
        return lora_delta(self.lora_A, self.lora_B, self.scaling)

    def merge(self, *, keep: bool = True) -> None:
        """Put the update into the weight, so that a forward pass costs what the base's does.

        The sum is formed in the adapter's precision and rounded once to the weight's. Merging
        what is merged changes nothing.

        Args:
            keep: keep the old weight, for an exact `unmerge`, at the cost of its memory.

        Raises:
            ModelError: the base is quantised, or the merged weight is not finite.
        """
        if self.merged:
            return
        self._need_plain_weight("merge")
        original = self.base.weight
        with torch.no_grad():
            dtype = self.lora_A.dtype
            total = self._oriented().to(dtype) + self.delta()
            factor = None
            if self.lora_magnitude is not None:
                factor = self.lora_magnitude / self._norm(dtype)
                total = factor.unsqueeze(1) * total
        if not torch.isfinite(total).all():
            raise ModelError(
                "merge: the merged weight is not finite, so the adapter holds infinities or NaN. "
                "Train again with a lower train.learning_rate."
            )
        self._set_weight(total, original.dtype)
        self._merged = Merged(original if keep else None, factor)

    def unmerge(self) -> None:
        """Take the update out of the weight again.

        Do so before training on: the update that is taken out is the present one. With the old
        weight kept, the same bits come back. Otherwise the weight is computed again, through
        two roundings: with u the unit of rounding of its dtype (2^-24 in float32, 2^-8 in
        bfloat16), a weight w that was merged to w' comes back within u (|w| + |w'|), and with
        DoRA, whose factor m / n is rounded as well, within u (|w| + 3 |w'| n / m).

        Unmerging what is not merged changes nothing.
        """
        if self._merged is None:
            return
        original, factor = self._merged
        self._merged = None
        if original is not None:
            self.base.weight = original
            return
        with torch.no_grad():
            total = self._oriented().to(self.lora_A.dtype)
            if factor is not None:
                total = total / factor.unsqueeze(1)
            self._set_weight(total - self.delta(), self.weight.dtype)

    def extra_repr(self) -> str:
        return f"r={self.settings.r}, scaling={self.scaling:g}, merged={self.merged}"

    def _oriented(self) -> Tensor:
        """Return the base's weight as (out, in)."""
        return self.weight.T if self.transposed else self.weight

    def _set_weight(self, weight: Tensor, dtype: torch.dtype) -> None:
        # A parameter of its own, so that one tied to the old weight keeps the old values.
        weight = (weight.T if self.transposed else weight).to(dtype).contiguous()
        self.base.weight = nn.Parameter(weight, requires_grad=False)

    def _norm(self, dtype: torch.dtype) -> Tensor:
        with torch.no_grad():
            return dora_norm(self._oriented().to(dtype), self.delta().to(dtype))

    def _need_plain_weight(self, what: str) -> None:
        if not self.weight.is_floating_point():
            raise ModelError(
                f"{what}: this needs the weight itself, and the base is quantised. "
                "Load the model with model.quantization: none."
            )


def check_rank(r: int, inner: int, outer: int, *, where: str = "") -> None:
    """Refuse a rank that a layer of `inner` × `outer` cannot have.

    Raises:
        ConfigError: the sentence names both widths, and the layer `where` it is given.
    """
    widest = min(inner, outer)
    if r > widest:
        raise ConfigError(
            f"method.r: {r} is above the width of the layer {where or 'it is put on'} "
            f"({inner} × {outer}). Take a rank of {widest} or below."
        )
