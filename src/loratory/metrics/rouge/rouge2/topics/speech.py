"""Words of chosen parts of speech, as Ganesan 2018 takes them for topics."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar

from loratory.errors import ConfigError, MissingDependencyError
from loratory.metrics.rouge.rouge2.topics.base import topic_source

__all__ = ["Nouns", "NounsAndAdjectives", "NounsAndVerbs", "PartsOfSpeech", "nltk_tags"]


@dataclass(frozen=True)
class PartsOfSpeech:
    """Words whose tag begins with one of `tags`."""

    tags: tuple[str, ...] = ("NN",)
    """Beginnings of tags, in the tagger's own spelling: `NN` takes NN, NNS, NNP and NNPS."""
    tagger: Callable[[Sequence[str]], Sequence[str]] | None = None
    """The words of a line to one tag each; None is nltk's perceptron tagger for English."""

    @property
    def signature(self) -> str:
        _tagger()  # a tagger that is missing is to be told of before any text is read
        return "nltk-" + "+".join(self.tags)

    def __call__(self, words: Sequence[str], /) -> Sequence[bool]:
        tags = (self.tagger or nltk_tags)(words)
        for tag in tags:
            if not isinstance(tag, str):
                raise ConfigError(
                    f"topic: the tagger gave {type(tag).__name__} for a word; it must give the "
                    "tag alone, as text."
                )
        return [tag.startswith(self.tags) for tag in tags]


@topic_source("nouns")
@dataclass(frozen=True)
class Nouns(PartsOfSpeech):
    """Nouns, by nltk's tagger (Penn Treebank: NN, NNS, NNP, NNPS)."""

    name: ClassVar[str]


@topic_source("nouns-adjectives")
@dataclass(frozen=True)
class NounsAndAdjectives(PartsOfSpeech):
    """Nouns and adjectives, by nltk's tagger; what the ROUGE 2.0 package takes by default."""

    name: ClassVar[str]

    tags: tuple[str, ...] = ("NN", "JJ")


@topic_source("nouns-verbs")
@dataclass(frozen=True)
class NounsAndVerbs(PartsOfSpeech):
    """Nouns and verbs, by nltk's tagger."""

    name: ClassVar[str]

    tags: tuple[str, ...] = ("NN", "VB")


def nltk_tags(words: Sequence[str]) -> list[str]:
    """Return the Penn Treebank tags of the words of one English line; nothing is downloaded.

    Raises:
        MissingDependencyError: nltk is not installed.
        ConfigError: its tagger's data is not.
    """
    return [tag for _, tag in _tagger().tag(list(words))]


@cache
def _tagger() -> Any:
    # nltk.pos_tag would read the model anew for every line.
    try:
        perceptron = importlib.import_module("nltk.tag.perceptron")
    except ImportError:
        raise MissingDependencyError(
            "topic: parts of speech need nltk: pip install nltk, then "
            "python -m nltk.downloader averaged_perceptron_tagger_eng."
        ) from None
    try:
        return perceptron.PerceptronTagger()
    except LookupError:
        raise ConfigError(
            "topic: nltk finds no tagger on this machine. Get it with: "
            "python -m nltk.downloader averaged_perceptron_tagger_eng; or take 'content' or a "
            "file of words."
        ) from None
