"""WordNet (Miller 1995, "WordNet: A Lexical Database for English"), as nltk reads it."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar

from loratory.errors import ConfigError, MissingDependencyError
from loratory.metrics.rouge.rouge2.synonyms.base import synonym_source

__all__ = ["WordNet"]


@synonym_source("wordnet")
@dataclass(frozen=True)
class WordNet:
    """Words that share a synset with a word, in any of its senses and parts of speech.

    Inflected words are looked up by their base forms. Lemmas of several words match nothing.
    """

    name: ClassVar[str]

    @property
    def signature(self) -> str:
        return f"wordnet-{_reader().get_version()}"

    def __call__(self, word: str, /) -> Iterable[str]:
        return _lemmas(word)


@cache
def _lemmas(word: str) -> frozenset[str]:
    return frozenset(name for synset in _reader().synsets(word) for name in synset.lemma_names())


@cache
def _reader() -> Any:
    """Return nltk's reader of the local WordNet; nothing is downloaded.

    Raises:
        MissingDependencyError: nltk is not installed.
        ConfigError: its data is not.
    """
    try:
        corpus = importlib.import_module("nltk.corpus")
    except ImportError:
        raise MissingDependencyError(
            "synonyms: 'wordnet' needs nltk: pip install nltk, then "
            "python -m nltk.downloader wordnet."
        ) from None
    try:
        corpus.wordnet.ensure_loaded()
    except LookupError:
        raise ConfigError(
            "synonyms: nltk finds no WordNet on this machine. "
            "Get it with: python -m nltk.downloader wordnet; or name a file of synonym sets."
        ) from None
    return corpus.wordnet
