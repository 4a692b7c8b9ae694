"""Which words of two texts match: equal forms, and synonyms of either side."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from loratory.metrics.rouge.tokenize import Vocabulary

__all__ = ["Lexicon", "Matches"]

Matches = Mapping[str, frozenset[str]]
"""For each word of one text, the words of the other that it matches."""


class Lexicon:
    """Words, their forms, and the forms of their synonyms.

    Two words match if they have one form (the stem, where words are stemmed), or if the form
    of one is that of a synonym of the other, whichever of the two lists it. This is symmetric
    and not transitive: `bank` may match `shore` and `lender`, which do not match each other.

    Args:
        vocabulary: gives forms their numbers.
        near: word to the forms of its synonyms; None for no synonyms.
    """

    def __init__(
        self, vocabulary: Vocabulary, near: Callable[[str], frozenset[int]] | None
    ) -> None:
        self.form = vocabulary.number
        self._near = near
        self._known: dict[str, frozenset[int]] = {}

    def near(self, word: str) -> frozenset[int]:
        """Return the forms of a word's synonyms."""
        known = self._known.get(word)
        if known is None:
            known = self._near(word) if self._near else frozenset()
            self._known[word] = known
        return known

    def matches(self, left: Iterable[str], right: Iterable[str]) -> Matches:
        """Return what each left word matches among the right words."""
        of_form: dict[int, list[str]] = {}
        near_form: dict[int, list[str]] = {}
        for word in set(right):
            of_form.setdefault(self.form(word), []).append(word)
            for form in self.near(word):
                near_form.setdefault(form, []).append(word)
        found = {}
        for word in set(left):
            form = self.form(word)
            words = {o for f in {form, *self.near(word)} for o in of_form.get(f, ())}
            found[word] = frozenset(words.union(near_form.get(form, ())))
        return found
