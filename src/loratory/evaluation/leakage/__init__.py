"""Do rows stand in more than one split? Looked for before training, and scored with and without.

`find_leaks` compares what the model is given, exactly and nearly; `treat_leaks` drops or refuses;
`leakage_finding` says it in words; `with_scores` adds what the leaked rows are worth.
"""

from loratory.evaluation.leakage.finding import leakage_finding, with_scores
from loratory.evaluation.leakage.search import find_leaks, treat_leaks

__all__ = ["find_leaks", "leakage_finding", "treat_leaks", "with_scores"]
