"""What `bleu`, `chrf` and `ter` share: they are sacrebleu's, and are signed and checked alike.

Post 2018, "A Call for Clarity in Reporting BLEU Scores": a score that others can repeat comes
from one implementation with one tokenisation, both named. sacrebleu counts each row here;
only the arithmetic on the sums of its counts is our own, so that it runs on many sums at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Any

import numpy as np

from loratory.errors import DataError
from loratory.metrics.array import Array
from loratory.metrics.texts import check_texts
from loratory.records import Prediction
from loratory.registry import signature

__all__ = ["count_rows", "range_problems", "sacrebleu_signature"]

Count = Callable[[str, Sequence[str]], Sequence[float]]
"""Sufficient statistics of one text and its references."""

HIGHEST_ORDER = 20
"""Longest n-grams that are counted; memory grows with it, and usual orders are 4 and 6."""


def sacrebleu_signature(component: Any) -> str:
    """Return a component's signature with the version of sacrebleu: `ref:sacrebleu-2.6.0`."""
    name, *settings = signature(component).split("|")
    return "|".join([name, f"ref:sacrebleu-{version('sacrebleu')}", *settings])


def range_problems(field: str, value: object, low: int) -> list[str]:
    """Return what is wrong with a whole number that may go from `low` to `HIGHEST_ORDER`."""
    if isinstance(value, int) and not isinstance(value, bool) and low <= value <= HIGHEST_ORDER:
        return []
    return [f"{field}: got {value!r}; give a whole number from {low} to {HIGHEST_ORDER}."]


def count_rows(predictions: Sequence[Prediction], count: Count, width: int) -> Array:
    """Return what `count` gives for each prediction, shape (n, width).

    Raises:
        DataError: a row without references, with something that is not text, or with text
            that the tokenizer cannot read; the sentence names the row.
    """
    check_texts(predictions)
    rows = np.zeros((len(predictions), width))
    for row, prediction in zip(rows, predictions, strict=True):
        where = f"row '{prediction.id}'"
        try:
            row[:] = count(prediction.text, prediction.references)
        except UnicodeEncodeError as error:
            raise DataError(
                f"{where}: the character {error.object[error.start]!a} is half of a surrogate "
                "pair, which this tokenizer cannot read. Replace it, or take another tokenizer."
            ) from None
        except DataError as error:
            raise DataError(f"{where}: {error}") from None
    return rows
