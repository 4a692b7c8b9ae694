"""Tokens of any language: Unicode words, or characters, of normalised text.

Text is normalised first: invisible format characters (joiners, soft hyphens, direction marks,
variation selectors) go, then NFKC, full case folding, and NFKC once more (Unicode Standard
Annex 15; "NFKC_Casefold" of the Unicode Character Database, near enough). So full-width
letters, ligatures and half-width Katakana equal their plain forms; accents stay.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from functools import cache

__all__ = ["characters", "fold", "folded_pieces", "unicode_words"]

# First and last code points of what is never seen: soft hyphen, direction marks, joiners,
# invisible operators, byte order mark, variation selectors.
_INVISIBLE_RANGES = (
    (0x00AD, 0x00AD),
    (0x061C, 0x061C),
    (0x180B, 0x180F),
    (0x200C, 0x200F),
    (0x202A, 0x202E),
    (0x2060, 0x206F),
    (0xFE00, 0xFE0F),
    (0xFEFF, 0xFEFF),
    (0xE0100, 0xE01EF),
)
_INVISIBLE = dict.fromkeys(
    code for first, last in _INVISIBLE_RANGES for code in range(first, last + 1)
)

# Letters of scripts that are written without spaces: each is a token with its marks.
_UNSPACED = (
    "\u3005-\u3007\u3021-\u3029\u3038-\u303b\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"  # Han
    "\U00020000-\U000323af"  # Han, rarer
    "\u3041-\u30ff\u31f0-\u31ff\U0001b000-\U0001b16f"  # Hiragana, Katakana
    "\u3100-\u312f\u31a0-\u31bf"  # Bopomofo
    "\u0e00-\u0eff"  # Thai, Lao
    "\u1780-\u17ff"  # Khmer
    "\u1000-\u109f\ua9e0-\ua9ff\uaa60-\uaa7f"  # Burmese
    "\u1950-\u19df\u1a20-\u1aaf"  # Tai Le, New Tai Lue, Tai Tham
)
# Burmese virama and Khmer coeng put the next consonant beneath the one before.
_STACKING = "\u1039\u17d2"


def fold(text: str) -> str:
    """Return a text as its tokens are compared."""
    if text.isascii():
        return text.lower()
    visible = unicodedata.normalize("NFKC", text.translate(_INVISIBLE))
    return unicodedata.normalize("NFKC", visible.casefold())


def unicode_words(text: str) -> list[str]:
    """Return the words of a text: runs of letters, digits and the marks upon them.

    Han, Hiragana, Katakana, Thai, Lao, Khmer and Burmese have no spaces between words; there,
    each letter with its marks is a token, and a run of digits one. Everything else separates
    words, apostrophes and underscores included. On ASCII text these are rouge_score's words.
    """
    return _words().findall(fold(text))


def characters(text: str) -> list[str]:
    """Return the code points of a text without white space, punctuation and control codes.

    Letters, marks, digits and symbols stay, in NFKC: an accented Latin letter is one, an Indic
    vowel sign another than its consonant.
    """
    return [char for char in fold(text) if _counts(char)]


def folded_pieces(text: str) -> tuple[Sequence[str], Sequence[tuple[int, int]]]:
    """Return `fold(text)` in pieces, and which characters of the text each comes from.

    A piece is the form of as many characters as normalisation may join. Joined, the pieces are
    `fold(text)`.
    """
    spans = list(_joined(text))
    return [fold(text[start:stop]) for start, stop in spans], spans


def _joined(text: str) -> Iterator[tuple[int, int]]:
    start = 0
    for position, char in enumerate(text):
        if position and not _joins(char):
            yield start, position
            start = position
    if text:
        yield start, len(text)


@cache
def _joins(char: str) -> bool:
    """Return whether a character may merge with those before: marks, later parts of Hangul."""
    if ord(char) in _INVISIBLE:
        return True
    first = unicodedata.normalize("NFKC", char)[0]
    return unicodedata.category(first)[0] == "M" or "\u1160" <= first <= "\u11ff"


@cache
def _counts(char: str) -> bool:
    return unicodedata.category(char)[0] in "LMNS"


@cache
def _words() -> re.Pattern[str]:
    marks = _marks()
    letter = rf"(?:[^\W_{_UNSPACED}]|\d)"
    alone = rf"(?=[^\W\d_])[{_UNSPACED}](?:[{marks}]|(?<=[{_STACKING}])[{_UNSPACED}])*"
    return re.compile(rf"{alone}|{letter}(?:[^\W_{_UNSPACED}]|\d|[{marks}])*")


def _marks() -> str:
    """Return the combining marks as the inside of a character class; `re` has no name for them."""
    ranges: list[list[int]] = []
    for code in range(0x300, 0x1F000):  # later marks are variation selectors, which are gone
        if unicodedata.category(chr(code))[0] == "M":
            if ranges and ranges[-1][1] == code - 1:
                ranges[-1][1] = code
            else:
                ranges.append([code, code])
    return "".join(f"{chr(first)}-{chr(last)}" for first, last in ranges)
