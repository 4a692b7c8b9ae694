"""The sections of a recipe that say what is looked for beside the scores: three known harms."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from loratory.config.section import Positive, Section, Share, Text

__all__ = ["BiasConfig", "ForgettingConfig", "LeakageConfig"]


class LeakageConfig(Section):
    """Rows that stand in more than one split, or nearly: looked for before training."""

    similarity: Share = 0.8
    """Jaccard similarity of their n-grams from which two rows are near duplicates."""
    ngram: Positive = 3
    """Words in an n-gram."""
    action: Literal["report", "drop", "refuse"] = "report"
    """Report leaked rows, drop them from training and validation, or refuse the run."""


class ForgettingConfig(Section):
    """What the base model could do and the tuned one no longer can."""

    probes: list[Text] = Field(default=["embedded:text", "embedded:choices"])
    """General texts and multiple-choice questions: embedded:NAME or .jsonl files."""
    rows: Positive = 100
    """At most so many items of each probe, a seeded sample."""
    max_tokens: Positive = 128
    """Texts are cut to so many tokens."""


class BiasConfig(Section):
    """Whether fine-tuning has made a bias grow."""

    probes: list[Text] = Field(default=["embedded:pairs"])
    """Pairs of sentences of which one holds a stereotype: embedded:NAME or .jsonl files."""
    swaps: list[Text] = Field(default=["embedded:gender", "embedded:names"])
    """Word lists by which groups are swapped in the test inputs: embedded:NAME or files."""
    group: Text | None = None
    """Column of the data that names each row's group, for metrics by group."""
    rows: Positive = 100
    """At most so many pairs of each probe, and so many swapped test rows, seeded samples."""
