"""What likelihoods of texts are worth: perplexity, and whether the right option is the likeliest.

The definitions are those of EleutherAI's lm-evaluation-harness (`lm_eval/api/metrics.py` and
`lm_eval/api/task.py`): `acc` takes the option with the largest log-likelihood, `acc_norm` that
with the largest one divided by its characters; bits per byte are summed negative log-likelihoods
over summed UTF-8 bytes; LAMBADA's perplexity is of whole continuations. These metrics are of
`Judgement`s, not of predictions, so a recipe cannot name them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from loratory.errors import DataError
from loratory.metrics.array import Array
from loratory.metrics.ratio import ratio
from loratory.records import Judgement
from loratory.registry import signature

__all__ = ["ChoiceAccuracy", "ContinuationAccuracy", "Perplexity", "metric_of"]

LARGEST = 100.0
"""Nats whose exponential can still be squared; a model this lost is lost enough."""


def metric_of(
    judgements: Sequence[Judgement],
) -> Perplexity | ChoiceAccuracy | ContinuationAccuracy:
    """Return the metric for one probe's judgements, by what they hold.

    Raises:
        DataError: there are none, or they are of several kinds.
    """
    kinds = {(item.gold is not None, item.greedy is not None) for item in judgements}
    if not kinds:
        raise DataError("there are no judgements; a probe needs at least one item.")
    if len(kinds) > 1:
        raise DataError(
            "a probe's items are of several kinds: give texts, questions with options, and "
            "continuations a file each."
        )
    has_gold, asked = kinds.pop()
    if has_gold:
        return ChoiceAccuracy()
    return ContinuationAccuracy() if asked else Perplexity()


@dataclass(frozen=True)
class Perplexity:
    """How well plain texts are predicted: perplexity of a token, and bits per byte.

    Perplexities compare models with one tokenizer alone; bits per byte compare any.
    """

    name: ClassVar[str] = "perplexity"
    lower_is_better: ClassVar[frozenset[str]] = frozenset({"perplexity", "bits_per_byte"})
    descriptive: ClassVar[frozenset[str]] = frozenset()
    undefined: ClassVar[Mapping[str, str]] = {
        "perplexity": "the texts have no tokens",
        "bits_per_byte": "the texts have no bytes",
    }

    @property
    def signature(self) -> str:
        return signature(self)

    def statistics(self, rows: list[Judgement]) -> Array:
        """Return negative log-likelihood, tokens and bytes of each text; shape (n, 3)."""
        values = [(-row.loglikelihoods[0], row.tokens[0], row.characters[0]) for row in rows]
        return np.array(values, dtype=np.float64).reshape(-1, 3)

    def reduce(self, totals: Array) -> dict[str, Array]:
        """Return `perplexity` of a token, at least 1, and `bits_per_byte`, at least 0."""
        nats = totals[..., 0]
        return {
            "perplexity": _exp(ratio(nats, totals[..., 1])),
            "bits_per_byte": ratio(nats, totals[..., 2]) / np.log(2),
        }


@dataclass(frozen=True)
class ChoiceAccuracy:
    """Share of items whose right option is the likeliest, as it is and for its length.

    Of equal options the first counts, as numpy's argmax has it.
    """

    name: ClassVar[str] = "choice"
    lower_is_better: ClassVar[frozenset[str]] = frozenset()
    descriptive: ClassVar[frozenset[str]] = frozenset()
    undefined: ClassVar[Mapping[str, str]] = {}

    @property
    def signature(self) -> str:
        return signature(self)

    def statistics(self, rows: list[Judgement]) -> Array:
        """Return rows of 1, and 1 where the choice is right, raw and by length; shape (n, 3)."""
        found = []
        for row in rows:
            raw = np.array(row.loglikelihoods)
            by_length = raw / np.maximum(1, row.characters)
            found.append((1, raw.argmax() == row.gold, by_length.argmax() == row.gold))
        return np.array(found, dtype=np.float64).reshape(-1, 3)

    def reduce(self, totals: Array) -> dict[str, Array]:
        """Return `accuracy` and `accuracy_norm`, by log-likelihood a character; 0 to 1."""
        n = totals[..., 0]
        return {"accuracy": ratio(totals[..., 1], n), "accuracy_norm": ratio(totals[..., 2], n)}


@dataclass(frozen=True)
class ContinuationAccuracy:
    """Share of items whose continuation greedy decoding would give, and its perplexity.

    As for LAMBADA, the perplexity is of a whole continuation: exp of the mean negative
    log-likelihood of an item, not of a token.
    """

    name: ClassVar[str] = "continuation"
    lower_is_better: ClassVar[frozenset[str]] = frozenset({"perplexity"})
    descriptive: ClassVar[frozenset[str]] = frozenset()
    undefined: ClassVar[Mapping[str, str]] = {}

    @property
    def signature(self) -> str:
        return signature(self)

    def statistics(self, rows: list[Judgement]) -> Array:
        """Return rows of 1, 1 where greedy decoding is right, and nats lost; shape (n, 3)."""
        values = [(1, bool(row.greedy), -row.loglikelihoods[0]) for row in rows]
        return np.array(values, dtype=np.float64).reshape(-1, 3)

    def reduce(self, totals: Array) -> dict[str, Array]:
        """Return `accuracy`, 0 to 1, and `perplexity` of a continuation, at least 1."""
        n = totals[..., 0]
        return {
            "accuracy": ratio(totals[..., 1], n),
            "perplexity": _exp(ratio(totals[..., 2], n)),
        }


def _exp(nats: Array) -> Array:
    return np.exp(np.minimum(nats, LARGEST))
