"""FourierFT: fine-tuning in the frequency domain (Gao et al. 2024, arXiv 2405.03003).

The update is the inverse Fourier transform of a matrix that is zero but at n random places,
whose values are trained.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from loratory.methods.base import EVERY_FAMILY, Family, PeftMethod, method
from loratory.methods.checks import above_zero, at_least_one, names_layers

__all__ = ["FourierFT"]


@method("fourierft")
@dataclass(frozen=True)
class FourierFT(PeftMethod):
    """A few trained Fourier coefficients of each layer's update."""

    name: ClassVar[str]
    paper: ClassVar[str] = "arXiv 2405.03003"
    families: ClassVar[frozenset[Family]] = EVERY_FAMILY
    merges: ClassVar[bool] = True
    peft_config: ClassVar[str] = "FourierFTConfig"

    n_frequency: int = 1000
    """Coefficients of a layer; at most inputs × outputs."""
    scaling: float = 150.0
    """Scale of the update."""
    random_loc_seed: int = 777
    """Seed of the places of the coefficients."""
    target_modules: tuple[str, ...] = ("all-linear",)
    """Names of the layers that are adapted; all-linear is every linear layer but the head."""
    init_weights: bool = True
    """Start at zero, which is the base model; peft's own default draws the coefficients."""
    bias: Literal["none", "all", "fourier_only"] = "none"
    """Which bias terms are trained as well."""

    def problems(self) -> list[str]:
        return [
            *at_least_one("n_frequency", self.n_frequency),
            *above_zero("scaling", self.scaling),
            *names_layers(self.target_modules),
        ]
