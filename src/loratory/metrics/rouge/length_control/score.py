"""ROUGE against what random outputs of the same length score.

A longer output meets more of a reference by luck. Sun, Shapira, Dagan and Nenkova 2019, "How
to Compare Summarizers without Target Length? Pitfalls, Solutions and Re-Examination of the
Neural Summarization Literature" (W19-2303), therefore divide the F of a system by that of a
random system with the same average length. Here each output meets random ones of its own
length, and the score is corrected for chance as Cohen 1960, "A Coefficient of Agreement for
Nominal Scales", corrects agreement:

    controlled = (raw - random) / (1 - random)

This is 0 for random words, 1 for a perfect score, and negative below chance.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import numpy as np

from loratory.errors import ConfigError, DataError, suggest
from loratory.metrics.array import Array
from loratory.metrics.ratio import ratio
from loratory.metrics.rouge.length_control.chance import Bag, RandomOutput, random_outputs
from loratory.metrics.rouge.rouge2.textfile import read_text
from loratory.metrics.rouge.score import Overlap, f_measure, rouge
from loratory.metrics.rouge.score import setting_problems as plain_problems
from loratory.metrics.rouge.tokenize import CUTS, Tokens, Vocabulary, lines_of

__all__ = ["TYPES", "LengthControlled", "Part", "rouge_length_controlled", "setting_problems"]

Part = Literal["f", "precision", "recall"]
TYPES = ("rouge1", "rouge2", "rougeL")

_Score = Callable[[Sequence[str], Sequence[Sequence[str]], Sequence[str]], Mapping[str, Overlap]]


class LengthControlled(NamedTuple):
    """One ROUGE type over n pairs; each array has shape (n,)."""

    raw: Array
    """The score, 0 to 1."""
    random: Array
    """What random outputs of the same length score on average, 0 to 1."""
    controlled: Array
    """(raw - random) / (1 - random), at most 1; NaN where random is 1."""


class _Row(NamedTuple):
    """A pair whose prediction has words."""

    place: int
    """Of the pair in its column."""
    references: Sequence[str]
    output: RandomOutput


def rouge_length_controlled(
    predictions: Sequence[str],
    references: Sequence[str | Sequence[str]],
    sources: Sequence[str] | None = None,
    types: Sequence[str] = TYPES,
    stem: bool = True,
    *,
    pool: str | Path | Sequence[str] = "source",
    part: Part = "f",
    draws: int = 20,
    seed: int = 0,
    tokens: Tokens = "rouge_score",
    beta: float = 1.0,
) -> dict[str, LengthControlled]:
    """Return each pair's score, the mean score of random outputs as long, and both in one.

    A random output has as many words on each line as the prediction has. From the pool
    `source`, they are drawn without replacement from the row's own source: an output as long
    as that is a permutation of it, and a longer one holds it as often as it fits, and a draw
    for the rest. From texts, they are drawn with replacement, by frequency. What a row gives
    depends on no other row, and its draws on the seed, its source and its references alone; so
    rows can be scored in any order and in parts, and two systems meet the same luck.

    With one reference, the mean of rouge1 is exact: every part of it is proportional to the
    hits, whose mean has a closed form. Any other is estimated from `draws` outputs a row.
    A prediction without words scores 0, and so does chance.

    Args:
        predictions: n texts.
        references: n texts, or n non-empty lists of texts, of which the best counts, for
            random outputs too.
        sources: n texts; needed for the pool `source` alone.
        types: as for `rouge`.
        stem: as for `rouge`.
        pool: `source`, the path of a text file, or texts.
        part: which of f, precision and recall is controlled.
        draws: random outputs a row, 1 or more. Their luck averages out over rows.
        seed: of the draws, 0 or more.
        tokens: as for `rouge`.
        beta: as for `rouge`.

    Raises:
        ConfigError: a setting that does not exist.
        DataError: columns that do not fit, something that is not text, or no words to draw
            from; the sentence names the pair.
    """
    if problems := setting_problems(types, tokens, beta, part, draws, seed):
        raise ConfigError(problems)
    score: _Score = partial(rouge, stem=stem, tokens=tokens, beta=beta)
    groups = [[item] if isinstance(item, str) else item for item in references]
    overlaps = score(predictions, groups, types)
    vocabulary = Vocabulary(stem, CUTS[tokens])
    rows = _rows(predictions, groups, sources, pool, seed, vocabulary, tokens)

    random = {name: np.zeros(len(groups)) for name in types}
    single = [row for row in rows if len(row.references) == 1]
    several = [row for row in rows if len(row.references) > 1]
    if "rouge1" in types:
        for row in single:
            words = list(map(vocabulary.number, CUTS[tokens](row.references[0])))
            random["rouge1"][row.place] = _mean_rouge1(row.output, words, part, beta)
    _estimate(random, single, [name for name in types if name != "rouge1"], part, draws, score)
    _estimate(random, several, types, part, draws, score)
    return {name: _controlled(getattr(overlaps[name], part), random[name]) for name in types}


def setting_problems(
    types: Sequence[str], tokens: str, beta: float, part: str, draws: int, seed: int
) -> list[str]:
    """Return what is wrong with these settings, one `field: sentence` each."""
    problems = plain_problems(types, tokens, "newline", beta)
    if part not in get_args(Part):
        problems.append(f"part: unknown '{part}'. {suggest(str(part), get_args(Part))}")
    for field, value, least in (("draws", draws, 1), ("seed", seed, 0)):
        if not isinstance(value, int) or value < least:
            problems.append(f"{field}: {value} is not a whole number from {least}.")
    return problems


def _shared_bag(pool: str | Path | Sequence[str], vocabulary: Vocabulary, tokens: Tokens) -> Bag:
    """Return the words of a file, or of texts, to be drawn with replacement.

    Raises:
        ConfigError: a name that is neither `source` nor a file.
        DataError: a file that cannot be read, something that is not text, or no words.
    """
    if isinstance(pool, str) and not os.path.exists(pool):
        raise ConfigError(f"pool: '{pool}' is neither 'source' nor a file of texts.")
    texts = [read_text(Path(pool), "pool")] if isinstance(pool, str | Path) else pool
    for i, text in enumerate(texts):
        if not isinstance(text, str):
            raise DataError(f"pool: text {i} is {type(text).__name__}, not text.")
    words = [word for text in texts for word in CUTS[tokens](text)]
    if not words:
        raise DataError(f"pool: no words to draw from, as tokens: {tokens} cuts them.")
    return Bag(words, vocabulary.number, replacement=True)


def _rows(
    predictions: Sequence[str],
    groups: Sequence[Sequence[str]],
    sources: Sequence[str] | None,
    pool: str | Path | Sequence[str],
    seed: int,
    vocabulary: Vocabulary,
    tokens: Tokens,
) -> list[_Row]:
    """Return the pairs whose prediction has words, each with what it is held against."""
    by_source = isinstance(pool, str) and pool == "source"
    own = _checked(sources, len(groups)) if by_source else [""] * len(groups)
    shared = None if by_source else _shared_bag(pool, vocabulary, tokens)
    rows = []
    for i, (text, group) in enumerate(zip(predictions, groups, strict=True)):
        lines = [len(CUTS[tokens](line)) for line in lines_of(text)]
        if not any(lines):
            continue
        bag = shared
        if bag is None:
            words = CUTS[tokens](own[i])
            if not words:
                raise DataError(
                    f"pair {i}: the source has no words to draw from, as tokens: {tokens} cuts "
                    "them. Fill it in, choose other tokens, or give a pool of texts."
                )
            bag = Bag(words, vocabulary.number, replacement=False)
        rows.append(_Row(i, group, RandomOutput(lines, bag, _seed(seed, own[i], group))))
    return rows


def _checked(sources: Sequence[str] | None, size: int) -> Sequence[str]:
    if sources is None or isinstance(sources, str):
        given = "none are" if sources is None else "one text is"
        raise DataError(
            f"sources: {given} given, and pool: source needs a list with one text a pair; "
            "or give a pool of texts."
        )
    if len(sources) != size:
        raise DataError(f"{len(sources)} sources for {size} predictions; give one each.")
    for i, source in enumerate(sources):
        if not isinstance(source, str):
            raise DataError(f"pair {i}: the source is {type(source).__name__}, not text.")
    return sources


def _seed(seed: int, source: str, references: Sequence[str]) -> int:
    """Return a seed that is this row's wherever it stands, and whatever the prediction."""
    content = "\0".join([str(seed), source, *references])
    return int.from_bytes(hashlib.sha256(content.encode("utf-8", "surrogatepass")).digest())


def _mean_rouge1(output: RandomOutput, reference: Sequence[int], part: Part, beta: float) -> float:
    """Return the mean of one part of rouge1, which is what the mean of the hits gives."""
    length = sum(output.lines)
    hits = output.bag.expected_hits(length, Counter(reference))
    precision, recall = np.array(hits / length), np.array(hits / max(len(reference), 1))
    values = Overlap(precision, recall, f_measure(precision, recall, beta))
    return float(getattr(values, part))


def _estimate(
    random: Mapping[str, Array],
    rows: Sequence[_Row],
    types: Sequence[str],
    part: Part,
    draws: int,
    score: _Score,
) -> None:
    """Write the mean scores of random outputs into `random`."""
    if not (rows and types):
        return
    for run, texts in random_outputs([row.output for row in rows], draws):
        here = [rows[i] for i in run]
        found = score(texts, [row.references for row in here for _ in range(draws)], types)
        for name in types:
            values: Array = getattr(found[name], part)
            random[name][[row.place for row in here]] = values.reshape(-1, draws).mean(axis=1)


def _controlled(raw: Array, random: Array) -> LengthControlled:
    return LengthControlled(raw, random, ratio(raw - random, 1 - random))
