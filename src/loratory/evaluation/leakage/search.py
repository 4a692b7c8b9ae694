"""Rows that stand in more than one split, exactly or nearly, found before training.

A test row that was trained on is answered from memory, and its score says nothing of other rows.
Lee et al. 2022, "Deduplicating Training Data Makes Language Models Better" (arXiv 2107.06499),
found near duplicates of training rows in the test sets of well-known data. Compared is what the
model is given; whether the answers agree is told beside it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from loratory.errors import DataError
from loratory.metrics.array import Array
from loratory.metrics.jaccard import MOST_PAIRS, candidates, similar
from loratory.metrics.shingles import ngram_sets, without_common
from loratory.records import Example

__all__ = ["ACROSS", "NAMES", "Leak", "Leakage", "Treated", "find_leaks", "treat_leaks"]

NAMES = {"train": "training", "validation": "validation", "test": "test"}
"""What the splits are called in sentences."""
ACROSS = (("test", "train"), ("test", "validation"), ("validation", "train"))

COMMON, FROM_TEXTS = 0.5, 20
"""Of at least so many texts, n-grams that stand in a larger share do not count."""


class Leak(NamedTuple):
    """A row, and the row most like it in another split, or among the others of its own."""

    split: str
    id: str
    other: str
    other_id: str
    similarity: float
    """Jaccard's of word n-grams; 1 for exact doubles."""
    exact: bool
    """The same text, case and white space apart."""
    same_answer: bool
    """Some row of `other` with that text has the same answer."""


@dataclass(frozen=True)
class Leakage:
    """What was found in the splits as they were."""

    leaks: tuple[Leak, ...]
    """For each row and each split with a double of it, one; in the rows' order."""
    rows: Mapping[str, int]
    """Of each split."""
    similarity: float
    ngram: int
    complete: bool
    """False where the rows are so alike that not all pairs could be compared."""

    def ids(self, split: str, others: Iterable[str]) -> list[str]:
        """Return the rows of a split that have a double in any of the others."""
        wanted = set(others)
        found = (x.id for x in self.leaks if x.split == split and x.other in wanted)
        return list(dict.fromkeys(found))


class Treated(NamedTuple):
    """The splits to train and test on, and how many rows each has lost."""

    splits: dict[str, list[Example]]
    dropped: dict[str, int]


def find_leaks(
    splits: Mapping[str, Sequence[Example]],
    *,
    similarity: float = 0.8,
    ngram: int = 3,
    most: int = MOST_PAIRS,
) -> Leakage:
    """Look for rows that stand in more than one split, or twice in one.

    A row's text is what the model is given: its source, and the turns of a chat before it, the
    system's left out. Exact doubles are the same text, case and white space apart. Near ones share
    so many of their word n-grams; n-grams that stand in more than half of all texts do not count.

    Args:
        splits: examples by split; ids are unique within a split.
        similarity: Jaccard similarity from which two texts are near duplicates.
        ngram: words in an n-gram.
        most: candidate pairs to look at, beyond which the search is thinned.
    """
    rows = [(split, example) for split, examples in splits.items() for example in examples]
    numbers: dict[str, int] = {}
    group = [numbers.setdefault(_key(example), len(numbers)) for _, example in rows]
    names = list(splits)
    # Of each text and split: the rows that hold it, and how often each answer is given.
    members: defaultdict[tuple[int, str], list[str]] = defaultdict(list)
    answers: defaultdict[tuple[int, str], Counter[Any]] = defaultdict(Counter)
    for number, (split, example) in zip(group, rows, strict=True):
        members[number, split].append(example.id)
        answers[number, split][_answer(example)] += 1
    here = np.zeros((len(numbers), len(names)), dtype=np.bool_)
    for number, split in members:
        here[number, names.index(split)] = True

    first = {number: i for i, number in reversed(list(enumerate(group)))}
    sets = ngram_sets([_text(rows[first[i]][1]) for i in range(len(numbers))], ngram)
    sets = without_common(sets, COMMON, FROM_TEXTS)
    best = np.zeros(here.shape)
    partner = np.full(here.shape, -1, dtype=np.int64)
    for pairs in similar(sets, similarity, most):
        _note(pairs.first, pairs.second, pairs.similarity, here, best, partner)
        _note(pairs.second, pairs.first, pairs.similarity, here, best, partner)

    leaks = []
    for number, (split, example) in zip(group, rows, strict=True):
        said = _answer(example)
        for place, other in enumerate(names):
            own = split == other
            same = members.get((number, other), [])
            if len(same) > own:
                agree = answers[number, other][said] > own
                double = next(x for x in same if not own or x != example.id)
                leaks.append(Leak(split, example.id, other, double, 1.0, True, agree))
            elif (near := int(partner[number, place])) >= 0:
                agree = said in answers[near, other]
                double, share = members[near, other][0], float(best[number, place])
                leaks.append(Leak(split, example.id, other, double, share, False, agree))
    return Leakage(
        leaks=tuple(leaks),
        rows={split: len(examples) for split, examples in splits.items()},
        similarity=similarity,
        ngram=ngram,
        complete=candidates(sets, similarity) <= most,
    )


