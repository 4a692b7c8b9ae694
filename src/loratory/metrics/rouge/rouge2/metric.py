"""ROUGE 2.0 as a metric: the mean F, precision or recall over a test set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal, get_args

from loratory.errors import ConfigError, LoratoryError, suggest
from loratory.metrics.base import Array, metric
from loratory.metrics.ratio import counted, means
from loratory.metrics.rouge.rouge2.kind import TYPES, kind_of
from loratory.metrics.rouge.rouge2.score import WordTokens, rouge2, setting_problems
from loratory.metrics.rouge.rouge2.synonyms import synonyms_signature
from loratory.metrics.rouge.rouge2.topics import topics_signature
from loratory.records import Prediction
from loratory.registry import signature

__all__ = ["Rouge2"]

Part = Literal["f", "precision", "recall"]


@metric("rouge2")
@dataclass(frozen=True)
class Rouge2:
    """ROUGE 2.0: overlap with synonyms, and of topic words (Ganesan 2018); not in rouge_score."""

    name: ClassVar[str]
    needs: ClassVar[frozenset[str]] = frozenset({"references"})
    lower_is_better: ClassVar[frozenset[str]] = frozenset()
    descriptive: ClassVar[frozenset[str]] = frozenset()
    undefined: ClassVar[Mapping[str, str]] = {}

    types: tuple[str, ...] = field(default=TYPES, metadata={"selects": True})
    """Which to compute: `rouge1+Synonyms` to `rouge9+Synonyms`, `rougeL+Synonyms`, `rougeTopic`
    (topic words alone, as often as they occur), `rougeTopicUniq` (distinct ones), and both
    with `+Synonyms`."""
    synonyms: str | None = None
    """Where synonyms come from: `wordnet` (nltk's, if its data is installed), the name of a
    source of another package, or a file with one set a line, words separated by commas or
    tabs."""
    topic: str = "content"
    """Which words are topic words: `content` (all but English stop words), `nouns`,
    `nouns-adjectives` or `nouns-verbs` (by nltk's tagger, if its data is installed), or a file
    of words."""
    stem: bool = True
    """Whether words longer than three characters are reduced to their Porter stem."""
    tokens: WordTokens = "rouge_score"
    """What counts as a word: runs of a-z and 0-9, or Unicode `words`."""
    part: Part = "f"
    """Which of the three is reported."""
    beta: float = 1.0
    """How many times recall weighs as much as precision in F."""

    @property
    def signature(self) -> str:
        synonyms = None if self.synonyms is None else synonyms_signature(self.synonyms)
        fixed = replace(self, synonyms=synonyms, topic=topics_signature(self.topic))
        name, *parts = signature(fixed).split("|")
        return "|".join([name, "ref:ganesan2018", *parts])

    def value_signature(self, value: str) -> str:
        """Return the signature of one measure, without settings that do not change it."""
        kind = kind_of(value)
        assert kind is not None
        idle = {"types"}
        idle |= set() if kind.synonyms else {"synonyms"}
        idle |= set() if kind.topic else {"topic"}
        _, *parts = self.signature.split("|")
        return "|".join([value, *(part for part in parts if part.split(":")[0] not in idle)])

    def problems(self) -> list[str]:
        """Return what is wrong with these values, one `field: sentence` each."""
        given = self.synonyms is not None
        problems = setting_problems(self.types, given, self.tokens, self.beta)
        if given and not any(kind and kind.synonyms for kind in map(kind_of, self.types)):
            problems.append("synonyms: no type ends in +Synonyms, so they would not be used.")
        if self.part not in get_args(Part):
            hint = suggest(str(self.part), get_args(Part))
            problems.append(f"part: unknown '{self.part}'. {hint}")
        if not problems:
            try:
                self.statistics([Prediction("", "a", ("a",))])
                _ = self.signature  # which reads what is named, whether it is used or not
            except ConfigError as error:
                problems += error.problems
            except LoratoryError as error:
                problems.append(str(error))
        return problems

    def statistics(self, predictions: list[Prediction]) -> Array:
        """Return rows of 1 and the chosen part of each measure, shape (n, 1 + types)."""
        overlaps = rouge2(
            [prediction.text for prediction in predictions],
            [prediction.references for prediction in predictions],
            self.types,
            self.stem,
            synonyms=self.synonyms,
            topic=self.topic,
            tokens=self.tokens,
            beta=self.beta,
        )
        return counted([getattr(overlaps[name], self.part) for name in self.types])

    def reduce(self, totals: Array) -> dict[str, Array]:
        """Return the mean of each measure over the rows, 0 to 1."""
        return means(totals, self.types)
