"""Units that ROUGE-1.5.5 counts: n-grams, skip-bigrams and basic elements.

Lin 2004, "ROUGE: A Package for Automatic Evaluation of Summaries", sections 2 and 5; Hovy, Lin,
Zhou and Fukumoto 2006, "Automated Summarization Evaluation with Basic Elements".
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from loratory.metrics.rouge.ngram import ngram_hits

__all__ = ["elements", "ngram_units", "skip_hits", "skip_units", "start_hits"]

_NIL = "nil"


def ngram_units(words: int, n: int) -> int:
    """Return how many n-grams a text of so many words has."""
    return max(words - n + 1, 0)


def skip_units(words: int, gap: int) -> int:
    """Return how many skip-bigrams a text of so many words has.

    Args:
        words: 0 or more.
        gap: most words between the two; negative for no limit.
    """
    longest = max(words - 1, 0)
    reach = longest if gap < 0 else min(gap + 1, longest)
    return reach * words - reach * (reach + 1) // 2


def skip_hits(left: Sequence[int], right: Sequence[int], gap: int) -> int:
    """Return the skip-bigrams two texts share, each as often as in both.

    Pairs are counted first word by first word, so that memory grows with the texts and not
    with their square.

    Args:
        left: word numbers.
        right: word numbers.
        gap: most words between the two; negative for no limit.
    """
    one, other = _places(left), _places(right)
    return sum(
        (_followers(left, places, gap) & _followers(right, other[word], gap)).total()
        for word, places in one.items()
        if word in other
    )


def start_hits(left: Sequence[int], right: Sequence[int]) -> int:
    """Return the words two texts share as ROUGE-SU adds them: the last of each text is not one.

    The script pairs the beginning of a sentence with every word that may begin a skip-bigram,
    and the last word begins none.
    """
    return ngram_hits(left[:-1], right[:-1], 1)


def elements(parts: Iterable[tuple[str, str, str]], mode: str) -> Iterator[tuple[str, ...]]:
    """Yield the units of basic elements; each element gives one, or none.

    An element without a modifier (`nil`) is one of a head alone.

    Args:
        parts: head, modifier and relation of each.
        mode: `H`: heads alone. `HM`: head and modifier, where there is one. `HMR`: the whole,
            where there is a relation. `HM1`: H or HM. `HMR1`: the whole, where there is a
            modifier. `HMR2`: all of them, whole.
    """
    for head, modifier, relation in parts:
        alone = modifier == _NIL
        if mode in ("H", "HM1") and alone:
            yield (head,)
        elif mode in ("HM", "HM1") and not alone:
            yield head, modifier
        elif (
            mode == "HMR2" or (mode == "HMR" and relation != _NIL) or (mode == "HMR1" and not alone)
        ):
            yield head, modifier, relation


def _places(ids: Sequence[int]) -> dict[int, list[int]]:
    places: dict[int, list[int]] = {}
    for position, word in enumerate(ids):
        places.setdefault(word, []).append(position)
    return places


def _followers(ids: Sequence[int], places: Sequence[int], gap: int) -> Counter[int]:
    """Return how often each word follows those at `places`, within the gap."""
    followers: Counter[int] = Counter()
    for place in places:
        followers.update(ids[place + 1 : None if gap < 0 else place + 2 + gap])
    return followers
