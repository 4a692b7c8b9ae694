"""Where the systems of a run stand: the band of a score, and how far it has come."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from loratory.metrics.rouge import band
from loratory.metrics.rouge.kind import kind_of
from loratory.records import Place, Score
from loratory.report import wording

__all__ = ["standing"]


def standing(
    scores: Mapping[str, Sequence[Score]], places: Sequence[Place], metric: str
) -> tuple[str, ...]:
    """Return a sentence on each system whose place by a metric is known.

    For ROUGE it names the band too, `Tuned, ROUGE-L 33.4: fair (band), 62% …`, which alone
    would say little.

    Args:
        scores: of every system.
        places: of any systems and metrics.
        metric: the one to speak of.
    """
    sentences = []
    for system, items in scores.items():
        value = next((item.value for item in items if item.metric == metric), None)
        ways = [
            wording.place(item)
            for item in places
            if (item.metric, item.system) == (metric, system) and item.share is not None
        ]
        if value is None or not ways:
            continue
        rouge = kind_of(metric) is not None and 0 <= value <= 1
        parts = [*([f"{band(value)} (band)"] if rouge else []), *ways]
        name = f"{wording.metric_name(metric)} {wording.score(value, metric)}"
        sentences.append(f"{system[:1].upper()}{system[1:]}, {name}: {', '.join(parts)}.")
    return tuple(sentences)
