"""OFT: orthogonal fine-tuning (Qiu et al. 2023, arXiv 2306.07280).

The weight is multiplied by a block-diagonal orthogonal matrix, so that angles between neurons
stay as they were. A block of size b is (I + Q)(I − Q)⁻¹ of a skew Q: b (b − 1) / 2 parameters.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from loratory.methods.base import EVERY_FAMILY, Family, PeftMethod, method
from loratory.methods.checks import above_zero, names_layers, share

__all__ = ["Oft"]


@method("oft")
@dataclass(frozen=True)
class Oft(PeftMethod):
    """Rotate a layer's inputs by a trained orthogonal matrix."""

    name: ClassVar[str]
    paper: ClassVar[str] = "arXiv 2306.07280"
    families: ClassVar[frozenset[Family]] = EVERY_FAMILY
    merges: ClassVar[bool] = True
    conv1d: ClassVar[bool] = False
    peft_config: ClassVar[str] = "OFTConfig"

    oft_block_size: int = 32
    """Size of a block; one that does not divide a layer's inputs is adjusted by peft."""
    r: int = 0
    """Number of blocks instead of their size; one of both is 0."""
    target_modules: tuple[str, ...] = ("all-linear",)
    """Names of the layers that are adapted; all-linear is every linear layer but the head."""
    module_dropout: float = 0.0
    """Share of the blocks that stay the identity in a step."""
    coft: bool = False
    """Hold the rotation within eps of the identity."""
    eps: float = 6e-5
    """Freedom of the rotation with coft."""
    block_share: bool = False
    """Give all blocks of a layer the same rotation."""
    use_cayley_neumann: bool = True
    """Approximate the inverse by a short series, which is faster."""
    num_cayley_neumann_terms: int = 5
    """Terms of that series."""
    bias: Literal["none", "all", "oft_only"] = "none"
    """Which bias terms are trained as well."""

    def problems(self) -> list[str]:
        found = [
            *names_layers(self.target_modules),
            *share("module_dropout", self.module_dropout),
            *above_zero("eps", self.eps),
        ]
        if min(self.r, self.oft_block_size) != 0 or max(self.r, self.oft_block_size) < 1:
            found.append(
                f"r: got {self.r} with oft_block_size {self.oft_block_size}; give one of them, and "
                "the other as 0."
            )
        return found
