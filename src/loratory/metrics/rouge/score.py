"""ROUGE of pairs of texts: n-grams, subsequences and skip-bigrams.

Lin 2004, "ROUGE: A Package for Automatic Evaluation of Summaries", as the Python package
rouge_score 0.1.2 computes it: every number of `rouge1` to `rouge9`, `rougeL` and `rougeLsum`
is its very double. ROUGE-W, S and SU, which it lacks, follow the paper on the same words.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from loratory.errors import ConfigError, DataError
from loratory.metrics.base import Array
from loratory.metrics.ratio import ratio
from loratory.metrics.rouge.kind import TYPES, Kind, kind_of, type_problems
from loratory.metrics.rouge.lcs import lcs_length, summary_lcs
from loratory.metrics.rouge.ngram import ngram_hits
from loratory.metrics.rouge.skip import skip_hits, skip_units, su_hits, su_units
from loratory.metrics.rouge.tokenize import (
    CUTS,
    SPLITS,
    Split,
    Text,
    Tokens,
    Vocabulary,
    text_problems,
)
from loratory.metrics.rouge.weighted import weighted_lcs

__all__ = ["Counts", "Overlap", "count", "f_measure", "rouge", "setting_problems"]


class Overlap(NamedTuple):
    """One ROUGE type over n pairs; each array has shape (n,), values 0 to 1."""

    precision: Array
    """Share of the prediction's units found in the reference."""
    recall: Array
    """Share of the reference's units found in the prediction."""
    f: Array
    """Harmonic mean of the two, weighted by beta; 0 when both are 0."""


class Counts(NamedTuple):
    """What precision and recall of one pair are made of."""

    hits: float
    predicted: float
    """Units of the prediction, at least 1."""
    expected: float
    """Units of the reference, at least 1."""


def rouge(
    predictions: Sequence[str],
    references: Sequence[str | Sequence[str]],
    types: Sequence[str] = TYPES,
    stem: bool = True,
    *,
    tokens: Tokens = "rouge_score",
    split: Split = "newline",
    beta: float = 1.0,
) -> dict[str, Overlap]:
    """Return precision, recall and F of every pair, by ROUGE type.

    With `tokens="rouge_score"`, a text without a Latin letter or digit has no words, and scores
    0 even against itself; the other profiles know every script.
    With several references, each type takes the one with the highest F, the first of equals.
    rougeLsum compares lines, or sentences; the other types read the text as one line.

    Args:
        predictions: n texts.
        references: n texts, or n non-empty lists of texts.
        types: any of `rouge1` to `rouge9`, `rougeL`, `rougeLsum`, and as extensions
            `rougeW-1.2`, `rougeS4`, `rougeS*`, `rougeSU4`, `rougeSU*` with any weight or gap.
        stem: whether words longer than three characters are stemmed (Porter); only words of
            ASCII letters and digits are.
        tokens: `rouge_score` (runs of a-z and 0-9), `words` (Unicode words; single letters in
            scripts without spaces) or `characters`; the last two after NFKC and case folding.
        split: what rougeLsum compares: `newline` (lines) or `sentences` (by rule, in lines).
        beta: how many times recall weighs as much as precision in
            F = (1 + beta²) P R / (beta² P + R).

    Raises:
        ConfigError: a type, profile, split or beta that does not exist.
        DataError: another number of references than predictions, a pair with none, or
            something that is not text; the sentence names the pair.
    """
    if problems := setting_problems(types, tokens, split, beta):
        raise ConfigError(problems)
    groups = _groups(predictions, references)
    vocabulary = Vocabulary(stem, CUTS[tokens], SPLITS[split])
    pairs: list[tuple[Text, Text]] = []
    for prediction, group in zip(predictions, groups, strict=True):
        text = vocabulary.read(prediction)
        pairs.extend((text, vocabulary.read(reference)) for reference in group)
    sizes = [len(group) for group in groups]
    return {kind: _best(_overlap(kind, pairs, beta), sizes) for kind in types}


