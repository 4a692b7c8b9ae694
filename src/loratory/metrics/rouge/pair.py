"""ROUGE of one pair of texts, in plain Python: what `batch` does for many.

For one pair this is as quick as arrays are, and it can be read beside the paper (Lin 2004).
"""

from __future__ import annotations

from typing import NamedTuple

from loratory.metrics.rouge.kind import Kind
from loratory.metrics.rouge.lcs import lcs_length, summary_lcs
from loratory.metrics.rouge.ngram import ngram_hits
from loratory.metrics.rouge.skip import skip_hits, skip_units, su_hits, su_units
from loratory.metrics.rouge.tokenize import Text
from loratory.metrics.rouge.weighted import weighted_lcs

__all__ = ["Counts", "count", "hits", "units"]


class Counts(NamedTuple):
    """What precision and recall of one pair are made of."""

    hits: float
    predicted: float
    """Units of the prediction, at least 1."""
    expected: float
    """Units of the reference, at least 1."""


def count(kind: Kind, prediction: Text, reference: Text) -> Counts:
    """Return hits and units of one pair. For W they are still to be put through 1/weight."""
    sizes = [len(text.words) for text in (prediction, reference)]
    if kind.family == "Lsum":
        # A tokenizer of the user's may cut lines otherwise than the whole text.
        sizes = [sum(map(len, text.lines)) for text in (prediction, reference)]
    predicted, expected = (units(kind, size) for size in sizes)
    return Counts(hits(kind, prediction, reference), predicted, expected)


def hits(kind: Kind, prediction: Text, reference: Text) -> float:
    """Return the units that two texts share."""
    p, r = prediction.words, reference.words
    match kind.family:
        case "N":
            return ngram_hits(p, r, kind.n)
        case "L":
            return lcs_length(p, r)
        case "Lsum":
            return summary_lcs(prediction.lines, reference.lines)
        case "S":
            return skip_hits(p, r, kind.gap)
        case "SU":
            return su_hits(p, r, kind.gap)
        case "W":
            return weighted_lcs(p, r, kind.weight)


def units(kind: Kind, words: int) -> float:
    """Return how many units a text of so many words has, at least 1."""
    found: float = words
    match kind.family:
        case "N":
            # Hits are 0 wherever this is below 1.
            found = words - kind.n + 1
        case "S":
            found = skip_units(words, kind.gap)
        case "SU":
            found = su_units(words, kind.gap)
        case "W":
            # The same power as in the table, or a text might not score 1 against itself.
            found = words**kind.weight
    return max(found, 1)
