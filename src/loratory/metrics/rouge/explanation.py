"""Why a pair scores what it scores: the words that matched, and where they stand.

For n-grams the first occurrences match, as many as both texts have. For subsequences these
are the words that the score counts, of one longest subsequence where there are several.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from loratory.errors import ConfigError
from loratory.metrics.rouge.kind import is_extension, kind_of
from loratory.metrics.rouge.lcs import lcs_mask
from loratory.metrics.rouge.score import f_measure, setting_problems
from loratory.metrics.rouge.tokenize import (
    CUTS,
    Split,
    Tokens,
    Vocabulary,
    line_spans,
    token_spans,
)

__all__ = ["Explanation", "Span", "explain"]

H = TypeVar("H", bound=Hashable)

Span = tuple[int, int]
"""Where something begins and ends in a text, in characters; `text[start:stop]` is it."""


@dataclass(frozen=True)
class Explanation:
    """One ROUGE type of one pair, with what matched. `hits / units` are the two shares."""

    type: str
    precision: float
    recall: float
    f: float
    hits: int
    """Matching units: n-grams, or words of the subsequence."""
    prediction_units: int
    reference_units: int
    prediction_matches: tuple[Span, ...]
    """One a hit: the n-gram, or the word; `hits` of them."""
    reference_matches: tuple[Span, ...]
    prediction_spans: tuple[Span, ...]
    """What to highlight: runs of matching words, in order, none touching another."""
    reference_spans: tuple[Span, ...]


@dataclass(frozen=True)
class _Side:
    """One text: its words' numbers and places, line after line."""

    lines: list[list[int]]
    ids: list[int]
    places: list[Span]


def explain(
    prediction: str,
    reference: str,
    type: str = "rougeLsum",
    *,
    stem: bool = True,
    tokens: Tokens = "rouge_score",
    split: Split = "newline",
    beta: float = 1.0,
) -> Explanation:
    """Return which words of a pair match under a ROUGE type, and the score they make.

    Args:
        prediction: a text.
        reference: one reference.
        type: `rouge1` to `rouge9`, `rougeL` or `rougeLsum`.
        stem: as for `rouge`, and so are the rest.
        tokens: the profile.
        split: what rougeLsum compares.
        beta: of F.

    Raises:
        ConfigError: a setting that does not exist, or a type whose units are no spans.
    """
    problems = setting_problems([type], tokens, split, beta)
    if is_extension(type):
        problems.append(f"types: '{type}' has no spans to show. Take rouge1 to 9, L or Lsum.")
    if problems:
        raise ConfigError(problems)
    kind = kind_of(type)
    assert kind is not None
    vocabulary = Vocabulary(stem, CUTS[tokens])
    sides = [_side(vocabulary, text, tokens, split) for text in (prediction, reference)]
    if kind.family == "N":
        found = _ngram_matches(sides[0].ids, sides[1].ids, kind.n)
    elif kind.family == "L":
        found = _lcs_matches([sides[0].ids], [sides[1].ids])
    else:
        found = _lcs_matches(sides[0].lines, sides[1].lines)
    hits = len(found[0])
    units = [max(len(side.ids) - kind.n + 1, 0) for side in sides]
    precision, recall = (hits / max(number, 1) for number in units)
    matches = [
        tuple((side.places[i][0], side.places[i + kind.n - 1][1]) for i in starts)
        for side, starts in zip(sides, found, strict=True)
    ]
    spans = [
        _merged(side.places, starts, kind.n) for side, starts in zip(sides, found, strict=True)
    ]
    return Explanation(
        type=type,
        precision=precision,
        recall=recall,
        f=float(f_measure(np.array(precision), np.array(recall), beta)),
        hits=hits,
        prediction_units=units[0],
        reference_units=units[1],
        prediction_matches=matches[0],
        reference_matches=matches[1],
        prediction_spans=spans[0],
        reference_spans=spans[1],
    )


def _side(vocabulary: Vocabulary, text: str, tokens: Tokens, split: Split) -> _Side:
    lines: list[list[int]] = []
    places: list[Span] = []
    for start, stop in line_spans(text, split):
        found = token_spans(text[start:stop], tokens)
        lines.append([vocabulary.number(word) for word, _, _ in found])
        places.extend((start + first, start + last) for _, first, last in found)
    return _Side(lines, [word for line in lines for word in line], places)


def _ngram_matches(left: Sequence[int], right: Sequence[int], n: int) -> tuple[list[int], ...]:
    """Return where the shared n-grams begin on each side, in order."""
    both = [[tuple(ids[i : i + n]) for i in range(len(ids) - n + 1)] for ids in (left, right)]
    shared = Counter(both[0]) & Counter(both[1])
    return tuple(_first(range(len(grams)), grams, shared) for grams in both)


def _lcs_matches(
    prediction: Sequence[Sequence[int]], reference: Sequence[Sequence[int]]
) -> tuple[list[int], list[int]]:
    """Return the positions of the words that summary-level LCS counts, on each side.

    A reference word counts where the union covers it, while the prediction has such words
    left. On the prediction's side those in a subsequence come first; where one of them covers
    several reference words, further occurrences stand for the rest.
    """
    predicted = [word for line in prediction for word in line]
    expected = [word for line in reference for word in line]
    covered: set[int] = set()
    used: set[int] = set()
    offset = 0
    for line in reference:
        places: dict[int, int] = {}
        for position, word in enumerate(line):
            places[word] = places.get(word, 0) | 1 << position
        start = 0
        for candidate in prediction:
            mask = lcs_mask(places, len(line), candidate)
            chosen = [i for i in range(len(line)) if mask >> i & 1]
            covered.update(offset + i for i in chosen)
            used.update(start + i for i in _embed([line[i] for i in chosen], candidate))
            start += len(candidate)
        offset += len(line)
    counts = Counter(expected[i] for i in covered) & Counter(predicted)
    order = [*sorted(used), *(i for i in range(len(predicted)) if i not in used)]
    left = sorted(_first(order, predicted, counts))
    return left, _first(sorted(covered), expected, counts)


def _embed(chosen: Sequence[int], candidate: Sequence[int]) -> list[int]:
    """Return the first positions at which a subsequence stands in a list."""
    found: list[int] = []
    position = 0
    for word in chosen:
        position = candidate.index(word, position) + 1
        found.append(position - 1)
    return found


def _first(positions: Iterable[int], units: Sequence[H], limits: Counter[H]) -> list[int]:
    """Return, of the positions in their order, as many of each unit as its limit says."""
    seen: Counter[H] = Counter()
    kept = []
    for position in positions:
        unit = units[position]
        if seen[unit] < limits[unit]:
            seen[unit] += 1
            kept.append(position)
    return kept


def _merged(places: Sequence[Span], starts: Iterable[int], n: int) -> tuple[Span, ...]:
    """Return the places of runs of words, each from the first letter to the last."""
    words = sorted({start + i for start in starts for i in range(n)})
    spans: list[Span] = []
    last = -2
    for word in words:
        begin, end = places[word]
        if word == last + 1 or (spans and begin <= spans[-1][1]):
            begin, end = spans[-1][0], max(spans.pop()[1], end)
        spans.append((begin, end))
        last = word
    return tuple(spans)
