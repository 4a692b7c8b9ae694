"""The Porter stemmer (Porter 1980, "An algorithm for suffix stripping", Program 14(3)).

ROUGE is defined on stems as rouge_score takes them from NLTK, whose default mode departs
from the paper: a list of irregular words, untouched words of one or two letters, `-ied` and
four-letter `-ies` kept apart from `-i`, `y` to `i` after any consonant but the first letter,
`-bli`, `-alli`, `-fulli` and `-logi` in step 2, and two-letter stems such as `ag-` taken as
short ones. The numbers only agree when every one of these does.
"""

from __future__ import annotations

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

_Rule = tuple[str, str, str]


def _rules(table: str) -> tuple[_Rule, ...]:
    """Parse `ational>ate l+ogi>og`: ending > replacement, after + letters that must precede."""
    parsed = []
    for entry in table.split():
        left, replacement = entry.split(">")
        kept, _, ending = left.rpartition("+")
        parsed.append((kept, ending, replacement))
    return tuple(parsed)


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
    lower = _past_and_gerund(_plural(lower))
    if lower.endswith("y") and len(lower) > 2 and shape_of(lower)[-2] == "c":
        lower = lower[:-1] + "i"
    # -ally is -al with -ly: `relationalli` is to meet the rule of `relational`.
    if lower.endswith("alli") and measure_of(lower[:-4]) > 0:
        lower = lower[:-2]
    lower = _replace(lower, _STEP_2, above=0)
    lower = _replace(lower, _STEP_3, above=0)
    lower = _replace(lower, _STEP_4, above=1)
    return _final_letters(lower)


def shape_of(word: str) -> str:
    """Return one `c` or `v` a letter; y is a vowel after a consonant."""
    shape = ""
    for letter in word:
        vowel = letter in "aeiou" or (letter == "y" and shape.endswith("c"))
        shape += "v" if vowel else "c"
    return shape


def measure_of(word: str) -> int:
    """Return m of the paper's [C](VC){m}[V]."""
    return shape_of(word).count("vc")


def _short(word: str) -> bool:
    """Tell whether a stem ends like `hop` or is like `ag`: its final e is to be kept."""
    shape = shape_of(word)
    return shape == "vc" or (shape.endswith("cvc") and word[-1] not in "wxy")


def _replace(word: str, rules: tuple[_Rule, ...], above: int) -> str:
    for kept, ending, replacement in rules:
        if word.endswith(kept + ending):
            rest = word[: -len(ending)]
            return rest + replacement if measure_of(rest) > above else word
    return word


def _plural(word: str) -> str:
    """Step 1a: sses, ies, s."""
    if word.endswith("ies"):
        return word[:-1] if len(word) == 4 else word[:-2]
    if word.endswith("sses"):
        return word[:-2]
    if word.endswith("s") and not word.endswith("ss"):
        return word[:-1]
    return word


def _past_and_gerund(word: str) -> str:
    """Step 1b: ied, eed, ed, ing, and what is put right after taking -ed or -ing off."""
    if word.endswith("ied"):
        return word[:-1] if len(word) == 4 else word[:-2]
    if word.endswith("eed"):
        return word[:-1] if measure_of(word[:-3]) > 0 else word
    for ending in ("ed", "ing"):
        rest = word.removesuffix(ending)
        if rest != word and "v" in shape_of(rest):
            break
    else:
        return word
    if rest.endswith(("at", "bl", "iz")):
        return rest + "e"
    if rest[-1] == rest[-2:-1] and shape_of(rest).endswith("c"):
        return rest if rest[-1] in "lsz" else rest[:-1]
    return rest + "e" if measure_of(rest) == 1 and _short(rest) else rest


def _final_letters(word: str) -> str:
    """Step 5: a final e, then one of two final l."""
    if word.endswith("e"):
        measure = measure_of(word[:-1])
        if measure > 1 or (measure == 1 and not _short(word[:-1])):
            word = word[:-1]
    return word[:-1] if word.endswith("ll") and measure_of(word[:-1]) > 1 else word
