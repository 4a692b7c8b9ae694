"""What the methods that peft lacks share: how they are attached, and how a bottleneck is sized."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from loratory.methods.base import Family, attach_peft
from loratory.methods.checks import names_layers

if TYPE_CHECKING:
    from peft import PeftModel

__all__ = [
    "NonLinearity",
    "attach_ours",
    "bottleneck_of",
    "bottleneck_parameters",
    "multiple_below",
    "problems_of",
]

NonLinearity = Literal["gelu", "relu", "silu", "tanh"]


def attach_ours(
    settings: Any, model: Any, family: Family, seed: int, heads: Sequence[str], **extra: Any
) -> PeftModel:
    """Attach a method that `loratory.tuning.adapters` has made known to peft.

    Raises:
        ModelError: as of `attach_peft`.
    """
    # By name, since a method stands below tuning; importing it fills peft's tables.
    importlib.import_module("loratory.tuning.adapters")
    from peft import PEFT_TYPE_TO_CONFIG_MAPPING

    config = PEFT_TYPE_TO_CONFIG_MAPPING[settings.name.upper()]
    return attach_peft(config, settings, model, family, seed, heads, **extra)


def bottleneck_of(width: int, reduction_factor: float) -> int:
    """Return the width of the bottleneck of an adapter, at least 1."""
    return max(1, int(width // reduction_factor))


def multiple_below(width: int, reduction_factor: float, n: int) -> int:
    """Return the width of a bottleneck that n must divide: a multiple of n, and at least n."""
    return n * max(1, int(width // reduction_factor) // n)


def bottleneck_parameters(width: int, reduction_factor: float) -> int:
    """Return the parameters of one adapter: two matrices and two biases, 2dm + m + d."""
    inner = bottleneck_of(width, reduction_factor)
    return 2 * width * inner + inner + width


def problems_of(reduction_factor: float, target_modules: Sequence[str]) -> list[str]:
    """Return what is wrong with the settings that every bottleneck adapter has."""
    found = []
    if not 1 <= reduction_factor < float("inf"):
        found.append(
            f"reduction_factor: got {reduction_factor}; it must be at least 1, for the bottleneck "
            "is no wider than the layer."
        )
    return found + [text.replace("all-linear", "auto") for text in names_layers(target_modules)]
