"""Hits and units of many pairs: what precision and recall are made of."""

from __future__ import annotations

from collections.abc import Sequence, Set
from itertools import chain

import numpy as np

from loratory.metrics.array import Array
from loratory.metrics.rouge.batch import engine
from loratory.metrics.rouge.batch.column import Column
from loratory.metrics.rouge.batch.lanes import summary_hits
from loratory.metrics.rouge.batch.pairs import Pairs
from loratory.metrics.rouge.kind import Kind
from loratory.metrics.rouge.pair import hits, units
from loratory.metrics.rouge.tokenize import Text

__all__ = ["counts"]

# Integers of a table for one pair, in compiled loops: 64 MiB. Beyond, lanes share the memory out.
_HUGE = 1 << 23


def counts(kinds: Sequence[Kind], predictions: Column, references: Column) -> list[Array]:
    """Return hits, units of the prediction and units of the reference by kind, shape (3, n).

    Units are at least 1. Those of W, and its hits, are still to be put through 1/weight.

    Args:
        kinds: what to count.
        predictions: n texts.
        references: n texts, numbered by the same reader.
    """
    sizes = np.concatenate([np.diff(side.word_offsets) for side in (predictions, references)])
    # Texts of one length have one number of units.
    known, places = np.unique(sizes, return_inverse=True)
    found = []
    for kind, shared in zip(kinds, _hits(kinds, predictions, references), strict=True):
        table = np.array([units(kind, size) for size in known.tolist()], dtype=np.float64)
        found.append(np.stack([shared, *table[places].reshape(2, -1)]))
    return found


def _hits(kinds: Sequence[Kind], predictions: Column, references: Column) -> list[Array]:
    """Return shared units by kind, shape (n,) each."""
    orders = max((kind.n for kind in kinds if kind.family == "N"), default=1)
    families = {kind.family for kind in kinds}
    ngrams, lcs, summary = _common(orders, families, predictions, references)
    texts = None
    found = []
    for kind in kinds:
        match kind.family:
            case "N":
                found.append(ngrams[kind.n - 1])
            case "L":
                found.append(lcs)
            case "Lsum":
                found.append(summary)
            case _:
                texts = texts or list(zip(_texts(predictions), _texts(references), strict=True))
                found.append(np.array([float(hits(kind, *pair)) for pair in texts]))
    return found


def _common(
    orders: int, families: Set[str], predictions: Column, references: Column
) -> tuple[Sequence[Array], Array, Array]:
    """Return shared n-grams for n up to `orders`, LCS, and summary-level LCS, if asked for."""
    if kernel := engine.kernel():
        sides = zip(predictions, references, strict=True)
        flags = "L" in families, "Lsum" in families
        found: Array = kernel.pair_hits(*sides, orders, *flags, _HUGE)
        large = np.flatnonzero((found < 0).any(axis=0))
        if len(large):
            pairs = Pairs(predictions.take(large), references.take(large))
            if (found[orders] < 0).any():
                found[orders, large] = pairs.lcs_lengths
            if (found[orders + 1] < 0).any():
                found[orders + 1, large] = summary_hits(pairs)
        return list(found[:orders]), found[orders], found[orders + 1]
    pairs = Pairs(predictions, references)
    nothing = np.zeros(0)
    return (
        pairs.hits(orders) if "N" in families else [],
        pairs.lcs_lengths if "L" in families else nothing,
        summary_hits(pairs) if "Lsum" in families else nothing,
    )


def _texts(column: Column) -> list[Text]:
    return [Text(lines, list(chain.from_iterable(lines))) for lines in column.lists()]
