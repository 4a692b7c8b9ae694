"""Counts of one prediction against one reference, for every score that is asked for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from loratory.errors import DataError
from loratory.metrics.rouge.ngram import ngram_hits
from loratory.metrics.rouge.rouge155 import lcs, units
from loratory.metrics.rouge.rouge155.combine import Counts, added
from loratory.metrics.rouge.rouge155.options import EvaluationOptions
from loratory.metrics.rouge.rouge155.text import Text, basic_elements

__all__ = ["element_counts", "text_counts"]

_MOST_PAIRS = 1 << 31  # a minute's counting


def text_counts(prediction: Text, reference: Text, options: EvaluationOptions) -> list[Counts]:
    """Return the counts of one pair of texts, in the order of `options.names()`.

    Raises:
        DataError: ROUGE-L, W or S of lines too long for it.
    """
    left, right = prediction.words, reference.words
    found = [
        Counts(
            units.ngram_units(len(right), n),
            units.ngram_units(len(left), n),
            ngram_hits(right, left, n),
        )
        for n in range(1, options.max_n + 1)
    ]
    found += _sequences(prediction, reference, options)
    if options.skip_gap is not None:
        found += _skips(left, right, options.skip_gap, options.skip_units)
    return found


def element_counts(prediction: str, reference: str, options: EvaluationOptions) -> list[Counts]:
    """Return the counts of one pair of lists of basic elements.

    Raises:
        DataError: a line that is no basic element.
    """
    assert options.basic_elements is not None
    left, right = (
        Counter(units.elements(basic_elements(text, options), options.basic_elements))
        for text in (prediction, reference)
    )
    return [Counts(right.total(), left.total(), (left & right).total())]


def _sequences(prediction: Text, reference: Text, options: EvaluationOptions) -> list[Counts]:
    """Return the counts of ROUGE-L and ROUGE-W."""
    found = []
    # With a byte limit the sentences hold more words than the texts, which decide nevertheless.
    available = Counter(prediction.words) & Counter(reference.words)
    lengths = [len(sentence) for sentence in reference.sentences]
    predicted = len(prediction.words)
    if options.lcs:
        hits = lcs.lcs_hits(reference.sentences, prediction.sentences, available)
        found.append(Counts(sum(lengths), predicted, hits))
    if (weight := options.weight) is not None:
        weighted = lcs.weighted_hits(reference.sentences, prediction.sentences, available, weight)
        whole = added(length**weight for length in lengths)
        found.append(Counts(whole, predicted**weight, weighted))
    return found


def _skips(left: Sequence[int], right: Sequence[int], gap: int, kind: str) -> list[Counts]:
    """Return the counts of ROUGE-S and ROUGE-SU."""
    longest = max(len(left), len(right))
    reach = longest if gap < 0 else min(gap + 1, longest)
    if longest * reach > _MOST_PAIRS:
        raise DataError(
            f"a text of {longest:,} words is too long for skip-bigrams of this gap. Limit the gap "
            "or the words, or leave them out."
        )
    pairs = Counts(
        units.skip_units(len(right), gap),
        units.skip_units(len(left), gap),
        units.skip_hits(right, left, gap),
    )
    with_words = Counts(
        pairs.reference + max(len(right) - 1, 0),
        pairs.prediction + max(len(left) - 1, 0),
        pairs.hits + units.start_hits(right, left),
    )
    return {"pairs": [pairs], "pairs_and_words": [with_words]}.get(kind, [pairs, with_words])