def setting_problems(types: Sequence[str], tokens: str, split: str, beta: float) -> list[str]:
    """Return what is wrong with settings of ROUGE, one `field: sentence` each."""
    problems = type_problems(types) + text_problems(tokens, split)
    if not (math.isfinite(beta) and beta >= 0):
        problems.append(f"beta: {beta} is not a weight; give 0 or more, 1 for plain F.")
    return problems


def count(kind: Kind, prediction: Text, reference: Text) -> Counts:
    """Return hits and units of one pair. For W they are still to be put through 1/weight."""
    p, r = prediction.words, reference.words
    counts: tuple[float, float, float]
    match kind.family:
        case "N":
            # A text of w words has w - n + 1 n-grams; hits are 0 wherever that is below 1.
            less = kind.n - 1
            counts = ngram_hits(p, r, kind.n), len(p) - less, len(r) - less
        case "L":
            counts = lcs_length(p, r), len(p), len(r)
        case "Lsum":
            lines = prediction.lines, reference.lines
            counts = summary_lcs(*lines), sum(map(len, lines[0])), sum(map(len, lines[1]))
        case "S":
            gap = kind.gap
            counts = skip_hits(p, r, gap), skip_units(len(p), gap), skip_units(len(r), gap)
        case "SU":
            gap = kind.gap
            counts = su_hits(p, r, gap), su_units(len(p), gap), su_units(len(r), gap)
        case "W":
            hits = weighted_lcs(p, r, kind.weight)
            # The same power as in the table, or a text might not score 1 against itself.
            counts = hits, len(p) ** kind.weight, len(r) ** kind.weight
    return Counts(counts[0], max(counts[1], 1), max(counts[2], 1))


def f_measure(precision: Array, recall: Array, beta: float = 1.0) -> Array:
    """Return F = (1 + beta²) P R / (beta² P + R); 0 where both are 0."""
    if beta == 1:
        # This order of operations, because another one rounds differently from rouge_score.
        return ratio(2 * precision * recall, precision + recall, undefined=0.0)
    square = beta * beta
    whole = square * precision + recall
    return ratio((1 + square) * precision * recall, whole, undefined=0.0)


def _groups(
    predictions: Sequence[str], references: Sequence[str | Sequence[str]]
) -> list[list[str]]:
    """Return the references of each pair, having checked every text."""
    for name, column in (("predictions", predictions), ("references", references)):
        if isinstance(column, str):
            raise DataError(f"{name}: one text, where a list of texts is needed; write [text].")
    if len(predictions) != len(references):
        raise DataError(
            f"{len(predictions)} predictions but {len(references)} references; give one "
            "reference, or one list of them, for each prediction."
        )
    groups: list[list[str]] = []
    for i, (prediction, item) in enumerate(zip(predictions, references, strict=True)):
        group: list[Any] = [item]
        if isinstance(item, Sequence) and not isinstance(item, str | bytes):
            group = list(item)
        if not group:
            raise DataError(f"pair {i}: no references; ROUGE needs at least one.")
        for name, text in (("prediction", prediction), *(("reference", text) for text in group)):
            if not isinstance(text, str):
                raise DataError(f"pair {i}: the {name} is {type(text).__name__}, not text.")
        groups.append(group)
    return groups


def _overlap(name: str, pairs: Sequence[tuple[Text, Text]], beta: float) -> Overlap:
    """Return one type for every pair of a prediction and one reference."""
    kind = kind_of(name)
    assert kind is not None, "types are checked before"
    counts = [count(kind, prediction, reference) for prediction, reference in pairs]
    hits, predicted, expected = np.array(counts, dtype=np.float64).reshape(-1, 3).T
    precision, recall = hits / predicted, hits / expected
    if kind.family == "W":
        precision, recall = precision ** (1 / kind.weight), recall ** (1 / kind.weight)
    return Overlap(precision, recall, f_measure(precision, recall, beta))


def _best(overlap: Overlap, sizes: Sequence[int]) -> Overlap:
    """Keep, of each run of `sizes[i]` pairs, the first with the highest F."""
    if all(size == 1 for size in sizes):
        return overlap
    starts = np.cumsum([0, *sizes])
    chosen = [start + int(np.argmax(overlap.f[start:stop])) for start, stop in pairwise(starts)]
    return Overlap(*(values[chosen] for values in overlap))
