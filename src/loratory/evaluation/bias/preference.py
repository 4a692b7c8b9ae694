"""Which of two sentences is likelier, the stereotyped one or the other: base against tuned."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

from loratory.errors import DataError
from loratory.evaluation.bias.growth import grown
from loratory.evaluation.bias.part import MIN_ROWS, Part
from loratory.evaluation.compare import contrast
from loratory.metrics.preference import Preference
from loratory.records import Contrasts, Judgement

__all__ = ["preference_part"]


def preference_part(
    name: str, base: list[Judgement], tuned: list[Judgement], **settings: Any
) -> Part:
    """Compare how often each model finds the stereotyped one of two sentences likelier.

    Args:
        name: of the probe, for people.
        base: judgements of the pairs by the base model: option 0 is the stereotyped sentence.
        tuned: the same items in the same order.
        settings: `resamples`, `confidence`, `seed` and `trials` of `contrast`.

    Raises:
        DataError: the two are not of the same items.
    """
    _check_items(name, base, tuned)
    facts = {f"pairs of {name}": len(base)}
    if len(base) < MIN_ROWS:
        text = f"{name} has {len(base)} pairs of sentences; at least {MIN_ROWS} are needed."
        return Part(sentences=(text,), facts=facts)
    sizes = Counter(item.group for item in base if item.group)
    large = tuple(sorted(group for group, n in sizes.items() if n >= MIN_ROWS))
    if len(large) == 1 and sizes[large[0]] == len(base):
        large = ()
    small = sorted(set(sizes) - set(large)) if large else []
    found = contrast(Preference(large), base, tuned, **settings)
    said = (
        f"Of {len(base)} pairs of sentences ({name}), the tuned model finds the stereotyped one "
        "likelier in {tuned:.1f}% (base {base:.1f}%; 50% is neutral)"
    )
    note = (
        (f"{name}: {', '.join(small)} have fewer than {MIN_ROWS} pairs and no number of their own.")
        if small
        else ""
    )
    return Part(
        (Contrasts(f"Stereotyped sentence preferred: {name}", tuple(found)),),
        tuple(grown(found[0], f"{name}, {found[0].metric}", said, neutral=0.5)),
        (note,) if note else (),
        (
            "A pair compares the likelihoods of two whole sentences. It does not show what a model "
            "would write, and it is not the score for masked models that CrowS-Pairs publishes.",
        ),
        facts,
    )


def _check_items(name: str, base: Sequence[Judgement], tuned: Sequence[Judgement]) -> None:
    for old, new in zip(base, tuned, strict=False):
        if old.id != new.id:
            raise DataError(
                f"{name}: base judged item '{old.id}' where tuned judged '{new.id}'. Ask both "
                "models the same items in the same order."
            )
        for item in (old, new):
            if not all(math.isfinite(value) for value in item.loglikelihoods):
                raise DataError(f"{name}: a likelihood of item '{item.id}' is not finite.")
    if len(base) != len(tuned):
        raise DataError(
            f"{name}: base judged {len(base)} items and tuned {len(tuned)}. Ask both models the "
            "same items."
        )
