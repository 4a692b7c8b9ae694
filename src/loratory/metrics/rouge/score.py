"""ROUGE-N, ROUGE-L and summary-level ROUGE-L of pairs of texts.

Lin 2004, "ROUGE: A Package for Automatic Evaluation of Summaries", as the Python package
rouge_score 0.1.2 computes it: every number is its very double.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import chain, pairwise
from typing import NamedTuple

import numpy as np

from loratory.errors import ConfigError, DataError
from loratory.metrics.base import Array
from loratory.metrics.ratio import ratio
from loratory.metrics.rouge.lcs import lcs_length, summary_lcs
from loratory.metrics.rouge.ngram import ngram_hits
from loratory.metrics.rouge.tokenize import Vocabulary

__all__ = ["TYPES", "Overlap", "rouge", "type_problems"]

TYPES = ("rouge1", "rouge2", "rougeL", "rougeLsum")

_VALID = re.compile(r"rouge([1-9]|L|Lsum)")


class Overlap(NamedTuple):
    """One ROUGE type over n pairs; each array has shape (n,), values 0 to 1."""

    precision: Array
    """Share of the prediction's units found in the reference."""
    recall: Array
    """Share of the reference's units found in the prediction."""
    f: Array
    """Harmonic mean of the two; 0 when both are 0."""


class _Text(NamedTuple):
    lines: list[list[int]]
    words: list[int]


def rouge(
    predictions: Sequence[str],
    references: Sequence[str | Sequence[str]],
    types: Sequence[str] = TYPES,
    stem: bool = True,
) -> dict[str, Overlap]:
    """Return precision, recall and F of every pair, by ROUGE type.

    A text without a Latin letter or digit has no words, and scores 0 even against itself.
    With several references, each type takes the one with the highest F, the first of equals.
    Sentences for rougeLsum are lines; rougeL reads the text as one line.

    Args:
        predictions: n texts.
        references: n texts, or n non-empty lists of texts.
        types: any of `rouge1` to `rouge9`, `rougeL`, `rougeLsum`.
        stem: whether words longer than three characters are stemmed (Porter).

    Raises:
        ConfigError: a type that does not exist.
        DataError: another number of references than predictions, or a pair with none.
    """
    if problems := type_problems(types):
        raise ConfigError(problems)
    if len(predictions) != len(references):
        raise DataError(
            f"{len(predictions)} predictions but {len(references)} references; give one "
            "reference, or one list of them, for each prediction."
        )
    groups = [[item] if isinstance(item, str) else list(item) for item in references]
    if [] in groups:
        raise DataError(f"pair {groups.index([])}: no references; ROUGE needs at least one.")
    vocabulary = Vocabulary(stem)
    pairs: list[tuple[_Text, _Text]] = []
    for prediction, group in zip(predictions, groups, strict=True):
        text = _read(vocabulary, prediction)
        pairs.extend((text, _read(vocabulary, reference)) for reference in group)
    sizes = [len(group) for group in groups]
    return {kind: _best(_overlap(kind, pairs), sizes) for kind in types}


def type_problems(types: Sequence[str]) -> list[str]:
    """Return what is wrong with a list of ROUGE types, one `types: sentence` each."""
    allowed = "Available: rouge1 to rouge9, rougeL, rougeLsum."
    problems = [f"types: unknown '{t}'. {allowed}" for t in types if not _VALID.fullmatch(t)]
    problems += [f"types: '{t}' is given twice." for t in sorted(set(types)) if types.count(t) > 1]
    return problems if types else [f"types: empty, so there is nothing to compute. {allowed}"]


def _read(vocabulary: Vocabulary, text: str) -> _Text:
    lines = vocabulary.lines(text)
    return _Text(lines, list(chain.from_iterable(lines)))


def _overlap(kind: str, pairs: Sequence[tuple[_Text, _Text]]) -> Overlap:
    """Return one type for every pair of a prediction and one reference."""
    unit = kind.removeprefix("rouge")
    n = int(unit) if unit.isdigit() else 1
    if unit == "L":
        counts = [lcs_length(p.words, r.words) for p, r in pairs]
    elif unit == "Lsum":
        counts = [summary_lcs(p.lines, r.lines) for p, r in pairs]
    else:
        counts = [ngram_hits(p.words, r.words, n) for p, r in pairs]
    hits = np.array(counts, dtype=np.float64)
    # A text of w words has w - n + 1 n-grams; hits are 0 wherever that is below 1.
    predicted = np.array([max(len(p.words) - n + 1, 1) for p, _ in pairs], dtype=np.float64)
    expected = np.array([max(len(r.words) - n + 1, 1) for _, r in pairs], dtype=np.float64)
    precision, recall = hits / predicted, hits / expected
    # This order of operations, because another one rounds differently from rouge_score.
    f = ratio(2 * precision * recall, precision + recall, undefined=0.0)
    return Overlap(precision, recall, f)


def _best(overlap: Overlap, sizes: Sequence[int]) -> Overlap:
    """Keep, of each run of `sizes[i]` pairs, the first with the highest F."""
    if all(size == 1 for size in sizes):
        return overlap
    starts = np.cumsum([0, *sizes])
    chosen = [start + int(np.argmax(overlap.f[start:stop])) for start, stop in pairwise(starts)]
    return Overlap(*(values[chosen] for values in overlap))
