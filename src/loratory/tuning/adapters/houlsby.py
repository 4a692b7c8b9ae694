"""Houlsby adapters (Houlsby et al. 2019, arXiv 1902.00751): one behind every sub-layer.

Each attention and each feed-forward sub-layer gets an adapter behind its output projection,
before the residual sum: x + h + f(h). In an encoder-decoder the attention to the encoder is a
sub-layer of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from loratory.tuning.adapters.bottleneck import BottleneckConfig, BottleneckTuner
from loratory.tuning.adapters.structure import (
    attention_outputs,
    blocks,
    feed_forward,
    not_found,
    width_of,
)

__all__ = ["HoulsbyConfig", "HoulsbyTuner", "sub_layer_outputs"]


@dataclass
class HoulsbyConfig(BottleneckConfig):
    """Settings of Houlsby adapters."""

    peft_name: ClassVar[str] = "HOULSBY"


class HoulsbyTuner(BottleneckTuner):
    """Adapters behind every sub-layer."""

    method = "houlsby"
    prefix = "houlsby_"

    def places(self, model: Any) -> list[str]:
        return sub_layer_outputs(model)


def sub_layer_outputs(model: Any) -> list[str]:
    """Return the paths of the layers that end attention and feed-forward, layer by layer.

    Raises:
        ModelError: a layer has no attention, or no feed-forward, that can be found.
    """
    width, found = width_of(model), []
    for block in blocks(model):
        attention, forward = attention_outputs(block, width), feed_forward(block, width)
        if not attention or forward is None:
            raise not_found(model, ["auto"])
        found += [*attention, forward.last]
    if not found:
        raise not_found(model, ["auto"])
    return found
