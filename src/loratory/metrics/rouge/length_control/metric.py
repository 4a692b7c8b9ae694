"""Length-controlled ROUGE as a metric: means over a test set, and their quotient."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar

from loratory.errors import ConfigError, DataError, LoratoryError
from loratory.metrics.base import Array, metric
from loratory.metrics.ratio import counted, ratio
from loratory.metrics.rouge.length_control.score import (
    TYPES,
    Part,
    rouge_length_controlled,
    setting_problems,
)
from loratory.metrics.rouge.rouge2.textfile import fingerprint, read_text
from loratory.metrics.rouge.tokenize import Tokens
from loratory.records import Prediction
from loratory.registry import signature

__all__ = ["RougeLengthControlled"]


@metric("rouge_length_controlled")
@dataclass(frozen=True)
class RougeLengthControlled:
    """ROUGE corrected for what random words of the same length score (after Sun et al. 2019).

    For each type, `-raw` is the mean score, `-random` the mean score of random outputs as long
    as the answers, and `-controlled` is (raw - random) / (1 - random) of these means: 0 for
    chance, 1 for a perfect score. As the quotient is of means, a row whose source is nearly
    its own summary cannot outweigh the others.
    """

    name: ClassVar[str]
    needs: ClassVar[frozenset[str]] = frozenset({"references"})
    lower_is_better: ClassVar[frozenset[str]] = frozenset()
    descriptive: ClassVar[frozenset[str]] = frozenset(f"{name}-random" for name in TYPES)
    undefined: ClassVar[Mapping[str, str]] = dict.fromkeys(
        (f"{name}-controlled" for name in TYPES), "random words of this length score 1 as well"
    )

    types: tuple[str, ...] = field(default=TYPES, metadata={"selects": True})
    """Which to compute; every type that the metric `rouge` has."""
    stem: bool = True
    """Whether words longer than three characters are reduced to their Porter stem."""
    pool: str = "source"
    """Where random words come from: `source` (the row's own, without replacement), or a text
    file (by frequency), such as one of the training set's references."""
    draws: int = 20
    """Random outputs a row; with one reference, rouge1 needs none."""
    seed: int = 0
    """Of the draws."""
    tokens: Tokens = "rouge_score"
    """What counts as a word: runs of a-z and 0-9, Unicode `words`, or single `characters`."""
    part: Part = "f"
    """Which of f, precision and recall is controlled."""
    beta: float = 1.0
    """How many times recall weighs as much as precision in F."""

    def __post_init__(self) -> None:
        # The names depend on the types, which the class does not know.
        object.__setattr__(self, "descriptive", frozenset(f"{t}-random" for t in self.types))

    @property
    def signature(self) -> str:
        pool = self.pool
        if pool != "source":
            pool = fingerprint(read_text(Path(pool), "pool"))
        name, *parts = signature(replace(self, pool=pool)).split("|")
        return "|".join([name, "ref:rouge_score+sun2019", *parts])

    def problems(self) -> list[str]:
        """Return what is wrong with these values, one `field: sentence` each."""
        problems = setting_problems(
            self.types, self.tokens, self.beta, self.part, self.draws, self.seed
        )
        if not problems and self.pool != "source":
            try:
                self.statistics([Prediction("", "a", ("a",))])
            except ConfigError as error:
                problems += error.problems
            except LoratoryError as error:
                problems.append(str(error))
        return problems

    def statistics(self, predictions: list[Prediction]) -> Array:
        """Return rows of 1, and of raw and random score of each type, shape (n, 1 + 2 types)."""
        for prediction in predictions:
            if self.pool == "source" and not prediction.source:
                raise DataError(
                    f"row '{prediction.id}': no source, which the metric '{self.name}' draws "
                    "random words from. Fill it in, or name a file of texts as its pool."
                )
        scores = rouge_length_controlled(
            [prediction.text for prediction in predictions],
            [prediction.references for prediction in predictions],
            [prediction.source for prediction in predictions],
            self.types,
            self.stem,
            pool=self.pool,
            part=self.part,
            draws=self.draws,
            seed=self.seed,
            tokens=self.tokens,
            beta=self.beta,
        )
        return counted([value for name in self.types for value in scores[name][:2]])

    def reduce(self, totals: Array) -> dict[str, Array]:
        """Return the mean raw and random scores, and the controlled one; 0 to 1, or below."""
        n = totals[..., 0]
        values = {}
        for i, name in enumerate(self.types):
            raw, random = (ratio(totals[..., 1 + 2 * i + j], n) for j in (0, 1))
            values[f"{name}-controlled"] = ratio(raw - random, 1 - random)
            values[f"{name}-raw"] = raw
            values[f"{name}-random"] = random
        return values
