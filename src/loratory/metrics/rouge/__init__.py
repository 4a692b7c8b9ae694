"""ROUGE: recall-oriented overlap of a summary with its references (Lin 2004).

`rouge` scores columns of texts, `Rouge` is the metric of a recipe, `explain` shows what matched
in one pair. `RougeScorer`, `BootstrapAggregator` and `compute` stand in for those of the
packages rouge_score and evaluate.
"""

from loratory.metrics.rouge.aggregate import AggregateScore, BootstrapAggregator, compute
from loratory.metrics.rouge.band import band
from loratory.metrics.rouge.explain import Explanation, explain
from loratory.metrics.rouge.metric import Rouge
from loratory.metrics.rouge.score import Overlap, rouge
from loratory.metrics.rouge.scorer import RougeScorer, Score

__all__ = [
    "AggregateScore",
    "BootstrapAggregator",
    "Explanation",
    "Overlap",
    "Rouge",
    "RougeScorer",
    "Score",
    "band",
    "compute",
    "explain",
    "rouge",
]
