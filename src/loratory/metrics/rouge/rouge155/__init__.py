"""The `rouge155` reference: what the script ROUGE-1.5.5 prints, to its five places.

`rouge155` scores evaluations under `Rouge155Options`, which name the script's letters, and
`Rouge155` is the metric of a recipe. Lin 2004, "ROUGE: A Package for Automatic Evaluation of
Summaries". Written from the papers and from what the script does with known texts, not from its
source, which has no licence.
"""

from loratory.metrics.rouge.rouge155.combine import Counts, Score
from loratory.metrics.rouge.rouge155.metric import Rouge155
from loratory.metrics.rouge.rouge155.options import EvaluationOptions, Rouge155Options
from loratory.metrics.rouge.rouge155.resample import Estimate
from loratory.metrics.rouge.rouge155.score import Average, Evaluation, Rouge155Result, rouge155

__all__ = [
    "Average",
    "Counts",
    "Estimate",
    "Evaluation",
    "EvaluationOptions",
    "Rouge155",
    "Rouge155Options",
    "Rouge155Result",
    "Score",
    "rouge155",
]
