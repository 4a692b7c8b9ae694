"""ROUGE: recall-oriented overlap of a summary with its references (Lin 2004).

`rouge` scores columns of texts, and so does calling this module. `Rouge` is the metric of a
recipe, `explain` shows what matched in one pair. `RougeScorer`, `BootstrapAggregator` and `compute`
stand in for those of the packages rouge_score and evaluate. What the original script ROUGE-1.5.5
prints is in `loratory.metrics.rouge.rouge155`, and ROUGE 2.0 in `loratory.metrics.rouge.rouge2`.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from loratory.metrics.rouge.score import Overlap, Overlaps, rouge

if TYPE_CHECKING:
    from loratory.metrics.rouge.aggregate import AggregateScore, BootstrapAggregator, compute
    from loratory.metrics.rouge.bands import band
    from loratory.metrics.rouge.explanation import Explanation, explain
    from loratory.metrics.rouge.length_control import (
        RougeLengthControlled,
        rouge_length_controlled,
    )
    from loratory.metrics.rouge.metric import Rouge
    from loratory.metrics.rouge.rouge2 import Rouge2
    from loratory.metrics.rouge.rouge155.metric import Rouge155
    from loratory.metrics.rouge.scorer import RougeScorer, Score

__all__ = [
    "AggregateScore",
    "BootstrapAggregator",
    "Explanation",
    "Overlap",
    "Overlaps",
    "Rouge",
    "Rouge2",
    "Rouge155",
    "RougeLengthControlled",
    "RougeScorer",
    "Score",
    "band",
    "compute",
    "explain",
    "rouge",
    "rouge_length_controlled",
]

# Fetched on first use, so that scoring a column starts at once.
_HOMES = {
    "AggregateScore": "aggregate",
    "BootstrapAggregator": "aggregate",
    "Explanation": "explanation",
    "Rouge": "metric",
    "Rouge155": "rouge155.metric",
    "Rouge2": "rouge2",
    "RougeLengthControlled": "length_control",
    "RougeScorer": "scorer",
    "Score": "scorer",
    "band": "bands",
    "compute": "aggregate",
    "explain": "explanation",
    "rouge_length_controlled": "length_control",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


class _Module(ModuleType):
    """A module that does what its main function does: `loratory.metrics.rouge(…)`."""

    def __call__(self, *args: Any, **kwargs: Any) -> Overlaps:
        return rouge(*args, **kwargs)


sys.modules[__name__].__class__ = _Module
