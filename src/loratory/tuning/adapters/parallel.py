"""Scaled parallel adapters (He et al. 2021, arXiv 2110.04366): beside the feed-forward.

The adapter takes what the feed-forward sub-layer takes, and what it gives is added to the
feed-forward's output: FFN(x) + s f(x).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from loratory.tuning.adapters.bottleneck import (
    BottleneckConfig,
    BottleneckLayer,
    BottleneckTuner,
)
from loratory.tuning.adapters.structure import (
    FeedForward,
    blocks,
    feed_forward,
    matching,
    not_found,
    width_of,
)

__all__ = ["ParallelConfig", "ParallelTuner"]


@dataclass
class ParallelConfig(BottleneckConfig):
    """Settings of parallel adapters."""

    peft_name: ClassVar[str] = "PARALLEL"

    reduction_factor: float = 2.0
    non_linearity: str = "relu"
    scaling: float = 4.0


class Tap:
    """A hook that keeps what a module is given, until it is taken."""

    def __init__(self) -> None:
        self.kept: torch.Tensor | None = None

    def __call__(self, _: Any, args: tuple[torch.Tensor, ...]) -> None:
        self.kept = args[0]

    def take(self) -> torch.Tensor:
        assert self.kept is not None, "the feed-forward's end was reached before its beginning"
        kept, self.kept = self.kept, None
        return kept


class BesideFeedForward(BottleneckLayer):
    """The last layer of a feed-forward sub-layer, with adapters that take its first one's input."""

    def watch(self, first: Any) -> None:
        """Keep what the first layer is given."""
        self.tap = Tap()
        self.handle = first.register_forward_pre_hook(self.tap)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        h, x = self.base_layer(*args, **kwargs), self.tap.take()
        for name in self.adapted_by():
            h = h + self.settings[name].scaling * self.update(name, x).to(h.dtype)
        return h

    def unload_and_optionally_merge_module(self, merge: bool, **_: Any) -> Any:
        """Return the base model's layer, its feed-forward no longer watched."""
        if merge:
            self.merge()
        self.handle.remove()
        return self.get_base_layer()


class ParallelTuner(BottleneckTuner):
    """Adapters beside every feed-forward sub-layer."""

    method = "parallel"
    prefix = "parallel_"
    tuner_layer_cls = BesideFeedForward

    def places(self, model: Any) -> list[str]:
        found = [part.last for part in _parts(model)]
        if not found or len(found) < len(blocks(model)):
            raise not_found(model, ["auto"])
        return found

    def named(self, model: Any, targets: list[str]) -> list[str]:
        asked = set(matching(model, targets))
        found = [part.last for part in _parts(model) if part.last in asked]
        if not found:
            raise not_found(model, targets)
        return found

    def layer(self, target: Any, path: str) -> BottleneckLayer:
        layer = super().layer(target, path)
        assert isinstance(layer, BesideFeedForward)
        first = next(part.first for part in _parts(self.model) if part.last == path)
        layer.watch(self.model.get_submodule(first))
        return layer


def _parts(model: Any) -> list[FeedForward]:
    width = width_of(model)
    return [part for block in blocks(model) if (part := feed_forward(block, width)) is not None]
