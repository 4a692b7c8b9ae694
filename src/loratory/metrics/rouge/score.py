"""ROUGE of pairs of texts: n-grams, subsequences and skip-bigrams.

Lin 2004, "ROUGE: A Package for Automatic Evaluation of Summaries", as the Python package
rouge_score 0.1.2 computes it: every number of `rouge1` to `rouge9`, `rougeL` and `rougeLsum`
is its very double. ROUGE-W, S and SU, which it lacks, follow the paper on the same words.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import chain, pairwise
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np

from loratory.errors import ConfigError, DataError
from loratory.metrics.array import Array
from loratory.metrics.ratio import ratio
from loratory.metrics.rouge.batch.column import Indices, Reader, running
from loratory.metrics.rouge.batch.count import counts
from loratory.metrics.rouge.kind import TYPES, Kind, kind_of, type_problems
from loratory.metrics.rouge.tokenize import Split, Tokens, text_problems

if TYPE_CHECKING:
    from loratory.metrics.rouge.metric import Part
    from loratory.records import Score

__all__ = ["Overlap", "Overlaps", "f_measure", "rouge", "setting_problems"]

# Characters of the texts that are scored at once; their numbers are to fit a core's cache.
_CHARACTERS = 800_000


class _Readers(threading.local):
    """One reader for each setting and thread: words met in one call are known in the next."""

    def __init__(self) -> None:
        self.of = lru_cache(maxsize=8)(Reader)


_readers = _Readers()


class Overlap(NamedTuple):
    """One ROUGE type over n pairs; each array has shape (n,), values 0 to 1."""

    precision: Array
    """Share of the prediction's units found in the reference."""
    recall: Array
    """Share of the reference's units found in the prediction."""
    f: Array
    """Harmonic mean of the two, weighted by beta; 0 when both are 0."""


class Overlaps(dict[str, Overlap]):
    """An `Overlap` by ROUGE type, and how it was computed."""

    def __init__(self, overlaps: Mapping[str, Overlap], n: int, settings: Mapping[str, Any]):
        super().__init__(overlaps)
        self.n = n
        """The number of pairs."""
        self.settings = dict(settings)
        """What the numbers depend on, by the names of the metric's fields."""

    def scores(
        self,
        part: Part = "f",
        *,
        resamples: int = 1000,
        confidence: float = 0.95,
        seed: int = 0,
    ) -> list[Score]:
        """Return the mean of each type with its interval, n and signature.

        Args:
            part: `f`, `precision` or `recall`.
            resamples: bootstrap draws behind each interval.
            confidence: of the intervals, above 0 and below 1.
            seed: of the draws.

        Raises:
            ConfigError: one of them is out of range.
            DataError: there are no pairs.
        """
        # Not needed to score a column, and slow to load.
        from loratory.metrics.ratio import counted
        from loratory.metrics.resample import bootstrap
        from loratory.metrics.rouge.metric import Rouge
        from loratory.records import Score

        metric = Rouge(types=tuple(self), part=part, **self.settings)
        if problems := metric.problems():
            raise ConfigError(problems)
        rows = counted([getattr(overlap, part) for overlap in self.values()])
        intervals = bootstrap(
            rows, metric.reduce, resamples=resamples, confidence=confidence, seed=seed
        )
        return [
            Score(
                metric=name,
                value=float(value),
                low=intervals[name].low,
                high=intervals[name].high,
                n=self.n,
                signature=metric.value_signature(name),
                confidence=confidence,
            )
            for name, value in metric.reduce(rows.sum(axis=0)).items()
        ]


