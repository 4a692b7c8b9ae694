"""ROUGE as a metric: the mean F, precision or recall over a test set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, get_args

from loratory.errors import suggest
from loratory.metrics.base import Array, metric
from loratory.metrics.ratio import counted, means
from loratory.metrics.rouge.kind import TYPES, is_extension
from loratory.metrics.rouge.score import rouge, setting_problems
from loratory.metrics.rouge.tokenize import Split, Tokens
from loratory.records import Prediction
from loratory.registry import signature

__all__ = ["Rouge"]

Part = Literal["f", "precision", "recall"]


def _departure() -> dict[str, Any]:
    """Return the metadata of a field whose default `ref:rouge_score` implies.

    Such a field stands in the signature only with another value, so that a signature names a
    reference and then what departs from it.
    """
    return {"sig": None, "departure": True}


@metric("rouge")
@dataclass(frozen=True)
class Rouge:
    """Overlap of words and word sequences with the references (Lin 2004)."""

    name: ClassVar[str]
    needs: ClassVar[frozenset[str]] = frozenset({"references"})
    lower_is_better: ClassVar[frozenset[str]] = frozenset()
    descriptive: ClassVar[frozenset[str]] = frozenset()
    undefined: ClassVar[Mapping[str, str]] = {}

    types: tuple[str, ...] = field(default=TYPES, metadata={"selects": True})
    """Which to compute: `rouge1` to `rouge9` (n-grams), `rougeL` (longest common subsequence
    of the whole texts), `rougeLsum` (of their lines); and, as extensions, `rougeW-1.2` (runs
    weighted), `rougeS4` and `rougeSU4` (skip-bigrams, with words) with any weight or gap, `*`
    for no limit."""
    stem: bool = True
    """Whether words longer than three characters are reduced to their Porter stem."""
    split: Split = "newline"
    """What `rougeLsum` compares: lines, or the sentences within them, found by rule."""
    tokens: Tokens = field(default="rouge_score", metadata=_departure())
    """What counts as a word: runs of a-z and 0-9, Unicode `words`, or single `characters`;
    the last two know every script."""
    part: Part = field(default="f", metadata=_departure())
    """Which of the three is reported."""
    beta: float = field(default=1.0, metadata=_departure())
    """How many times recall weighs as much as precision in F."""

    @property
    def signature(self) -> str:
        return self._signature(self.types)

    def value_signature(self, value: str) -> str:
        """Return the signature of one type, which does not depend on the others computed."""
        parts = self._signature((value,)).split("|")
        return "|".join([value, *(part for part in parts[1:] if not part.startswith("types:"))])

    def _signature(self, types: Sequence[str]) -> str:
        name, *settings, version = signature(self).split("|")
        reference = "ref:rouge_score" + ("+lin2004" if any(map(is_extension, types)) else "")
        departures = [
            f"{key}:{value}"
            for key, field in self.__dataclass_fields__.items()
            if field.metadata.get("departure") and (value := getattr(self, key)) != field.default
        ]
        return "|".join([name, reference, *settings, *departures, version])

    def problems(self) -> list[str]:
        """Return what is wrong with these values, one `field: sentence` each."""
        problems = setting_problems(self.types, self.tokens, self.split, self.beta)
        if self.part not in get_args(Part):
            hint = suggest(str(self.part), get_args(Part))
            problems.append(f"part: unknown '{self.part}'. {hint}")
        return problems

    def statistics(self, predictions: list[Prediction]) -> Array:
        """Return rows of 1 and the chosen part of each type, shape (n, 1 + types)."""
        overlaps = rouge(
            [prediction.text for prediction in predictions],
            [prediction.references for prediction in predictions],
            self.types,
            self.stem,
            tokens=self.tokens,
            split=self.split,
            beta=self.beta,
        )
        return counted([getattr(overlaps[kind], self.part) for kind in self.types])

    def reduce(self, totals: Array) -> dict[str, Array]:
        """Return the mean of each type over the rows, 0 to 1."""
        return means(totals, self.types)
