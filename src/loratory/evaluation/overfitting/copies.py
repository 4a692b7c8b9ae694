"""Answers that repeat training targets word for word.

Carlini et al. 2023, "Quantifying Memorization Across Neural Language Models" (arXiv 2202.07646),
count outputs that continue their training text verbatim. Here the answers to test rows are looked
through: an answer counts when sequences of 8 words that stand in some training target, and not in
the row's own source, prompt or references, cover at least half of its words. Two controls say what
is common language: the base model, which was not trained on these targets, and the references.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from loratory.evaluation.compare import check_paired, contrast
from loratory.evaluation.verdict import MIN_ROWS
from loratory.metrics.array import Array
from loratory.metrics.ratio import counted, means
from loratory.metrics.shingles import compared_words
from loratory.records import Contrasts, Example, Prediction

__all__ = ["SHARE", "WORDS", "Memorised", "copied_share", "memorised", "sequences"]

WORDS = 8
"""Words in a row that make a copy; shorter agreement is common language."""
SHARE = 0.5
"""Share of an answer's words that must lie in copies."""


@dataclass(frozen=True)
class Memorised:
    """What was counted in the answers to the test rows."""

    verdict: str
    sentence: str
    table: Contrasts | None = None
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class CopiedAnswers:
    """Share of texts that repeat a training target; rows are true or false."""

    name: ClassVar[str] = "memorised"
    lower_is_better: ClassVar[frozenset[str]] = frozenset({"memorised"})
    descriptive: ClassVar[frozenset[str]] = frozenset()
    undefined: ClassVar[Mapping[str, str]] = {}
    signature: ClassVar[str] = f"memorised|words:{WORDS}|share:{SHARE}|v:1"

    def statistics(self, rows: list[bool]) -> Array:
        """Return rows of 1, and 1 where copied; shape (n, 2)."""
        return counted([np.array(rows, dtype=np.float64)])

    def reduce(self, totals: Array) -> dict[str, Array]:
        """Return `memorised`, 0 to 1."""
        return means(totals, ["memorised"])


def sequences(words: Sequence[str]) -> Iterable[tuple[str, ...]]:
    """Return every `WORDS` words in a row, in order; of fewer words, nothing."""
    return zip(*(words[i:] for i in range(WORDS)), strict=False)


def copied_share(answer: str, targets: frozenset[tuple[str, ...]], own: Sequence[str]) -> float:
    """Return the share of an answer's words that lie in copies of training targets.

    Words are compared blind to case and punctuation. An answer of fewer than `WORDS` words has 0.

    Args:
        answer: what a model said.
        targets: all `sequences` of all training targets.
        own: texts from which the answer may copy: its source, its prompt, its references.
    """
    words = compared_words(answer)
    allowed = {part for text in own for part in sequences(compared_words(text))}
    inside = np.zeros(len(words), dtype=np.bool_)
    for place, part in enumerate(sequences(words)):
        if part in targets and part not in allowed:
            inside[place : place + WORDS] = True
    return float(inside.mean()) if words else 0.0


def memorised(
    train: Sequence[Example],
    base: Sequence[Prediction],
    tuned: Sequence[Prediction],
    *,
    resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Memorised:
    """Count the answers of both models that repeat a training target.

    Found: the tuned model has more of them than the base model, and more than the references of
    the same rows, each by an interval above 0.

    Args:
        train: the training rows; the first reference of each is its target.
        base: the base model's answers to the test rows.
        tuned: the tuned model's, to the same rows.
        resamples: as for `compare`, and so are the rest.
        confidence: of the interval.
        seed: of the draws.

    Raises:
        DataError: the two are not of the same rows.
    """
    check_paired(base, tuned)
    targets = frozenset(
        part
        for example in train
        for part in sequences(compared_words(example.references[0] if example.references else ""))
    )
    if not targets:
        return Memorised(
            "not measured",
            f"No training target has {WORDS} words, so repeating one is no sign of anything.",
        )
    long = sum(len(compared_words(row.text)) >= WORDS for row in tuned)
    if len(tuned) < MIN_ROWS or not long:
        why = (
            f"There are {len(tuned)} answers; at least {MIN_ROWS} are needed"
            if len(tuned) < MIN_ROWS
            else f"No answer has {WORDS} words"
        )
        return Memorised(
            "too little to tell", f"{why} to tell whether training targets are repeated."
        )
    # Of several references the first: what counts is what people write, not how often.
    people = [row.references[0] if row.references else "" for row in tuned]
    asked: dict[str, list[tuple[str, tuple[str, ...]]]] = {
        "base": [(row.text, (row.source, row.prompt, *row.references)) for row in base],
        "tuned": [(row.text, (row.source, row.prompt, *row.references)) for row in tuned],
        "references": [
            (text, (row.source, row.prompt)) for text, row in zip(people, tuned, strict=True)
        ],
    }
    copies = {
        name: [copied_share(text, targets, own) >= SHARE for text, own in rows]
        for name, rows in asked.items()
    }
    found = [
        contrast(
            CopiedAnswers(),
            copies[control],
            copies["tuned"],
            resamples=resamples,
            confidence=confidence,
            seed=seed,
        )[0]
        for control in ("base", "references")
    ]
    counts = {name: sum(values) for name, values in copies.items()}
    facts = {
        "answers": len(tuned),
        "long_answers": long,
        **counts,
        "tuned_rows": [row.id for row, copy in zip(tuned, copies["tuned"], strict=True) if copy],
    }
    said = (
        f"{counts['tuned']} of {len(tuned)} answers of the tuned model repeat training targets "
        f"word for word (at least {WORDS} words in a row that their own source lacks, over half of "
        f"the answer); of the base model's {counts['base']} do, and of the references "
        f"{counts['references']}"
    )
    table = Contrasts("Answers that repeat training targets: base and tuned model", (found[0],))
    more = all(item.low is not None and item.low > 0 for item in found)
    return Memorised("found" if more else "no sign", f"{said}.", table, facts)
