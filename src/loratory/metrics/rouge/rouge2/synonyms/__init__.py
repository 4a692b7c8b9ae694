"""Sources of synonyms: WordNet, sets in a file, or a function of the user's.

A package adds a source under the entry-point group `loratory.metrics.rouge.rouge2.synonyms`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path

from loratory.errors import ConfigError
from loratory.metrics.rouge.rouge2.synonyms.base import (
    SYNONYMS,
    Synonyms,
    SynonymSource,
    synonym_source,
)
from loratory.metrics.rouge.rouge2.synonyms.sets import read_sets, table_of
from loratory.metrics.rouge.rouge2.textfile import named, signature_of

__all__ = [
    "SYNONYMS",
    "GivenSynonyms",
    "SynonymSource",
    "Synonyms",
    "near_forms",
    "synonym_source",
    "synonyms_signature",
]

GivenSynonyms = str | Path | Synonyms | Iterable[Collection[str]]
"""A source's name, a file of sets, a callable, or the sets themselves."""


def near_forms(
    given: GivenSynonyms,
    cut: Callable[[str], Sequence[str]],
    number: Callable[[str], int],
) -> Callable[[str], frozenset[int]]:
    """Return a function from a word to the forms of its synonyms.

    Args:
        given: where synonyms come from.
        cut: text to words.
        number: word to the number of its form.

    Raises:
        ConfigError: neither a source nor a file, or a callable that does not give words.
        DataError: a file or set that is not one of synonyms.
        MissingDependencyError: the source needs a package that is not installed.
    """
    source = _source(given)
    if callable(source):
        return _asking(source, cut, number)
    table = table_of(source, cut, number)
    return lambda word: table.get(number(word), frozenset())


def synonyms_signature(given: str) -> str:
    """Return what stands for a source's name, or a file's path, in a signature."""
    return signature_of(given, SYNONYMS, "synonyms")


def _source(given: GivenSynonyms) -> Synonyms | Iterable[Collection[str]]:
    if isinstance(given, str):
        given = named(given, SYNONYMS, "synonyms", "with one set a line")
    return read_sets(given) if isinstance(given, Path) else given


def _asking(
    source: Synonyms, cut: Callable[[str], Sequence[str]], number: Callable[[str], int]
) -> Callable[[str], frozenset[int]]:
    def near(word: str) -> frozenset[int]:
        found = source(word)
        if isinstance(found, str) or not isinstance(found, Iterable):
            raise ConfigError(
                f"synonyms: the source gave {type(found).__name__} for '{word}'; "
                "it must give a list of words."
            )
        forms = set()
        for synonym in found:
            if not isinstance(synonym, str):
                raise ConfigError(
                    f"synonyms: the source gave {type(synonym).__name__} among the synonyms of "
                    f"'{word}'; they must be text."
                )
            cuts = cut(synonym)
            if len(cuts) == 1:  # a phrase cannot match one word
                forms.add(number(cuts[0]))
        return frozenset(forms)

    return near
