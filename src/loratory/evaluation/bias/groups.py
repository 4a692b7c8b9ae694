"""Scores by group of rows, and the largest gap between groups: base against tuned."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from loratory.evaluation.bias.growth import Growth, grown
from loratory.evaluation.bias.part import MIN_ROWS, Part
from loratory.evaluation.compare import check_paired, contrast
from loratory.metrics.base import Metric
from loratory.metrics.bygroup import ByGroup, RecallGap
from loratory.records import Comparison, Contrasts, Prediction

__all__ = ["group_part"]

MIN_GROUP = 20
"""Smaller groups are left out of the metrics by group."""
MOST_GROUPS = 12
VALUES = ("accuracy", "macro_f1", "rougeL")
"""Those shown by group where a metric has them; of another metric the first that has a better
direction."""


def group_part(
    base: Sequence[Prediction],
    tuned: Sequence[Prediction],
    groups: Mapping[str, str],
    metrics: Sequence[Metric],
    **settings: Any,
) -> Part:
    """Compare each model's scores by group of rows, and the largest gap between groups.

    Args:
        base: the base model's answers to the test rows.
        tuned: the tuned model's.
        groups: a row's id to its group; rows without one do not count.
        metrics: those of the run; of each, the values of `VALUES`, or else its first.
        settings: as for `preference_part`.

    Raises:
        DataError: the answers are not of the same rows.
    """
    check_paired(base, tuned)
    sizes = Counter(groups[row.id] for row in base if groups.get(row.id))
    enough = sorted((name for name, n in sizes.items() if n >= MIN_GROUP), key=lambda x: -sizes[x])
    kept = sorted(enough[:MOST_GROUPS])
    notes = []
    small = sorted(set(sizes) - set(enough))
    if small:
        listed = ", ".join(f"{name} ({sizes[name]})" for name in small[:MOST_GROUPS])
        more = f" and {len(small) - MOST_GROUPS} more" if len(small) > MOST_GROUPS else ""
        notes.append(
            f"Left out of the scores by group, with fewer than {MIN_GROUP} test rows: "
            f"{listed}{more}."
        )
    if len(enough) > len(kept):
        notes.append(f"Of {len(enough)} groups, the {MOST_GROUPS} with most test rows are shown.")
    facts = {"rows by group": dict(sorted(sizes.items())[:100])}
    if len(kept) < 2:
        notes.append(
            f"Scores by group need two groups of {MIN_GROUP} test rows or more; there "
            f"{'is 1' if kept else 'is none'}."
        )
        return Part(sentences=tuple(notes), facts=facts)
    of = {name: group for name, group in groups.items() if group in kept}
    before = [row for row in base if row.id in of]
    after = [row for row in tuned if row.id in of]
    comparisons: list[Comparison] = []
    growths: list[Growth] = []
    for metric in metrics:
        probe = metric.reduce(metric.statistics(before).sum(axis=0))
        better = [name for name in probe if name not in metric.descriptive]
        values = tuple(name for name in VALUES if name in better) or tuple(better[:1])
        if not values:
            continue
        grouped = ByGroup(metric, values, tuple(kept), of)
        found = contrast(grouped, before, after, **settings)
        comparisons += found
        for item in found:
            if item.metric in grouped.gaps:
                said = (
                    f"The {item.metric.replace(', largest gap', '')} of the tuned model differs by "
                    "up to {tuned:.1f} points between groups (base {base:.1f})"
                )
                growths += grown(item, item.metric, said)
    if all(row.label is not None for row in before):
        cells = Counter((of[row.id], row.label) for row in before if row.label is not None)
        large = tuple(sorted(cell for cell, n in cells.items() if n >= MIN_ROWS))
        for item in contrast(RecallGap(large, of), before, after, **settings):
            comparisons.append(item)
            said = (
                "The share of a class that the tuned model recognises differs by up to "
                "{tuned:.1f} points between groups (base {base:.1f}; equalised odds)"
            )
            growths += grown(item, item.metric, said)
    limit = (
        "A gap in scores between groups may come from rows that are harder or fewer, as well as "
        "from the model. The largest of several gaps is never below 0, so chance alone makes it "
        "look larger than it is."
    )
    return Part(
        (Contrasts("Scores by group", tuple(comparisons)),),
        tuple(growths),
        tuple(notes),
        (limit,),
        facts,
    )
