"""What leakage means for a run: a finding before training, and its scores with and without.

Both are functions of what `find_leaks` found and of stored predictions, so they can be made again.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from loratory.evaluation.compare import check_paired, compare
from loratory.evaluation.leakage.search import ACROSS, NAMES, Leakage
from loratory.evaluation.verdict import MIN_ROWS
from loratory.metrics.base import Metric
from loratory.records import PLAIN, Contrasts, Finding, Prediction

__all__ = ["leakage_finding", "with_scores"]

LIMITS = (
    "Paraphrases, translations and a short text inside a long one are not found: rows are compared "
    "whole, by the words they share.",
    "Whether the base model saw the test rows when it was pre-trained cannot be told from here.",
)
THINNED = "The rows are so alike that not all pairs could be compared: there may be more doubles."


def leakage_finding(leakage: Leakage, action: str, dropped: Mapping[str, int]) -> Finding:
    """Put into words what was found before training; `with_scores` adds what it does to scores.

    Args:
        leakage: what was found.
        action: what the recipe says to do.
        dropped: rows taken out of each split.
    """
    across, within = {}, {}
    for split in NAMES:
        for other in NAMES:
            mine = [x for x in leakage.leaks if x.split == split and x.other == other]
            counts = {
                "rows": len(mine),
                "exact": sum(leak.exact for leak in mine),
                "same_answer": sum(leak.same_answer for leak in mine),
            }
            if split == other:
                within[split] = counts
            elif (split, other) in ACROSS:
                across[f"{split} in {other}"] = counts
    left = action != "drop"
    closest = sorted(
        (x for x in leakage.leaks if (x.split, x.other) in ACROSS),
        key=lambda leak: (leak.split != "test", -leak.similarity),
    )
    facts = {
        "rows": dict(leakage.rows),
        "similarity": leakage.similarity,
        "ngram": leakage.ngram,
        "complete": leakage.complete,
        "action": action,
        "across": across,
        "within": within,
        "dropped": dict(dropped),
        "leaked_test_rows": leakage.ids("test", ("train", "validation")) if left else [],
        "closest": [leak._asdict() for leak in closest[:10]],
    }
    found = left and any(counts["rows"] for counts in across.values())
    verdict = "found" if found else "no sign" if leakage.complete else "too little to tell"
    limits = LIMITS if leakage.complete else (THINNED, *LIMITS)
    return Finding("leakage", verdict, tuple(_words(facts)), limits=limits, facts=facts)


def _words(facts: Mapping[str, Any]) -> list[str]:
    rows, said = facts["rows"], []
    why = {
        "test in train": "On them a score shows memory, not skill.",
        "test in validation": "By validation the best state was chosen.",
        "validation in train": "So validation looks better than it is, and stops training late.",
    }
    for split, other in ACROSS:
        counts = facts["across"][f"{split} in {other}"]
        if counts["rows"]:
            also = "" if facts["dropped"] else f" {why[f'{split} in {other}']}"
            said.append(
                f"{_of(counts['rows'], rows[split])} {NAMES[split]} rows also stand in "
                f"{NAMES[other]}, {counts['exact']} exactly and {counts['rows'] - counts['exact']} "
                f"nearly; {counts['same_answer']} with the same answer.{also}"
            )
    measure = (
        f"two rows are nearly the same when they share {facts['similarity']:.0%} of their "
        f"{facts['ngram']}-word sequences (Jaccard)"
    )
    if not said:
        said.append(
            "No test row stands in training or validation, and no validation row in training, "
            f"exactly or nearly; {measure}."
        )
    else:
        said.append(f"Counted so: {measure}.")
    if facts["dropped"]:
        parts = [f"{count} {NAMES[split]} rows" for split, count in facts["dropped"].items()]
        said.insert(
            0,
            f"{' and '.join(parts)} were left out because they also stand in a later split; "
            "none such is left. This is what was found before.",
        )
    return said + [
        f"Within {NAMES[split]}, {_of(count, rows[split])} rows repeat another row of it."
        for split in NAMES
        if (count := facts["within"][split]["rows"])
    ]


def _of(count: int, total: int) -> str:
    return f"{count} of {total}"


def with_scores(
    finding: Finding,
    base: list[Prediction],
    tuned: list[Prediction],
    metrics: Sequence[Metric],
    *,
    resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Finding:
    """Add what the leaked test rows do to the scores: tables of all rows, and of those without.

    Args:
        finding: what `leakage_finding` gave; asked again, the answer is the same.
        base: predictions before fine-tuning, of the whole test split.
        tuned: predictions after it, of the same rows.
        metrics: of the recipe.
        resamples: as for `compare`, and so are the rest.
        confidence: of the intervals.
        seed: of the draws.

    Raises:
        DataError: the two are not of the same rows.
    """
    check_paired(base, tuned)
    leaked = set(finding.facts["leaked_test_rows"])
    words = _words(finding.facts)
    if not leaked:
        return dataclasses.replace(finding, sentences=tuple(words), tables=())
    clean = [i for i, row in enumerate(base) if row.id not in leaked]
    known = [i for i, row in enumerate(base) if row.id in leaked]

    def table(title: str, places: Sequence[int]) -> Contrasts:
        one, two = [base[i] for i in places], [tuned[i] for i in places]
        found = compare(one, two, metrics, resamples=resamples, confidence=confidence, seed=seed)
        return Contrasts(title, tuple(found))

    whole = table("All test rows", range(len(base)))
    tables = [whole]
    if len(clean) < MIN_ROWS:
        words.insert(
            0,
            f"Only {len(clean)} test rows are free of leakage: too few for a comparison, which "
            f"needs at least {MIN_ROWS}. The scores of this run say little of new rows.",
        )
    else:
        tables.append(table("Test rows without leakage", clean))
        if sentence := _effect(whole, tables[-1], len(known)):
            words.insert(0, sentence)
    if len(known) >= MIN_ROWS:
        tables.append(table("Leaked test rows alone", known))
    return dataclasses.replace(finding, sentences=tuple(words), tables=tuple(tables))


def _effect(whole: Contrasts, clean: Contrasts, leaked: int) -> str | None:
    """Say what the leaked rows do to the first value for which a direction is better."""
    for all_rows, free in zip(whole.comparisons, clean.comparisons, strict=True):
        values = (all_rows.tuned, free.tuned, all_rows.difference, free.difference)
        if all_rows.descriptive or None in values:
            continue
        unit = 1 if all_rows.metric in PLAIN else 100
        before, after, gain, rest = (f"{unit * (value or 0):.2f}" for value in values)
        still = (
            "the improvement stands without them"
            if free.improved
            else "without them no improvement can be told from chance"
            if all_rows.improved
            else "no improvement can be told from chance, with or without them"
        )
        return (
            f"Without the {leaked} leaked test rows the tuned model's {all_rows.metric} is {after} "
            f"instead of {before}, and its difference to the base model {rest} instead of {gain}: "
            f"{still}."
        )
    return None
