"""What a source of synonyms is: a word in, the words that may stand for it out."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, Protocol

from loratory.registry import Registry

__all__ = ["SYNONYMS", "SynonymSource", "Synonyms", "synonym_source"]


class Synonyms(Protocol):
    """Any callable that gives the synonyms of a word."""

    def __call__(self, word: str, /) -> Iterable[str]:
        """Return words that `word` matches; itself need not be among them.

        Args:
            word: as the profile cuts it, in lower case and not stemmed.
        """


class SynonymSource(Synonyms, Protocol):
    """A source with a name: a frozen dataclass without settings, under `@synonym_source`."""

    name: ClassVar[str]

    @property
    def signature(self) -> str:
        """What fixes its answers, version included; no spaces."""


SYNONYMS: Registry[SynonymSource] = Registry("synonyms", "loratory.metrics.rouge.rouge2.synonyms")
synonym_source = SYNONYMS.register
