"""Pfeiffer adapters (Pfeiffer et al. 2020, arXiv 2005.00247): one behind every layer.

The adapter sees the layer's result. Where sums are normalised, as in BERT, it stands around
the last norm, LN(s + f(LN(s))) with s the feed-forward's sum; elsewhere behind the layer,
h + f(h).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from loratory.tuning.adapters.bottleneck import (
    BottleneckConfig,
    BottleneckLayer,
    BottleneckTuner,
)
from loratory.tuning.adapters.structure import blocks, is_norm, last_norm, not_found, unwrapped

__all__ = ["PfeifferConfig", "PfeifferTuner"]


@dataclass
class PfeifferConfig(BottleneckConfig):
    """Settings of Pfeiffer adapters."""

    peft_name: ClassVar[str] = "PFEIFFER"

    non_linearity: str = "relu"


class AroundNorm(BottleneckLayer):
    """A norm with adapters that take what it gives and add to what it is given."""

    def forward(self, s: Any, *args: Any, **kwargs: Any) -> Any:
        for name in self.adapted_by():
            s = s + self.update(name, self.base_layer(s, *args, **kwargs))
        return self.base_layer(s, *args, **kwargs)


class PfeifferTuner(BottleneckTuner):
    """Adapters behind every layer."""

    method = "pfeiffer"
    prefix = "pfeiffer_"

    def places(self, model: Any) -> list[str]:
        found = [last_norm(block) if block.post_norm else block.name for block in blocks(model)]
        if not found or None in found:
            raise not_found(model, ["auto"])
        return [name for name in found if name is not None]

    def layer(self, target: Any, path: str) -> BottleneckLayer:
        layer = super().layer(target, path)
        if is_norm(unwrapped(target)):
            return AroundNorm(target, self.prefix, layer.width)
        return layer
