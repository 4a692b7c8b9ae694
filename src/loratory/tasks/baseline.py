"""Trivial systems: what any fine-tuned model has to beat.

A model that loses to the first sentence, or to the answer of some other example, has learnt
little about the text before it.
"""

from __future__ import annotations

import hashlib
import re
import statistics
from collections.abc import Sequence

from loratory.records import Example, Prediction

__all__ = ["answered", "first_sentence", "lead", "random_answers", "typical_words"]

NEAREST = 100
"""A random answer is drawn from so many answers of nearly typical length."""

# A full stop after these ends no sentence.
_ABBREVIATIONS = """
    e.g i.e etc cf vs al fig figs eq sec vol pp ca approx dept est inc ltd co corp jr sr st
    mr mrs ms dr prof gen rep sen gov rev hon u.s u.k
""".split()  # noqa: SIM905
_END = re.compile(r"[.!?…]+[\"'”’)\]]*(?=\s|$)|[。！？]+[」』”]*")


def first_sentence(text: str) -> str:
    """Return the first sentence of a text, on one line.

    A paragraph without a mark that ends a sentence (a heading, the signature of a function)
    is passed over, unless there is nothing else. A full stop ends no sentence after an
    abbreviation or an initial, or before a small letter.
    """
    paragraphs = [" ".join(part.split()) for part in re.split(r"\n\s*\n", text) if part.strip()]
    for paragraph in paragraphs:
        for match in _END.finditer(paragraph):
            if _ends(paragraph, match.start(), match.end()):
                return paragraph[: match.end()]
    return paragraphs[0] if paragraphs else ""


def _ends(text: str, mark: int, end: int) -> bool:
    if text[mark] != ".":
        return True
    if text[end:].lstrip()[:1].islower():
        return False
    word = text[:mark].rsplit(" ", 1)[-1].strip("([\"'“‘").casefold()
    initial = len(word) == 1 and word.isalpha() and word != "i"
    at_end = end == len(text)
    return at_end or not (initial or word in _ABBREVIATIONS)


def lead(text: str, words: int) -> str:
    """Return the first `words` words of a text, on one line."""
    return " ".join(text.split()[:words])


def typical_words(train: Sequence[Example]) -> int:
    """Return the median length of the training targets in words, at least 1."""
    return max(1, round(statistics.median(len(x.references[0].split()) for x in train)))


def random_answers(
    train: Sequence[Example], test: Sequence[Example], seed: int
) -> list[Prediction]:
    """Answer each test example with the target of some training example.

    The target is drawn from the `NEAREST` of most typical length, so that the score is not
    lowered by length alone. The draw depends on seed and id only.
    """
    words = typical_words(train)
    targets = sorted({example.references[0] for example in train})
    targets.sort(key=lambda target: abs(len(target.split()) - words))
    near = targets[:NEAREST]

    def draw(example: Example) -> str:
        digest = hashlib.blake2b(f"{seed}:{example.id}".encode("utf-8", "replace"), digest_size=8)
        return near[int.from_bytes(digest.digest(), "big") % len(near)]

    return [answered(example, draw(example)) for example in test]


def answered(example: Example, text: str) -> Prediction:
    """Return the record of a generated answer."""
    return Prediction(example.id, text, example.references, example.source)
