"""Full fine-tuning: every weight is trained. The yardstick that the other methods are held against.

It is done as by BERT (Devlin et al. 2018, arXiv 1810.04805), with the weights as copies: the
base model stays as it is, and the adapter is as large as the model.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from loratory.methods.base import method
from loratory.methods.ours import OurMethod

__all__ = ["Full"]


@method("full")
@dataclass(frozen=True)
class Full(OurMethod):
    """Train every weight: the most memory, and the measure of what training can reach."""

    name: ClassVar[str]
    paper: ClassVar[str] = "arXiv 1810.04805"
    merges: ClassVar[bool] = True

    def problems(self) -> list[str]:
        return []

    def count(self, shapes: Sequence[tuple[int, ...]]) -> int:
        """Return the trainable parameters for weights of these shapes, tied ones given once."""
        return sum(map(math.prod, shapes))
