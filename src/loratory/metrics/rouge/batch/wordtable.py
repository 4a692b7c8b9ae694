"""Words of ASCII text to numbers, many at a time.

A word of up to sixteen letters and digits is two 64-bit integers, which find its number in a
hash table of numpy arrays: open addressing with linear probing (Knuth, "The Art of Computer
Programming", volume 3, section 6.4). The integers hold every letter, so that equal ones mean
equal words and nothing rests on luck. Only words that are new, or longer, are looked at one
by one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import ModuleType
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Numbered", "WordTable", "fold"]

Indices = NDArray[np.int64]
Words = NDArray[np.uint64]

_PAD = 32  # bytes behind the text, so that looking at sixteen letters never leaves it
# Every byte that is no letter and no digit separates words; newline and NUL keep their meaning.
_FOLD = bytes(
    code if (code < 128 and chr(code).isalnum()) or code in b"\n\0" else 32 for code in range(256)
).lower()
_LOWER = {"\u0130": "i\u0307", "\u212a": "k"}
_FIRST = np.array([(1 << 8 * size) - 1 for size in range(9)], dtype=np.uint64)
# Odd multipliers without pattern: 2^64 / golden ratio, and one of xxHash's primes.
_MIX, _MIX_MORE = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xC2B2AE3D27D4EB4F)
_ONE, _LAST = np.uint64(1), np.uint64(63)
_ALL = slice(None)
_LETTERS = 16
_NEW = 2048
_BITS = 16  # of the first table's size: 1.5 MB, room for 16,000 words


class Numbered(NamedTuple):
    """Texts as word numbers."""

    words: Indices
    """Numbers, shape (words,)."""
    line_ends: Indices
    """Of every line, in words, shape (lines,). The last line of a text ends with it."""
    text_ends: Indices
    """Of every text, in lines, shape (texts,)."""


def fold(texts: Sequence[str]) -> bytes:
    """Return texts as lower letters, digits and spaces, with a zero behind each, and padding.

    Letters and digits are those of ASCII, and newlines stay: what rouge_score sees. A zero in a
    text would end it.
    """
    joined = "\0".join(texts)
    # Two characters outside ASCII have lower forms with a letter inside; all others separate.
    for character, lower in _LOWER.items():
        if character in joined:
            joined = joined.replace(character, lower)
    return joined.encode("latin-1", "replace").translate(_FOLD) + b"\0" + b" " * _PAD


class WordTable:
    """Numbers words of ASCII letters and digits.

    Args:
        number: gives a word its number, always the same one; called for words that are new
            or longer than sixteen letters.
    """

    def __init__(self, number: Callable[[str], int]) -> None:
        self._number = number
        self._held = 0
        self._make(_BITS)

    def read(self, data: bytes, kernel: ModuleType | None = None) -> Numbered:
        """Return the number of every word.

        Args:
            data: what `fold` gives.
            kernel: compiled loops to use instead of numpy's.
        """
        letters = np.frombuffer(data, dtype=np.uint8)
        eights: Words = np.frombuffer(data[: len(data) // 8 * 8], dtype="<u8")
        if kernel is not None:
            return self._read_compiled(kernel, data, letters, eights)
        # A space comes first, so that words begin and end by turns.
        in_word = np.concatenate([[False], letters > 32])
        edges = np.flatnonzero(in_word[1:] != in_word[:-1])
        starts, stops = edges[::2], edges[1::2]
        ends = np.flatnonzero(letters <= 10)
        numbers = self._numbers(data, eights, starts, stops)
        line_ends = np.searchsorted(starts, ends)
        return Numbered(numbers, line_ends, np.flatnonzero(letters[ends] == 0) + 1)

    def _read_compiled(
        self, kernel: ModuleType, data: bytes, letters: NDArray[np.uint8], eights: Words
    ) -> Numbered:
        room = len(data) // 2 + 1
        words = np.empty(room, dtype=np.int64)
        unknown = np.empty((room, 2), dtype=np.int64)
        line_ends, text_ends = (np.empty(len(data), dtype=np.int64) for _ in range(2))
        table = self._low, self._high, self._ids, np.array([_MIX, _MIX_MORE]), self._shift
        count, lines, texts, new = kernel.cut_words(
            letters, eights, *table, words, unknown, line_ends, text_ends
        )
        words = words[:count]
        if new:
            starts, stops = unknown[:new].T
            numbers = self._numbers(data, eights, starts.copy(), stops.copy())
            place = np.flatnonzero(words < 0)
            words[place] = numbers[-1 - words[place]]
        return Numbered(words, line_ends[:lines], text_ends[:texts])

    def _numbers(self, data: bytes, eights: Words, starts: Indices, stops: Indices) -> Indices:
        """Return the numbers of words by their places, having added those that are new."""
        lengths = stops - starts
        low, high, long = _letters(eights, starts, lengths)
        slots = self._slots(low, high, long)
        numbers = self._ids[slots]
        # A word of up to seven letters has a zero behind it, which no longer word has there.
        other = self._low[slots] != low
        other[long] |= self._high[slots[long]] != high[long]
        over = np.flatnonzero(lengths > _LETTERS)
        other[over] = False
        sought = np.flatnonzero(other)
        # A few words first, then more: text repeats its words, so most of the others are known
        # when their turn comes.
        count = _NEW
        while len(sought):
            some, sought, count = sought[:count], sought[count:], 2 * count
            absent = self._find(low, high, numbers, some)
            if len(absent):
                words = _words(data, starts[absent], stops[absent])
                new = dict(zip(words, absent.tolist(), strict=True))
                once = np.array(list(new.values()))
                self._add(low[once], high[once], np.array([self._number(word) for word in new]))
                self._find(low, high, numbers, absent)
        numbers[over] = [self._number(word) for word in _words(data, starts[over], stops[over])]
        return numbers

    def _slots(self, low: Words, high: Words, long: Indices | slice = _ALL) -> Indices:
        """Return where words belong; `long` are those that may have something in `high`."""
        mixed = low * _MIX
        mixed[long] += high[long] * _MIX_MORE
        mixed >>= self._shift
        return mixed.view(np.int64)

    def _find(self, low: Words, high: Words, numbers: Indices, sought: Indices) -> Indices:
        """Fill in the numbers of the words sought; return those that the table has not."""
        places = self._slots(low[sought], high[sought])
        absent = [sought[:0]]
        while len(sought):
            found = (self._low[places] == low[sought]) & (self._high[places] == high[sought])
            numbers[sought[found]] = self._ids[places[found]]
            empty = self._ids[places] < 0
            absent.append(sought[empty])
            going_on = ~(found | empty)
            sought, places = sought[going_on], (places[going_on] + 1) & self._mask
        return np.sort(np.concatenate(absent))

    def _add(self, low: Words, high: Words, numbers: Indices) -> None:
        """Put words into the table that are not in it, each given once."""
        self._held += len(low)
        if self._held * 4 > len(self._ids):
            kept = self._ids >= 0
            low = np.concatenate([self._low[kept], low])
            high = np.concatenate([self._high[kept], high])
            numbers = np.concatenate([self._ids[kept], numbers])
            self._make((self._held * 8).bit_length())
        places = self._slots(low, high)
        while len(low):
            free = self._ids[places] < 0
            # Where several want one place, the last has it; the others see that and go on.
            self._low[places[free]], self._high[places[free]] = low[free], high[free]
            mine = (self._low[places] == low) & (self._high[places] == high)
            self._ids[places[mine]] = numbers[mine]
            low, high, numbers = low[~mine], high[~mine], numbers[~mine]
            places = (places[~mine] + 1) & self._mask

    def _make(self, bits: int) -> None:
        self._shift, self._mask = np.uint64(64 - bits), (1 << bits) - 1
        # No word is (0, 0), so an empty place never equals one.
        self._low = np.zeros(1 << bits, dtype=np.uint64)
        self._high = np.zeros(1 << bits, dtype=np.uint64)
        self._ids = np.full(1 << bits, -1, dtype=np.int64)


def _words(data: bytes, starts: Indices, stops: Indices) -> list[str]:
    places = zip(starts.tolist(), stops.tolist(), strict=True)
    return [data[start:stop].decode("ascii") for start, stop in places]


def _letters(eights: Words, starts: Indices, lengths: Indices) -> tuple[Words, Words, Indices]:
    """Return the first and the next eight letters of words, as integers, and words of over seven.

    Only these have anything in the second.
    """
    low = _eight(eights, starts)
    low &= _FIRST[np.minimum(lengths, 8)]
    high = np.zeros_like(low)
    long = np.flatnonzero(lengths > 7)
    high[long] = _eight(eights, starts[long] + 8) & _FIRST[np.minimum(lengths[long] - 8, 8)]
    return low, high, long


def _eight(eights: Words, places: Indices) -> Words:
    """Return the eight bytes from each place on: two aligned reads are faster than one other."""
    first, bits = places >> 3, ((places & 7) << 3).view(np.uint64)
    low: Words = eights[first] >> bits
    # By two steps, because a shift by all 64 bits is not defined.
    low |= (eights[first + 1] << _ONE) << (_LAST - bits)
    return low