def rouge(
    predictions: Sequence[str],
    references: Sequence[str | Sequence[str]],
    types: Sequence[str] = TYPES,
    stem: bool = True,
    *,
    tokens: Tokens = "rouge_score",
    split: Split = "newline",
    beta: float = 1.0,
) -> Overlaps:
    """Return precision, recall and F of every pair, by ROUGE type.

    `scores()` of the result gives the means, each with interval, n and signature.

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
    texts, sizes = _checked(predictions, references)
    kinds = [_kind(name) for name in types]
    reader = _readers.of(stem, tokens, split)
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    found = []
    for start, stop in _rounds(predictions, texts, offsets):
        group = texts[offsets[start] : offsets[stop]]
        found.append(
            _overlaps(kinds, reader, predictions[start:stop], group, sizes[start:stop], beta)
        )
    overlaps = {
        name: Overlap(*(np.concatenate(part) for part in zip(*column, strict=True)))
        for name, column in zip(types, zip(*found, strict=True), strict=True)
    }
    settings = {"stem": stem, "tokens": tokens, "split": split, "beta": beta}
    return Overlaps(overlaps, len(predictions), settings)


def setting_problems(types: Sequence[str], tokens: str, split: str, beta: float) -> list[str]:
    """Return what is wrong with settings of ROUGE, one `field: sentence` each."""
    problems = type_problems(types) + text_problems(tokens, split)
    if not (math.isfinite(beta) and beta >= 0):
        problems.append(f"beta: {beta} is not a weight; give 0 or more, 1 for plain F.")
    return problems


def f_measure(precision: Array, recall: Array, beta: float = 1.0) -> Array:
    """Return F = (1 + beta²) P R / (beta² P + R); 0 where both are 0."""
    if beta == 1:
        # This order of operations, because another one rounds differently from rouge_score.
        return ratio(2 * precision * recall, precision + recall, undefined=0.0)
    square = beta * beta
    whole = square * precision + recall
    return ratio((1 + square) * precision * recall, whole, undefined=0.0)


def _checked(
    predictions: Sequence[str], references: Sequence[str | Sequence[str]]
) -> tuple[Sequence[str], Indices]:
    """Return all references, one pair's after the other's, and how many each pair has."""
    for name, column in (("predictions", predictions), ("references", references)):
        if isinstance(column, str):
            raise DataError(f"{name}: one text, where a list of texts is needed; write [text].")
    if len(predictions) != len(references):
        raise DataError(
            f"{len(predictions)} predictions but {len(references)} references; give one "
            "reference, or one list of them, for each prediction."
        )
    if {*map(type, predictions), *map(type, references)} == {str}:
        return cast(Sequence[str], references), np.ones(len(predictions), dtype=np.int64)
    groups = []
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
    sizes = np.array([len(group) for group in groups], dtype=np.int64)
    return list(chain.from_iterable(groups)), sizes


def _kind(name: str) -> Kind:
    kind = kind_of(name)
    assert kind is not None, "types are checked before"
    return kind


def _rounds(
    predictions: Sequence[str], references: Sequence[str], offsets: Indices
) -> Iterator[tuple[int, int]]:
    """Yield from where to where to score at once, so that the numbers fit the cache."""
    read = running(_lengths(references))[offsets] + running(_lengths(predictions))
    start = 0
    while start < len(predictions) or not start:
        stop = int(np.searchsorted(read, read[start] + _CHARACTERS, side="right")) - 1
        stop = min(max(stop, start + 1), len(predictions))
        yield start, stop
        if stop == start:
            return
        start = stop


def _lengths(texts: Sequence[str]) -> Indices:
    return np.fromiter(map(len, texts), dtype=np.int64, count=len(texts))


def _overlaps(
    kinds: Sequence[Kind],
    reader: Reader,
    predictions: Sequence[str],
    references: Sequence[str],
    sizes: Indices,
    beta: float,
) -> list[Overlap]:
    """Return one overlap a kind, of the best reference of each prediction."""
    left, right = reader.read([*predictions, *references]).split(len(predictions))
    if len(predictions) != len(references):
        left = left.take(np.repeat(np.arange(len(sizes)), sizes))
    found = []
    for kind, (hits, predicted, expected) in zip(kinds, counts(kinds, left, right), strict=True):
        precision, recall = hits / predicted, hits / expected
        if kind.family == "W":
            precision, recall = precision ** (1 / kind.weight), recall ** (1 / kind.weight)
        found.append(_best(Overlap(precision, recall, f_measure(precision, recall, beta)), sizes))
    return found


def _best(overlap: Overlap, sizes: Indices) -> Overlap:
    """Keep, of each run of `sizes[i]` pairs, the first with the highest F."""
    if len(overlap.f) == len(sizes):
        return overlap
    starts = np.concatenate([[0], np.cumsum(sizes)]).tolist()
    chosen = [start + int(np.argmax(overlap.f[start:stop])) for start, stop in pairwise(starts)]
    return Overlap(*(values[chosen] for values in overlap))
