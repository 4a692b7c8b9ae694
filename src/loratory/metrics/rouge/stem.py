"""The Porter stemmer (Porter 1980, "An algorithm for suffix stripping", Program 14(3)).

ROUGE is defined on stems as rouge_score takes them from NLTK, whose default mode departs
from the paper: a list of irregular words, untouched words of one or two letters, `-ied` and
four-letter `-ies` kept apart from `-i`, `y` to `i` after any consonant but the first letter,
`-bli`, `-alli`, `-fulli` and `-logi` in step 2, and two-letter stems such as `ag-` taken as
short ones. The numbers only agree when every one of these does.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

__all__ = ["measure_of", "shape_of", "stem"]

_IRREGULAR = {
    "skies": "sky",
    "sky": "sky",
    "dying": "die",
    "lying": "lie",
    "tying": "tie",
    "news": "news",
    "innings": "inning",
    "inning": "inning",
    "outings": "outing",
    "outing": "outing",
    "cannings": "canning",
    "canning": "canning",
    "howe": "howe",
    "proceed": "proceed",
    "exceed": "exceed",
    "succeed": "succeed",
}

_Rule = tuple[str, str, int]


def _rules(table: str) -> Mapping[str, tuple[_Rule, ...]]:
    """Parse `ational>ate l+ogi>og`: ending > replacement, after + letters that must precede.

    Returns rules by the last two letters of their endings: what must stand at the end, what
    replaces the ending, and the ending's length.
    """
    parsed: dict[str, tuple[_Rule, ...]] = {}
    for entry in table.split():
        left, replacement = entry.split(">")
        kept, _, ending = left.rpartition("+")
        rule = kept + ending, replacement, len(ending)
        parsed[ending[-2:]] = (*parsed.get(ending[-2:], ()), rule)
    return parsed


# The first ending that fits decides, so longer ones stand before their own tails.
_STEP_2 = _rules(
    "ational>ate tional>tion enci>ence anci>ance izer>ize bli>ble entli>ent eli>e ousli>ous "
    "ization>ize ation>ate ator>ate alism>al iveness>ive fulness>ful ousness>ous aliti>al "
    "iviti>ive biliti>ble fulli>ful l+ogi>og"
)
_STEP_3 = _rules("icate>ic ative> alize>al iciti>ic ical>ic ful> ness>")
_STEP_4 = _rules(
    "al> ance> ence> er> ic> able> ible> ant> ement> ment> ent> s+ion> t+ion> ou> ism> ate> "
    "iti> ous> ive> ize>"
)


# The last two letters of words that some step may change and that end neither in s, y nor e.
_ENDS = {"ed", "ng", "ll"}.union(_STEP_2, _STEP_3, _STEP_4)

# Of each byte; y is one or the other, by what is before it.
_SHAPES = bytes(ord("v") if chr(code) in "aeiou" else ord("c") for code in range(256))
_CONSONANT, _VOWEL = b"cv"


# Text repeats its words; the bound keeps a long-lived process from growing without end.
@lru_cache(maxsize=1 << 16)
def stem(word: str) -> str:
    """Return the stem of one word, in lower case.

    Args:
        word: a word without spaces. Digits and letters outside a to z count as consonants.

    Returns:
        What `nltk.stem.porter.PorterStemmer().stem(word)` gives. Never empty for a word of
        letters and digits.
    """
    lower = word.lower()
    if lower in _IRREGULAR:
        return _IRREGULAR[lower]
    if len(word) <= 2:
        return lower
    # Most words have none of the endings that any step looks at.
    if lower[-1] not in "sye" and lower[-2:] not in _ENDS:
        return lower
    lower = _plural(lower)
    # A word goes with its shape, which costs more than the rest if it is made anew.
    lower, shape = _past_and_gerund(lower, shape_of(lower))
    if lower.endswith("y") and len(lower) > 2 and shape[-2] == _CONSONANT:
        lower, shape = lower[:-1] + "i", shape[:-1] + b"v"
    # -ally is -al with -ly: `relationalli` is to meet the rule of `relational`.
    if lower.endswith("alli") and measure_of(shape[:-4]) > 0:
        lower, shape = lower[:-2], shape[:-2]
    for rules, above in ((_STEP_2, 0), (_STEP_3, 0), (_STEP_4, 1)):
        for end, replacement, length in rules.get(lower[-2:], ()):
            if lower.endswith(end):
                if measure_of(shape[:-length]) > above:
                    lower = lower[:-length] + replacement
                    shape = shape[:-length] + shape_of(replacement)
                break
    return _final_letters(lower, shape)


def shape_of(word: str) -> bytes:
    """Return one `c` or `v` a letter; y is a vowel after a consonant."""
    shape = word.encode("ascii", "replace").translate(_SHAPES)
    if "y" not in word:
        return shape
    letters = bytearray(shape)
    for place in range(1, len(word)):
        if word[place] == "y" and letters[place - 1] == _CONSONANT:
            letters[place] = _VOWEL
    return bytes(letters)


def measure_of(shape: bytes) -> int:
    """Return m of the paper's [C](VC){m}[V]."""
    return shape.count(b"vc")


def _short(word: str, shape: bytes) -> bool:
    """Tell whether a stem ends like `hop` or is like `ag`: its final e is to be kept."""
    return shape == b"vc" or (shape.endswith(b"cvc") and word[-1] not in "wxy")


def _plural(word: str) -> str:
    """Step 1a: sses, ies, s."""
    if not word.endswith("s") or word.endswith("ss"):
        return word
    if word.endswith("ies"):
        return word[:-1] if len(word) == 4 else word[:-2]
    return word[:-2] if word.endswith("sses") else word[:-1]


def _past_and_gerund(word: str, shape: bytes) -> tuple[str, bytes]:
    """Step 1b: ied, eed, ed, ing, and what is put right after taking -ed or -ing off."""
    if word.endswith("ied"):
        size = len(word) - 1 if len(word) == 4 else len(word) - 2
        return word[:size], shape[:size]
    if word.endswith("eed"):
        return (word[:-1], shape[:-1]) if measure_of(shape[:-3]) > 0 else (word, shape)
    taken = 2 if word.endswith("ed") else 3 if word.endswith("ing") else 0
    if not taken or _VOWEL not in shape[:-taken]:
        return word, shape
    word, shape = word[:-taken], shape[:-taken]
    if word.endswith(("at", "bl", "iz")):
        return word + "e", shape + b"v"
    if word[-1] == word[-2:-1] and shape.endswith(b"c"):
        return (word, shape) if word[-1] in "lsz" else (word[:-1], shape[:-1])
    if measure_of(shape) == 1 and _short(word, shape):
        return word + "e", shape + b"v"
    return word, shape


def _final_letters(word: str, shape: bytes) -> str:
    """Step 5: a final e, then one of two final l."""
    if word.endswith("e"):
        measure = measure_of(shape[:-1])
        if measure > 1 or (measure == 1 and not _short(word[:-1], shape[:-1])):
            word, shape = word[:-1], shape[:-1]
    return word[:-1] if word.endswith("ll") and measure_of(shape[:-1]) > 1 else word
