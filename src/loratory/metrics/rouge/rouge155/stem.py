"""The stemmer of ROUGE-1.5.5: WordNet's irregular forms, then a variant of Porter's rules.

Porter 1980, "An algorithm for suffix stripping", Program 14(3). The variant was inferred from
what the script scores on tens of thousands of words. It departs from the paper in `-bli` and
`-logi` of step 2, in pairs of y, which are kept before -ed and -ing, and in step 4, which has
three turns and not one, so that `experimental` loses `-al` and `-ment`.
"""

from __future__ import annotations

from functools import cache, lru_cache
from importlib import resources

from loratory.metrics.rouge.stem import measure_of, shape_of

__all__ = ["irregular_forms", "porter", "stem"]

_Rules = dict[str, str]


def _rules(table: str) -> _Rules:
    """Parse `ational>ate`: ending > replacement."""
    return dict(entry.split(">") for entry in table.split())


_STEP_2 = _rules(
    "ational>ate tional>tion enci>ence anci>ance izer>ize bli>ble alli>al entli>ent eli>e "
    "ousli>ous ization>ize ation>ate ator>ate alism>al iveness>ive fulness>ful ousness>ous "
    "aliti>al iviti>ive biliti>ble logi>log"
)
_STEP_3 = _rules("icate>ic ative> alize>al iciti>ic ical>ic ful> ness>")
_STEP_4 = (
    _rules("al> ance> ence> er> ic> able> ible> ant> ou> ism> ate> iti> ous> ive> ize> ement>"),
    _rules("ment>"),
    _rules("ent> ion>"),
)
_LONGEST = 7  # letters of the longest ending


# Text repeats its words; the bound keeps a long-lived process from growing without end.
@lru_cache(maxsize=1 << 16)
def stem(word: str, irregular: bool = True) -> str:
    """Return the stem of a word; words of up to three characters are their own.

    Args:
        word: in lower case. Whatever is not a vowel counts as a consonant.
        irregular: whether irregular forms come first; their base form is then the stem, not
            stemmed further.
    """
    if len(word) <= 3:
        return word
    return (irregular_forms().get(word) if irregular else None) or porter(word)


@cache
def irregular_forms() -> dict[str, str]:
    """Return the base form of each of WordNet 2.0's irregular forms."""
    file = resources.files(__package__).joinpath("irregular_forms.txt")
    return dict(line.split(" ") for line in file.read_text(encoding="ascii").splitlines())


def porter(word: str) -> str:
    """Return what the rules make of a word of four characters or more, in lower case."""
    word = _past_and_gerund(_plural(word))
    if word.endswith("y") and b"v" in shape_of(word[:-1]):
        word = word[:-1] + "i"
    for rules in (_STEP_2, _STEP_3):
        word = _replace(word, rules, above=0)
    for rules in _STEP_4:
        word = _replace(word, rules, above=1)
    return _final_letters(word)


def _short(word: str) -> bool:
    """Tell whether a stem ends like `hop`: consonant, vowel, consonant other than w, x, y."""
    return shape_of(word).endswith(b"cvc") and word[-1] not in "wxy"


def _replace(word: str, rules: _Rules, above: int) -> str:
    """Apply the rule of the longest ending, if more than `above` is left as measure."""
    for start in range(max(0, len(word) - _LONGEST), len(word)):
        ending = word[start:]
        if ending in rules:
            rest = word[:start]
            if ending == "ion" and rest[-1:] not in ("s", "t"):
                return word
            return rest + rules[ending] if measure_of(shape_of(rest)) > above else word
    return word


def _plural(word: str) -> str:
    """Step 1a: sses, ies, s."""
    if word.endswith(("sses", "ies")):
        return word[:-2]
    if word.endswith("s") and not word.endswith("ss"):
        return word[:-1]
    return word


def _past_and_gerund(word: str) -> str:
    """Step 1b: eed, ed, ing, and what is put right after taking -ed or -ing off."""
    if word.endswith("eed"):
        return word[:-1] if measure_of(shape_of(word[:-3])) > 0 else word
    for ending in ("ed", "ing"):
        rest = word.removesuffix(ending)
        if rest != word and b"v" in shape_of(rest):
            break
    else:
        return word
    if rest.endswith(("at", "bl", "iz")):
        return rest + "e"
    if rest[-1] == rest[-2:-1] and rest[-1] not in "aeiouylsz":
        return rest[:-1]
    return rest + "e" if measure_of(shape_of(rest)) == 1 and _short(rest) else rest


def _final_letters(word: str) -> str:
    """Step 5: a final e, then one of two final l."""
    if word.endswith("e"):
        measure = measure_of(shape_of(word[:-1]))
        if measure > 1 or (measure == 1 and not _short(word[:-1])):
            word = word[:-1]
    return word[:-1] if word.endswith("ll") and measure_of(shape_of(word)) > 1 else word
