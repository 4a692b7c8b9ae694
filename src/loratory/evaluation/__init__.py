"""Predictions to findings, without torch: scores and paired comparisons."""

from loratory.evaluation.compare import compare
from loratory.evaluation.score import score

__all__ = ["compare", "score"]
