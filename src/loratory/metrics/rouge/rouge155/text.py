"""Text to words, as ROUGE-1.5.5 cuts it: bytes, of which a to z and 0 to 9 make words.

Sentences are lines. Every other byte separates words, those of accented letters and of other
scripts included.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache
from importlib import resources
from itertools import chain
from typing import NamedTuple

from loratory.errors import DataError
from loratory.metrics.rouge.rouge155.options import EvaluationOptions
from loratory.metrics.rouge.rouge155.stem import stem

__all__ = ["Reader", "Text", "basic_elements", "stop_words"]

_WORD = re.compile(rb"[a-z0-9]+")
# What perl's \s is for bytes.
_SPACE = re.compile(rb"[ \t\n\r\f\v]+")


class Text(NamedTuple):
    """One text as word numbers."""

    words: list[int]
    """All words in their order: what n-grams and skip-bigrams are made of."""
    sentences: list[list[int]]
    """Words line by line, for ROUGE-L and ROUGE-W; with a byte limit, not quite the same."""


class Reader:
    """Reads texts under one set of options, and numbers words as they come."""

    def __init__(self, options: EvaluationOptions) -> None:
        self._options = options
        self._stop = stop_words() if options.remove_stop_words else frozenset()
        self._ids: dict[str, int] = {}

    def read(self, text: str) -> Text:
        """Return the words of a text, cut to the limit, then without stop words, then stemmed."""
        lines = _bytes(text).split(b"\n")
        if limit := self._options.max_words:
            sentences = [self._words(line) for line in _first_words(lines, limit)]
        elif limit := self._options.max_bytes:
            words = [self._words(line) for line in _first_bytes(lines, limit)]
            sentences = [self._words(line) for line in _each_alone(lines, limit)]
            return Text(list(chain.from_iterable(words)), sentences)
        else:
            sentences = [self._words(line) for line in lines]
        return Text(list(chain.from_iterable(sentences)), sentences)

    def _words(self, line: bytes) -> list[int]:
        words = [match.decode("ascii") for match in _WORD.findall(line.lower())]
        kept = (word for word in words if word not in self._stop)
        if self._options.stem:
            kept = (stem(word, self._options.irregular_forms) for word in kept)
        return [self._ids.setdefault(word, len(self._ids)) for word in kept]


@cache
def stop_words() -> frozenset[str]:
    """Return the words that `-s` removes.

    The list of the SMART retrieval system (Salton and Buckley, Cornell University) with a few
    newswire words before it, as ROUGE-1.5.5 comes with it.
    """
    file = resources.files(__package__).joinpath("stop_words.txt")
    return frozenset(file.read_text(encoding="ascii").split())


def basic_elements(text: str, options: EvaluationOptions) -> list[tuple[str, str, str]]:
    """Return head, modifier and relation of each line `head|modifier|relation`.

    Letters a to z lose their case. Stemming takes each word of a head or modifier; stop words
    and limits do nothing here. Bytes above 127 come back as Latin-1.

    Raises:
        DataError: a line that has not three parts, or no relation.
    """
    found = []
    content = _bytes(text).removesuffix(b"\n")
    for number, line in enumerate(content.split(b"\n") if content else (), 1):
        parts = line.lower().decode("latin-1").split("|")
        if len(parts) != 3 or not parts[2]:
            raise DataError(
                f"line {number}: {line.decode('utf-8', 'replace')!r} is no basic element; write "
                "one head|modifier|relation a line, with nil for a part that is not there."
            )
        head, modifier, relation = parts
        if options.stem:
            head, modifier = (_stem_words(part, options) for part in (head, modifier))
        found.append((head, modifier, relation))
    return found


def _bytes(text: str) -> bytes:
    # A lone surrogate is no text, but it separates words like any other foreign character.
    return text.encode("utf-8", "surrogatepass")


def _first_words(lines: Sequence[bytes], limit: int) -> Iterator[bytes]:
    """Yield lines until so many words, by white space, are there."""
    for line in lines:
        # Space before the first word makes an empty word there, which the script counts.
        words = _SPACE.split(line.rstrip()) if line.strip() else []
        yield b" ".join(words[:limit])
        limit -= len(words)
        if limit <= 0:
            return


def _first_bytes(lines: Sequence[bytes], limit: int) -> Iterator[bytes]:
    """Yield lines until so many bytes are there; line ends are free."""
    for line in lines:
        yield line[:limit]
        limit -= len(line)
        if limit <= 0:
            return


def _each_alone(lines: Sequence[bytes], limit: int) -> Iterator[bytes]:
    """Yield lines up to the first that has so many bytes itself, which is cut and ends them.

    That is the script's own slip: it forgets the lines before when it limits ROUGE-L and -W.
    """
    for line in lines:
        yield line[:limit]
        if len(line) >= limit:
            return


def _stem_words(part: str, options: EvaluationOptions) -> str:
    return " ".join(stem(word, options.irregular_forms) for word in part.split(" "))
