"""Text to words to numbers, as rouge_score 0.1.2 cuts it.

A word is a run of a to z and 0 to 9 in the lowered text; every other character, accented
letters and CJK included, separates words. Words longer than three characters are stemmed.
"""

from __future__ import annotations

import re

from loratory.metrics.rouge.stem import stem

__all__ = ["Vocabulary", "words"]

_WORD = re.compile("[a-z0-9]+")


def words(text: str) -> list[str]:
    """Return the words of a text, unstemmed. Text without a Latin letter or digit has none."""
    return _WORD.findall(text.lower())


class Vocabulary:
    """Numbers words as they come, from 0; words with one stem share a number.

    Comparing small integers is what the n-gram and LCS code does all day, and a word met
    before costs one dictionary look-up, stem included.

    Args:
        stem: whether words longer than three characters are stemmed first.
    """

    def __init__(self, stem: bool) -> None:
        self._stem = stem
        self._of_word: dict[str, int] = {}
        self._of_form: dict[str, int] = {}

    def lines(self, text: str) -> list[list[int]]:
        """Return the word numbers of each line; a line without words gives an empty list.

        Lines end at newlines only, which are where rougeLsum sees sentences. No word spans
        two lines, so the lines joined are the words of the text.
        """
        return [[self._id(word) for word in words(line)] for line in text.split("\n")]

    def _id(self, word: str) -> int:
        known = self._of_word.get(word)
        if known is None:
            form = stem(word) if self._stem and len(word) > 3 else word
            known = self._of_form.setdefault(form, len(self._of_form))
            self._of_word[word] = known
        return known
