"""Full fine-tuning: every weight is trained. The yardstick that the other methods are held against.

It is done as by BERT (Devlin et al. 2018, arXiv 1810.04805), with the weights as copies: the
base model stays as it is, and the adapter is as large as the model.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from loratory.methods.base import EVERY_FAMILY, Family, Method, method
from loratory.methods.bottleneck import attach_ours

if TYPE_CHECKING:
    from peft import PeftModel

__all__ = ["Full"]


@method("full")
@dataclass(frozen=True)
class Full(Method):
    """Train every weight: the most memory, and the measure of what training can reach."""

    name: ClassVar[str]
    paper: ClassVar[str] = "arXiv 1810.04805"
    families: ClassVar[frozenset[Family]] = EVERY_FAMILY
    merges: ClassVar[bool] = True
    defined_in: ClassVar[str] = "loratory.tuning.adapters"

    def problems(self) -> list[str]:
        return []

    def count(self, shapes: Sequence[tuple[int, ...]]) -> int:
        """Return the trainable parameters for weights of these shapes, tied ones given once."""
        return sum(map(math.prod, shapes))

    def attach(self, model: Any, family: Family, seed: int, heads: Sequence[str] = ()) -> PeftModel:
        return attach_ours(self, model, family, seed, heads)
