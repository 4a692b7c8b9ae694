"""Layer-wise full tuning (Lee, Tang and Lin 2019, arXiv 1911.03090): the last layers, whole.

The weights of the last transformer layers, or of modules named by the user, are trained as
copies; everything before them stays frozen.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from loratory.methods.base import method
from loratory.methods.checks import at_least_one
from loratory.methods.ours import OurMethod

__all__ = ["Layerwise"]


@method("layerwise")
@dataclass(frozen=True)
class Layerwise(OurMethod):
    """Train the last layers, or named modules, whole."""

    name: ClassVar[str]
    paper: ClassVar[str] = "arXiv 1911.03090"
    merges: ClassVar[bool] = True

    num_layers: int = 2
    """Transformer layers that are trained, the last of them; in an encoder-decoder, of each."""
    target_modules: tuple[str, ...] = field(default=(), metadata={"peft": False})
    """Names of modules that are trained with all within, in place of the last layers."""

    def problems(self) -> list[str]:
        return at_least_one("num_layers", self.num_layers)

    def count(self, shapes: Sequence[tuple[int, ...]]) -> int:
        """Return the trainable parameters for weights of these shapes, tied ones given once."""
        return sum(map(math.prod, shapes))

    def fill(self, model: Any) -> dict[str, Any]:  # noqa: ARG002
        return {"trained_modules": list(self.target_modules) or None}
