"""Text to words to numbers.

By default as rouge_score 0.1.2 cuts it: a word is a run of a to z and 0 to 9 in the lowered
text; every other character, accented letters and CJK included, separates words. The other
profiles, `words` and `characters`, know every script. Words longer than three characters are
stemmed, those of ASCII letters and digits only.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Mapping, Sequence
from itertools import accumulate, chain
from typing import Literal, NamedTuple, get_args

from loratory.errors import suggest
from loratory.metrics.rouge.profile import characters, folded_pieces, unicode_words
from loratory.metrics.rouge.stem import stem
from loratory.sentences import sentence_spans, sentences

__all__ = [
    "CUTS",
    "SPLITS",
    "Split",
    "Text",
    "Tokens",
    "Vocabulary",
    "line_spans",
    "lines_of",
    "text_problems",
    "token_spans",
    "words",
]

Tokens = Literal["rouge_score", "words", "characters"]
Split = Literal["newline", "sentences"]

_WORD = re.compile("[a-z0-9]+")


def words(text: str) -> list[str]:
    """Return the words of a text, unstemmed. Text without a Latin letter or digit has none."""
    return _WORD.findall(text.lower())


def lines_of(text: str) -> list[str]:
    """Return the lines of a text: they end at newlines only, as rougeLsum sees them."""
    return text.split("\n")


CUTS: Mapping[str, Callable[[str], Sequence[str]]] = {
    "rouge_score": words,
    "words": unicode_words,
    "characters": characters,
}
SPLITS: Mapping[str, Callable[[str], Sequence[str]]] = {
    "newline": lines_of,
    "sentences": sentences,
}


def text_problems(tokens: str, split: str) -> list[str]:
    """Return what is wrong with the names of a profile and of a split."""
    problems = []
    for field, value, kinds in (("tokens", tokens, Tokens), ("split", split, Split)):
        if value not in get_args(kinds):
            problems.append(f"{field}: unknown '{value}'. {suggest(str(value), get_args(kinds))}")
    return problems


class Text(NamedTuple):
    """A text as word numbers."""

    lines: list[list[int]]
    """Those of each line or sentence."""
    words: list[int]
    """Those of the whole text, as one line."""


class Vocabulary:
    """Numbers words as they come, from 0; words with one stem share a number.

    Comparing small integers is what the n-gram and LCS code does all day, and a word met
    before costs one dictionary look-up, stem included.

    Args:
        stem: whether words longer than three characters are stemmed first.
        cut: text to words; a profile of `CUTS`, or anything that gives hashable tokens.
        split: text to the lines or sentences that rougeLsum compares.
    """

    def __init__(
        self,
        stem: bool,
        cut: Callable[[str], Sequence[Hashable]] = words,
        split: Callable[[str], Sequence[str]] = lines_of,
    ) -> None:
        self._stem = stem
        self._cut = cut
        self._split = split
        self._of_word: dict[Hashable, int] = {}
        self._of_form: dict[Hashable, int] = {}

    def __len__(self) -> int:
        return len(self._of_word)

    def read(self, text: str) -> Text:
        """Return a text's word numbers; no word spans two lines, so the lines make the text."""
        lines = self.lines(text)
        return Text(lines, list(chain.from_iterable(lines)))

    def lines(self, text: str) -> list[list[int]]:
        """Return the word numbers of each line; a line without words gives an empty list."""
        number = self.number
        return [[number(word) for word in self._cut(line)] for line in self._split(text)]

    def number(self, word: Hashable) -> int:
        """Return the number of a word, a new one if neither it nor its stem was met before."""
        known = self._of_word.get(word)
        if known is None:
            form = word
            if self._stem and isinstance(word, str) and len(word) > 3 and word.isascii():
                form = stem(word)
            known = self._of_form.setdefault(form, len(self._of_form))
            self._of_word[word] = known
        return known


def line_spans(text: str, split: Split) -> list[tuple[int, int]]:
    """Return where the lines or sentences of a text stand, as `SPLITS` cuts them."""
    if split == "sentences":
        return sentence_spans(text)
    stops = list(accumulate(len(line) + 1 for line in lines_of(text)))
    return [(start, stop - 1) for start, stop in zip([0, *stops], stops, strict=False)]


def token_spans(text: str, tokens: Tokens) -> list[tuple[str, int, int]]:
    """Return the words that a profile cuts a text into, each with its place in the text.

    A word's place holds every character that its letters come from; words that come from one
    character (a ligature of several words) share it.
    """
    if tokens == "rouge_score":
        pieces: Sequence[str] = [char.lower() for char in text]
        spans: Sequence[tuple[int, int]] = [(i, i + 1) for i in range(len(text))]
    else:
        pieces, spans = folded_pieces(text)
    folded = "".join(pieces)
    owner = [i for i, piece in enumerate(pieces) for _ in piece]
    found = []
    position = 0
    for word in CUTS[tokens](folded):
        start = folded.index(word, position)
        position = start + len(word)
        found.append((word, spans[owner[start]][0], spans[owner[position - 1]][1]))
    return found
