"""Full fine-tuning as an adapter: every weight is trained, as a copy.

The yardstick that the other methods are held against. The adapter is as large as the model.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from loratory.tuning.adapters.copies import Chosen, CopyConfig, CopyTuner, with_tied

__all__ = ["FullConfig", "FullTuner"]


@dataclass
class FullConfig(CopyConfig):
    """Settings of full fine-tuning: none."""

    peft_name: ClassVar[str] = "FULL"


class FullTuner(CopyTuner):
    """Trains everything."""

    method = "full"
    prefix = "full_copy_"

    def choose(self, model: Any, _: Any) -> Chosen:
        return with_tied(model, {id(parameter) for parameter in model.parameters()})
