"""What a recipe's data section does against bias, to the training rows alone."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from loratory.records import Example
from loratory.tasks.base import Row
from loratory.tasks.groups.augment import augmented
from loratory.tasks.groups.balance import MOST, balanced, check_column, group_of, group_words
from loratory.tasks.groups.wordlist import is_list, read_list

__all__ = ["Remedied", "remedied"]


class Remedied(NamedTuple):
    """Training rows after the remedies, and what was done."""

    examples: list[Example]
    notes: tuple[str, ...]
    """One sentence for each remedy."""
    facts: dict[str, Any]
    """Counts for the manifest."""


def remedied(
    examples: Sequence[Example],
    rows: Sequence[Row],
    augment: Sequence[str],
    balance: str | None,
    *,
    held_out: Collection[str] = (),
    base_dir: Path,
    seed: int = 0,
) -> Remedied:
    """Augment training rows, then balance them; without either they are returned as they are.

    Args:
        examples: training rows.
        rows: the row of data that each was made of.
        augment: `data.augment`, names of word lists.
        balance: `data.balance`, a column of the rows or the name of a word list.
        held_out: sources of validation and test rows.
        base_dir: folder that relative paths start from.
        seed: which rows are repeated once more than others.

    Raises:
        ConfigError: no such word list.
        DataError: no such column, fewer than two groups, or a word list that cannot be read.
    """
    assert len(examples) == len(rows), "one row of data an example"
    found, notes, facts = list(examples), [], dict[str, Any]()
    if augment:
        lists = [read_list(name, base_dir, "data.augment") for name in augment]
        more = augmented(found, lists, held_out)
        found = more.examples
        facts["augment"] = {"added": more.added, "left_out": more.left_out}
        left_out = (
            f"; {more.left_out} copies left out, as such rows are held out" if more.left_out else ""
        )
        notes.append(f"Augmented: {more.added} training rows with groups swapped{left_out}")
    if balance is not None:
        if is_list(balance):
            groups = group_words(found, read_list(balance, base_dir, "data.balance"))
        else:
            check_column(rows, balance, "data.balance")
            known = {
                example.id: group_of(row, balance, example.id)
                for example, row in zip(examples, rows, strict=True)
            }
            groups = []
            for example in found:  # a swapped copy follows its row, and is of its row's group
                groups.append(known.get(example.id, groups[-1] if groups else ""))
        even = balanced(found, groups, seed)
        found = even.examples
        facts["balance"] = {
            "groups": even.counts,
            "added": even.added,
            "short": list(even.short),
        }
        counts = ", ".join(f"{name} {n}" for name, n in sorted(even.counts.items()))
        short = (
            f"; still rarer: {', '.join(even.short)} (a row stands at most {MOST} times)"
            if even.short
            else ""
        )
        notes.append(f"Balanced by {balance} ({counts}): {even.added} rows repeated{short}")
    return Remedied(found, tuple(notes), facts)
