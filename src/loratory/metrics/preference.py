"""How often a model finds the stereotyped one of two sentences likelier.

Nangia et al. 2020, "CrowS-Pairs" (arXiv 2010.00133): 50% is neutral. Here a sentence's likelihood
is that of the whole of it, the sum of log p of its tokens, as a causal model gives it. CrowS-Pairs
was made for masked models and compares only the tokens that both sentences share, given those that
differ; so these shares are not comparable with published ones of masked models.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from loratory.errors import DataError
from loratory.metrics.array import Array
from loratory.metrics.ratio import ratio
from loratory.records import Judgement

__all__ = ["Preference"]


@dataclass(frozen=True)
class Preference:
    """Share of pairs whose first, stereotyped sentence is the likelier; equal ones count half.

    No direction is better, because both extremes are a preference; half is neutral.
    """

    name: ClassVar[str] = "stereotype_preferred"
    lower_is_better: ClassVar[frozenset[str]] = frozenset()
    undefined: ClassVar[Mapping[str, str]] = {}

    groups: tuple[str, ...] = ()
    """Kinds of pairs that get a value of their own."""

    @property
    def descriptive(self) -> frozenset[str]:
        return frozenset({self.name, *map(self._of, self.groups)})

    @property
    def signature(self) -> str:
        return f"{self.name}|likelihood:sentence|ties:half|v:1"

    def statistics(self, judgements: list[Judgement]) -> Array:
        """Return 1 and the preference, then both again for each group; shape (n, 2 + 2 groups).

        Raises:
            DataError: a judgement of other than two sentences.
        """
        rows = np.zeros((len(judgements), 2 + 2 * len(self.groups)))
        for i, judgement in enumerate(judgements):
            if len(judgement.loglikelihoods) != 2:
                raise DataError(
                    f"item '{judgement.id}': {len(judgement.loglikelihoods)} likelihoods; a pair "
                    "of sentences has two."
                )
            more, less = judgement.loglikelihoods
            pair = (1.0, 0.5 if more == less else float(more > less))
            rows[i, :2] = pair
            if judgement.group in self.groups:
                place = 2 + 2 * self.groups.index(judgement.group)
                rows[i, place : place + 2] = pair
        return rows

    def reduce(self, totals: Array) -> dict[str, Array]:
        """Return the share over all pairs, then that of each group, 0 to 1."""
        names = [self.name, *map(self._of, self.groups)]
        return {
            name: ratio(totals[..., 2 * i + 1], totals[..., 2 * i]) for i, name in enumerate(names)
        }

    def _of(self, group: str) -> str:
        return f"{self.name} ({group})"
