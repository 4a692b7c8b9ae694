"""ROUGE: recall-oriented overlap of a summary with its references (Lin 2004)."""

from loratory.metrics.rouge.metric import Rouge
from loratory.metrics.rouge.score import Overlap, rouge

__all__ = ["Overlap", "Rouge", "rouge"]
