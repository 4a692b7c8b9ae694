"""Units of two texts that match, where words may match through synonyms.

Words are compared one by one: an n-gram matches another of n words that match in their order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from loratory.metrics.rouge.rouge2.lexicon import Lexicon, Matches
from loratory.metrics.rouge.rouge2.matching import max_matching

__all__ = ["form_hits", "lcs_hits", "ngram_hits"]

Ngram = tuple[str, ...]
_Tree = dict[str, "_Tree"]


def ngram_hits(left: Sequence[str], right: Sequence[str], n: int, lexicon: Lexicon) -> int:
    """Return the most n-grams of two lists of words that can be matched one to one.

    As matching is not transitive, counting from left to right could miss some and would depend
    on the order; the maximum does not, and is the same from either side.
    """
    predicted, expected = Counter(_ngrams(left, n)), Counter(_ngrams(right, n))
    index = {gram: i for i, gram in enumerate(expected)}
    tree = _tree(expected)
    matches = lexicon.matches(left, right)
    edges = [[index[other] for other in _matching(gram, tree, matches)] for gram in predicted]
    return max_matching(list(predicted.values()), list(expected.values()), edges)


def form_hits(left: Iterable[str], right: Iterable[str], lexicon: Lexicon) -> int:
    """Return the most distinct forms of two lists of words that can be matched one to one.

    Two forms match if words of theirs in these lists do.
    """
    predicted, expected = set(left), set(right)
    index: dict[int, int] = {}
    for word in expected:
        index.setdefault(lexicon.form(word), len(index))
    edges: dict[int, set[int]] = {}
    for word, others in lexicon.matches(predicted, expected).items():
        reached = edges.setdefault(lexicon.form(word), set())
        reached.update(index[lexicon.form(other)] for other in others)
    return max_matching([1] * len(edges), [1] * len(index), [sorted(e) for e in edges.values()])


def lcs_hits(left: Sequence[str], right: Sequence[str], lexicon: Lexicon) -> int:
    """Return the length of the longest common subsequence of two lists of words.

    The table by bits of Hyyrö 2004 asks only which words match, so synonyms change nothing.
    """
    if len(left) < len(right):
        left, right = right, left  # fewer bits, more steps
    matches = lexicon.matches(left, right)
    # Words that match at either end belong to some longest subsequence.
    start = 0
    while start < len(right) and right[start] in matches[left[start]]:
        start += 1
    end = 0
    while end < len(right) - start and right[-1 - end] in matches[left[-1 - end]]:
        end += 1
    left, right = left[start : len(left) - end], right[start : len(right) - end]
    places: dict[str, int] = {}
    for position, word in enumerate(right):
        places[word] = places.get(word, 0) | 1 << position
    equal = {word: _union(places, matches[word]) for word in set(left)}
    full = (1 << len(right)) - 1
    level = full
    for word in left:
        both = level & equal[word]
        level = ((level + both) | (level - both)) & full
    return start + end + (full ^ level).bit_count()


def _ngrams(words: Sequence[str], n: int) -> Iterator[Ngram]:
    return zip(*(words[start:] for start in range(n)), strict=False)


def _union(places: Mapping[str, int], words: Iterable[str]) -> int:
    bits = 0
    for word in words:
        bits |= places.get(word, 0)
    return bits


def _tree(ngrams: Iterable[Ngram]) -> _Tree:
    """Return n-grams as nested dictionaries, first words outermost."""
    root: _Tree = {}
    for ngram in ngrams:
        node = root
        for word in ngram:
            node = node.setdefault(word, {})
    return root


def _matching(ngram: Ngram, tree: _Tree, matches: Matches) -> list[Ngram]:
    """Return the n-grams of a tree that match one, word by word."""
    found: list[tuple[Ngram, _Tree]] = [((), tree)]
    for word in ngram:
        wanted = matches[word]
        found = [
            ((*start, other), node[other])
            for start, node in found
            for other in (wanted if len(wanted) < len(node) else node)
            if other in node and other in wanted
        ]
    return [ngram for ngram, _ in found]
