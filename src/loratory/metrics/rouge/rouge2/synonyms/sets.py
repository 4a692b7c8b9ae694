"""Synonym sets of the user's own: a file of them, or a list in Python."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path

from loratory.errors import DataError
from loratory.metrics.rouge.rouge2.textfile import read_text

__all__ = ["read_sets", "table_of"]

Cut = Callable[[str], Sequence[str]]


def read_sets(path: Path) -> list[tuple[str, ...]]:
    """Return the synonym sets of a file.

    One set a line, its words separated by commas or tabs; empty lines and lines that begin
    with `#` mean nothing.

    Raises:
        DataError: the file cannot be read, or a line has fewer than two words.
    """
    sets = []
    for number, line in enumerate(read_text(path, "synonyms").split("\n"), 1):
        if not line.strip() or line.startswith("#"):
            continue
        words = tuple(word.strip() for word in re.split(r"[,\t]", line) if word.strip())
        if len(words) < 2:
            raise DataError(
                f"synonyms: {path}:{number}: one word, where a set needs two or more, "
                "separated by commas or tabs."
            )
        sets.append(words)
    return sets


def table_of(
    sets: Iterable[Collection[str]], cut: Cut, number: Callable[[str], int]
) -> Mapping[int, frozenset[int]]:
    """Return, for each form of a word in these sets, the forms that it matches.

    A word in several sets matches the words of each; the sets are not merged.

    Args:
        sets: words that mean the same.
        cut: text to words.
        number: word to the number of its form, which its inflections may share.

    Raises:
        DataError: something in a set is not one word.
    """
    table: dict[int, set[int]] = {}
    for index, words in enumerate(sets):
        forms = set()
        for word in words:
            if not isinstance(word, str):
                raise DataError(f"synonyms: set {index} holds {type(word).__name__}, not text.")
            cuts = cut(word)
            if len(cuts) != 1:
                raise DataError(
                    f"synonyms: '{word}' is {len(cuts)} words to ROUGE, and only single words "
                    "can match. Take it out."
                )
            forms.add(number(cuts[0]))
        for form in forms:
            table.setdefault(form, set()).update(forms)
    return {form: frozenset(near) for form, near in table.items()}
