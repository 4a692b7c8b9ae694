"""TER: edits that turn an answer into a reference, for each word of the reference.

Snover et al. 2006, "A Study of Translation Edit Rate with Targeted Human Annotation":
insertions, deletions, substitutions and shifts of word sequences count one each. As sacrebleu
computes it: the value is the very double of its `corpus_score`, divided by 100.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from loratory.errors import DataError
from loratory.metrics.base import Array, metric
from loratory.metrics.ratio import ratio
from loratory.metrics.sacrebleu import count_rows, sacrebleu_signature
from loratory.records import Prediction

__all__ = ["Ter"]

# sacrebleu tries up to 1,000 shifts, each at a cost that grows with both lengths: 800 words
# against 800 in another order take 13 s on one core of the machine this was written on.
_MOST_WORDS = 2000


@metric("ter")
@dataclass(frozen=True)
class Ter:
    """Corpus TER (Snover et al. 2006) as sacrebleu computes it; lower is better, 0 is equal.

    Edits of all rows are divided by the reference words of all rows, so it is not a mean over
    rows, and exceeds 1 where more is edited than the references have words. With several
    references, the fewest edits count, over the references' mean length. It is undefined where
    the references have no word.
    """

    name: ClassVar[str]
    needs: ClassVar[frozenset[str]] = frozenset({"references"})
    lower_is_better: ClassVar[frozenset[str]] = frozenset({"ter"})
    descriptive: ClassVar[frozenset[str]] = frozenset()
    undefined: ClassVar[Mapping[str, str]] = {"ter": "the references have no word"}

    normalized: bool = False
    """Whether punctuation is cut off words, lines are joined and XML entities resolved."""
    no_punct: bool = False
    """Whether punctuation is removed."""
    asian_support: bool = False
    """Whether `normalized` cuts Chinese and Japanese into characters, and `no_punct` removes
    their punctuation."""
    case_sensitive: bool = False
    """Whether capital and small letters differ."""

    @property
    def signature(self) -> str:
        return sacrebleu_signature(self)

    def problems(self) -> list[str]:
        """Return what is wrong with these values, one `field: sentence` each."""
        if self.asian_support and not (self.normalized or self.no_punct):
            return [
                "asian_support: without normalized or no_punct it does nothing; set one of them, "
                "or leave it out."
            ]
        return []

    def statistics(self, predictions: list[Prediction]) -> Array:
        """Return rows of edits and of words of the references, their mean; shape (n, 2).

        Raises:
            DataError: a row without references, with something that is not text, or with a
                text of more than 2,000 words, which would take minutes to search for shifts.
        """
        counter = self._counter()

        def count(text: str, references: Sequence[str]) -> tuple[float, float]:
            for each in (text, *references):
                # What is cut here is remembered, and not cut again below.
                words = len(counter.tokenizer(each.rstrip()).split())
                if words > _MOST_WORDS:
                    raise DataError(
                        f"a text has {words:,} words; ter takes at most {_MOST_WORDS:,}, because "
                        "its search for shifts would take minutes. Leave the metric or the row out."
                    )
            found = counter.sentence_score(text, references)
            return found.num_edits, found.ref_length

        return count_rows(predictions, count, 2)

    def reduce(self, totals: Array) -> dict[str, Array]:
        """Return `ter`, edits a word of the references, from 0; NaN where they have none."""
        rate = ratio(totals[..., 0], totals[..., 1])
        return {"ter": np.asarray(100 * rate / 100)}

    def _counter(self) -> Any:
        from sacrebleu.metrics.ter import TER

        return TER(
            normalized=self.normalized,
            no_punct=self.no_punct,
            asian_support=self.asian_support,
            case_sensitive=self.case_sensitive,
        )
