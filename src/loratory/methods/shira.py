"""SHiRA: sparse high-rank adapters (Bhardwaj et al. 2024, arXiv 2406.13175).

A random choice of the weights themselves is trained, as many as a LoRA of rank r would have
parameters.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from loratory.methods.base import EVERY_FAMILY, Family, PeftMethod, method
from loratory.methods.checks import at_least_one, names_layers

__all__ = ["Shira"]


@method("shira")
@dataclass(frozen=True)
class Shira(PeftMethod):
    """Train a small random share of the weights themselves."""

    name: ClassVar[str]
    paper: ClassVar[str] = "arXiv 2406.13175"
    families: ClassVar[frozenset[Family]] = EVERY_FAMILY
    merges: ClassVar[bool] = True
    conv1d: ClassVar[bool] = False
    reads_weights: ClassVar[bool] = True
    peft_config: ClassVar[str] = "ShiraConfig"

    r: int = 32
    """A layer trains r × (inputs + outputs) of its weights."""
    random_seed: int = 0
    """Seed of the choice."""
    target_modules: tuple[str, ...] = ("all-linear",)
    """Names of the layers that are adapted; all-linear is every linear layer but the head."""

    def problems(self) -> list[str]:
        return [*at_least_one("r", self.r), *names_layers(self.target_modules)]