def _note(one: Any, two: Any, similarity: Array, here: Any, best: Array, partner: Any) -> None:
    """Keep of each text, and each split, the text most like it there; of equals, the first."""
    for place in range(best.shape[1]):
        there = here[two, place]
        a, b, how = one[there], two[there], similarity[there]
        order = np.lexsort((b, -how, a))
        a, b, how = a[order], b[order], how[order]
        first = np.ones(len(a), dtype=np.bool_)
        first[1:] = a[1:] != a[:-1]
        a, b, how = a[first], b[first], how[first]
        old = best[a, place]
        better = (how > old) | ((how == old) & (b < partner[a, place]))
        best[a[better], place], partner[a[better], place] = how[better], b[better]


def _text(example: Example) -> str:
    turns = [turn.content for turn in example.context if turn.role != "system"]
    return "\n".join([*turns, example.source])


def _key(example: Example) -> str:
    return " ".join(_text(example).split()).casefold()


def _answer(example: Example) -> Any:
    if example.label is not None:
        return example.label
    return " ".join(example.references[0].split()).casefold() if example.references else None


def treat_leaks(splits: Mapping[str, Sequence[Example]], leakage: Leakage, action: str) -> Treated:
    """Do with the leaked rows what the recipe says; the test split is never changed.

    `drop` takes out training rows with a double in validation or test, and validation rows with one
    in test. Then no row of one split has a double in another. `report` changes nothing.

    Args:
        splits: examples by split.
        leakage: what was found in them.
        action: `report`, `drop` or `refuse`.

    Raises:
        DataError: rows leak and the action is `refuse`, or dropping them leaves a split empty.
    """
    kept = {split: list(examples) for split, examples in splits.items()}
    across = [leak for leak in leakage.leaks if (leak.split, leak.other) in ACROSS]
    if action == "report" or not across:
        return Treated(kept, {})
    if action == "refuse":
        worst = max(across, key=lambda leak: (leak.split == "test", leak.similarity))
        raise DataError(
            f"{_counted(leakage)} The closest are '{worst.id}' and '{worst.other_id}' (similarity "
            f"{worst.similarity:.2f}). Take them out of the data, or set leakage.action: drop to "
            "leave them out of training and validation."
        )
    dropped = {}
    for split, others in (("train", ("validation", "test")), ("validation", ("test",))):
        out = set(leakage.ids(split, others))
        if not out:
            continue
        kept[split] = [example for example in kept[split] if example.id not in out]
        dropped[split] = len(out)
        if not kept[split]:
            raise DataError(
                f"leakage.action: drop leaves no {NAMES[split]} row: each also stands in "
                f"{' or '.join(others)}. Give other rows, or raise leakage.similarity."
            )
    return Treated(kept, dropped)


def _counted(leakage: Leakage) -> str:
    parts = []
    for split, other in ACROSS:
        if count := len(leakage.ids(split, [other])):
            parts.append(f"{count} {NAMES[split]} rows also stand in {NAMES[other]}")
    return f"data: {', '.join(parts)}, exactly or nearly."
