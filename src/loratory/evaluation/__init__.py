"""Predictions to findings, without torch: scores, paired comparisons, and what they are worth."""

from loratory.evaluation.agreement import human_agreement
from loratory.evaluation.compare import compare
from loratory.evaluation.place import place
from loratory.evaluation.repeats import compare_seeds
from loratory.evaluation.score import score

__all__ = ["compare", "compare_seeds", "human_agreement", "place", "score"]
