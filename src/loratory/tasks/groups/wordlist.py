"""A list of word pairs, one word of each of two groups: embedded, or a file of the user's."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from loratory.errors import ConfigError, DataError, suggest
from loratory.tasks.embedded.base import EMBEDDED
from loratory.tasks.groups.words import LISTS
from loratory.tasks.rows import checked_text
from loratory.tasks.source.files import read_file

__all__ = ["SUFFIXES", "WordList", "is_list", "read_list"]

SUFFIXES = (".csv", ".tsv", ".jsonl")


@dataclass(frozen=True)
class WordList:
    """Words that stand for each other when two groups are swapped."""

    name: str
    groups: tuple[str, str]
    pairs: tuple[tuple[str, str], ...]
    """One word of each group. A word in several pairs is replaced by the partner of the first."""


def is_list(name: str) -> bool:
    """Return whether a name means a word list, embedded or a file, rather than a column."""
    return name.startswith(EMBEDDED) or name.lower().endswith(SUFFIXES)


def read_list(name: str, base_dir: Path, field: str = "bias.swaps") -> WordList:
    """Return a word list.

    A file has two columns, named by the two groups, and a pair of words in each row: a CSV file
    begins with `men,women` and goes on with `uncle,aunt`; a line of JSON Lines reads
    `{"men": "uncle", "women": "aunt"}`.

    Args:
        name: `embedded:NAME` or the path of a file.
        base_dir: folder that relative paths start from.
        field: of the recipe, which a sentence about the name begins with.

    Raises:
        ConfigError: no such embedded list, or a file of another kind.
        DataError: the file cannot be read, or a row of it is no pair.
    """
    if name.startswith(EMBEDDED):
        short = name.removeprefix(EMBEDDED)
        if short not in LISTS:
            raise ConfigError(f"{field}: unknown '{name}'. {suggest(short, LISTS)}")
        return WordList(name, *LISTS[short])
    path = base_dir / Path(name).expanduser()
    if path.suffix.lower() not in SUFFIXES:
        embedded = ", ".join(EMBEDDED + known for known in LISTS)
        raise ConfigError(
            f"{field}: '{name}' is no word list. Give {embedded}, or a file ending in "
            f"{', '.join(SUFFIXES)}."
        )
    table = read_file(path, name, field)
    if len(table.columns) != 2:
        raise DataError(
            f"{name}: {len(table.columns)} columns ({', '.join(table.columns)}). A word list has "
            "two, named by the groups, with a pair of words in each row."
        )
    groups = (table.columns[0], table.columns[1])
    pairs = [
        (
            checked_text(row.values.get(groups[0]), groups[0], row.id),
            checked_text(row.values.get(groups[1]), groups[1], row.id),
        )
        for row in table.rows
    ]
    first, second = ({pair[side].casefold() for pair in pairs} for side in (0, 1))
    if both := sorted(first & second):
        raise DataError(
            f"{name}: '{both[0]}' stands on both sides, so it tells no group. Remove it."
        )
    return WordList(name, groups, tuple(pairs))
