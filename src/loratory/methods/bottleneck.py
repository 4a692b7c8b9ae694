"""What bottleneck adapters share: their settings' checks, and how a bottleneck is sized."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from loratory.methods.checks import names_layers
from loratory.methods.ours import OurMethod

__all__ = ["Bottleneck", "NonLinearity", "bottleneck_of", "bottleneck_parameters", "multiple_below"]

NonLinearity = Literal["gelu", "relu", "silu", "tanh"]


class Bottleneck(OurMethod):
    """A method that adds small networks: down to a bottleneck, and up again."""

    reduction_factor: float
    target_modules: tuple[str, ...]

    def problems(self) -> list[str]:
        found = []
        if not 1 <= self.reduction_factor < float("inf"):
            found.append(
                f"reduction_factor: got {self.reduction_factor}; it must be at least 1, for the "
                "bottleneck is no wider than the layer."
            )
        named = names_layers(self.target_modules)
        return found + [text.replace("all-linear", "auto") for text in named]

    def count(self, widths: Sequence[int]) -> int:
        """Return the trainable parameters for adapters on layers of these widths."""
        return sum(bottleneck_parameters(width, self.reduction_factor) for width in widths)


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
