"""BOFT: orthogonal fine-tuning by butterfly factors (Liu et al. 2023, arXiv 2311.06243).

As OFT, with the orthogonal matrix a product of sparse ones, so that few parameters reach all
pairs of inputs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from loratory.methods.base import EVERY_FAMILY, Family, PeftMethod, method
from loratory.methods.checks import at_least_one, names_layers, share

__all__ = ["Boft"]


@method("boft")
@dataclass(frozen=True)
class Boft(PeftMethod):
    """Rotate a layer's inputs by a product of sparse orthogonal matrices."""

    name: ClassVar[str]
    paper: ClassVar[str] = "arXiv 2311.06243"
    families: ClassVar[frozenset[Family]] = EVERY_FAMILY
    merges: ClassVar[bool] = True
    conv1d: ClassVar[bool] = False
    peft_config: ClassVar[str] = "BOFTConfig"

    boft_block_size: int = 4
    """Size of a block; it must divide the inputs of every adapted layer."""
    boft_block_num: int = 0
    """Number of blocks instead of their size; one of both is 0."""
    boft_n_butterfly_factor: int = 1
    """Number of sparse matrices; 1 is OFT, and peft takes 1 on a machine without CUDA."""
    target_modules: tuple[str, ...] = ("all-linear",)
    """Names of the layers that are adapted; all-linear is every linear layer but the head."""
    boft_dropout: float = 0.0
    """Share of the blocks that stay the identity in a step."""
    bias: Literal["none", "all", "boft_only"] = "none"
    """Which bias terms are trained as well."""

    def problems(self) -> list[str]:
        found = [
            *names_layers(self.target_modules),
            *share("boft_dropout", self.boft_dropout),
            *at_least_one("boft_n_butterfly_factor", self.boft_n_butterfly_factor),
        ]
        sizes = (self.boft_block_size, self.boft_block_num)
        if min(sizes) != 0 or max(sizes) < 1:
            found.append(
                f"boft_block_num: got {self.boft_block_num} with boft_block_size "
                f"{self.boft_block_size}; give one of them, and the other as 0."
            )
        return found
