"""Counterfactual data augmentation: training rows once more, with the groups swapped.

Lu et al. 2018, "Gender Bias in Neural Natural Language Processing" (arXiv 1807.11714), and Zhao et
al. 2018 (arXiv 1804.06876): what the model learns of one group it then learns of the other.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

from loratory.records import Example
from loratory.tasks.groups.swap import axes, swapped_example
from loratory.tasks.groups.wordlist import WordList

__all__ = ["Augmented", "augmented"]


class Augmented(NamedTuple):
    """Training rows with their counterfactuals."""

    examples: list[Example]
    """Each row, followed by its swapped copies."""
    added: int
    left_out: int
    """Copies that were not added, because such a row is held out."""


def augmented(
    examples: Sequence[Example],
    lists: Sequence[WordList],
    held_out: Collection[str] = (),
) -> Augmented:
    """Return training rows, each that holds a listed word followed by a copy with groups swapped.

    Labels are kept; references and context are swapped like the source. Lists of the same two
    groups are applied together; for every two groups there is one copy. A copy is added even where
    such a row is there already: only then does every text stand as often with one group as with
    the other.

    Args:
        examples: training rows. Validation and test rows are not to be augmented.
        lists: what is swapped.
        held_out: sources of validation and test rows; a copy equal to one is left out.
    """
    every = axes(lists)
    forbidden = {" ".join(text.split()).casefold() for text in held_out}
    found: list[Example] = []
    left_out = 0
    for row in examples:
        found.append(row)
        for axis in every:
            copy = swapped_example(row, axis)
            if copy is None:
                continue
            if " ".join(copy.source.split()).casefold() in forbidden:
                left_out += 1
                continue
            found.append(copy)
    return Augmented(found, len(found) - len(examples), left_out)
