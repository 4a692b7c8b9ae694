"""Counterfactual texts: the same text about the other group.

Whole words only, case kept, and all lists of the same two groups together, so that a name and its
pronouns change alike. His and her have two partners each in English. Which one is meant is decided
by the word that follows; `benchmarks/bias.py` measures how often that is right.

Nothing else of a text is changed. So "she is pregnant" becomes "he is pregnant", and the name of a
well-known person turns into that of nobody.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from loratory.errors import DataError
from loratory.records import Example
from loratory.tasks.draw import draw, sampled
from loratory.tasks.groups.wordlist import WordList

__all__ = [
    "Axis",
    "Swap",
    "Swaps",
    "axes",
    "mark",
    "origin",
    "swap",
    "swapped",
    "swapped_example",
]

# After "her" and before these stands no noun, so that it is an object ("told her that") and not a
# possessive ("told her story"). Words that do both ("her back", "her first") are left out.
_AFTER_OBJECT = frozenset(
    """
    a about across after again against all alone along also although always an and any anymore
    anyway are around as aside at away back be because been before behind being below beside
    between beyond but by can could did do does down during each either else enough entirely even
    everything except for forever forward from further had has have he here how however i if in
    inside instead into is it its just may me might my next no nor not now of off on
    or our out outside over since so some something somehow sometimes soon than that the
    their them then there these they this those though through till to today together tomorrow
    tonight too toward towards twice under unless until up upon us was we well were what when
    whenever where whether which while who whom whose why will with within without would yesterday
    yet you your
    """.split()  # noqa: SIM905
)
_AFTER_HERS = frozenset(
    """
    and are as at but by can could for from had has if in is nor of on or than that though to too
    was were when while will with would
    """.split()  # noqa: SIM905
)
_ADJECTIVES = frozenset(
    """
    chilly costly cuddly curly daily deadly early elderly family friendly ghastly godly homely jolly
    kindly likely lively lonely lovely lowly manly monthly motherly only orderly scholarly silly
    sisterly sickly smelly timely ugly unlikely weekly worldly yearly
    """.split()  # noqa: SIM905
)
_NEXT = re.compile(r"[ \t]*\n?[ \t]*[\"'“‘(]?([^\W\d_][\w’']*)")


class Axis(NamedTuple):
    """Two groups and all words that are swapped between them."""

    groups: tuple[str, str]
    partners: Mapping[str, tuple[str, ...]]
    """Word as listed to its partners in the other group, the usual one first."""
    forms: Mapping[str, str]
    """Every spelling that is looked for, such as `She`, to the word as listed."""
    sides: Mapping[str, int]
    """Word as listed to its group, 0 or 1."""
    pattern: re.Pattern[str]

    @property
    def title(self) -> str:
        """The two groups, for people."""
        return f"{self.groups[0]} and {self.groups[1]}"


class Swap(NamedTuple):
    """A text with its groups swapped, and how many words of each group stood in it."""

    text: str
    first: int
    second: int


class Swaps(NamedTuple):
    """Rows with their groups swapped, and how many could be."""

    examples: list[Example]
    """Their ids say what was done: `ROW~men>women`, `ROW~women>men`, or `ROW~men<>women` where
    words of both groups stood in the row."""
    holding: dict[str, int]
    """Title of an axis to the number of rows that hold a word of it, before any sample."""
    rows: int
    """Rows looked through."""


def axes(lists: Sequence[WordList]) -> list[Axis]:
    """Return one axis for every two groups, with the words of all lists that have them.

    Raises:
        DataError: two lists put one word into different groups of an axis.
    """
    merged: dict[tuple[str, str], list[WordList]] = {}
    for item in lists:
        merged.setdefault(item.groups, []).append(item)
    return [_axis(groups, items) for groups, items in merged.items()]


def _axis(groups: tuple[str, str], lists: Sequence[WordList]) -> Axis:
    partners: dict[str, list[str]] = {}
    sides: dict[str, int] = {}
    forms: dict[str, str] = {}
    for item in lists:
        for pair in item.pairs:
            for side, word in enumerate(pair):
                if sides.setdefault(word, side) != side:
                    raise DataError(
                        f"{item.name}: '{word}' is a word of {groups[side]} here and of "
                        f"{groups[1 - side]} in another list. Use one of the lists."
                    )
                if pair[1 - side] not in partners.setdefault(word, []):
                    partners[word].append(pair[1 - side])
                # A capital in the list means a name: "Rose", but not "rose".
                for form in (word, word.upper(), word[:1].upper() + word[1:]):
                    forms.setdefault(form, word)
    choices = "|".join(
        r"\s+".join(map(re.escape, form.split()))
        for form in sorted(forms, key=lambda form: (-len(form), form))
    )
    # "she-wolf" and "man-made" are other words; "and she--at last" is not.
    pattern = re.compile(rf"(?<!\w)(?<!\w-)(?:{choices})(?!\w)(?!-\w)")
    return Axis(
        groups, {word: tuple(many) for word, many in partners.items()}, forms, sides, pattern
    )


def swap(text: str, axis: Axis) -> Swap:
    """Return a text in which every listed word is replaced by its partner.

    A word in capitals is replaced by one in capitals, a capitalised one by a capitalised one.
    """
    counts = [0, 0]

    def other(match: re.Match[str]) -> str:
        form = " ".join(match[0].split())
        word = axis.forms[form]
        counts[axis.sides[word]] += 1
        partner = _partner(word, axis.partners[word], text[match.end() : match.end() + 64])
        if form == word:
            return partner
        if form == word.upper() and len(form) > 1:
            return partner.upper()
        return partner[:1].upper() + partner[1:]

    return Swap(axis.pattern.sub(other, text), *counts)


def _partner(word: str, partners: tuple[str, ...], after: str) -> str:
    """Return the partner that fits what follows; the first where there is no doubt."""
    following = _following(after)
    if word == "her" and {"him", "his"} <= set(partners):
        adverb = following.endswith("ly") and following not in _ADJECTIVES
        object_ = not following or following in _AFTER_OBJECT or adverb
        return "him" if object_ else "his"
    if word == "his" and {"her", "hers"} <= set(partners):
        return "hers" if not following or following in _AFTER_HERS else "her"
    return partners[0]


def _following(after: str) -> str:
    """Return the next word in small letters; empty where a mark or the end comes first."""
    match = _NEXT.match(after)
    return match[1].casefold() if match else ""


def mark(axis: Axis, first: int, second: int) -> str:
    """Return what a swapped row's id ends with, by the words that stood in the row."""
    one, other = axis.groups
    if first and second:
        return f"~{one}<>{other}"
    return f"~{one}>{other}" if first else f"~{other}>{one}"


def origin(name: str, known: Sequence[Axis]) -> tuple[str, Axis, int] | None:
    """Return what `mark` made of a row's id: the row's own id, the axis, and the direction.

    The direction is 1 where the first group was replaced by the second, -1 the other way, and 0
    where both were there. None for an id that no axis of `known` has marked.
    """
    for axis in known:
        for direction, counts in ((1, (1, 0)), (-1, (0, 1)), (0, (1, 1))):
            end = mark(axis, *counts)
            if name.endswith(end):
                return name.removesuffix(end), axis, direction
    return None


def swapped_example(example: Example, axis: Axis) -> Example | None:
    """Return an example with source, references and context swapped.

    None where no listed word stands in what the model is given.
    """
    source = swap(example.source, axis)
    turns = [swap(turn.content, axis) for turn in example.context]
    first = source.first + sum(turn.first for turn in turns)
    second = source.second + sum(turn.second for turn in turns)
    if not first + second:
        return None
    return dataclasses.replace(
        example,
        id=example.id + mark(axis, first, second),
        source=source.text,
        references=tuple(swap(text, axis).text for text in example.references),
        context=tuple(
            dataclasses.replace(turn, content=new.text)
            for turn, new in zip(example.context, turns, strict=True)
        ),
    )


def swapped(
    examples: Sequence[Example],
    lists: Sequence[WordList],
    limit: int | None = None,
    seed: int = 0,
) -> Swaps:
    """Return the examples that hold a listed word, with their groups swapped.

    Rows without any listed word do not count. References are swapped too; a label is kept.

    Args:
        examples: rows of a test set.
        lists: those of the same two groups are applied together, others one by one, so that a
            row may come back once for every two groups.
        limit: at most so many rows for every two groups, a seeded sample; None: all.
        seed: of the sample.

    Raises:
        DataError: the lists contradict each other.
    """
    found: list[Example] = []
    holding = {}
    for axis in axes(lists):
        every = [(row.id, new) for row in examples if (new := swapped_example(row, axis))]
        holding[axis.title] = len(every)
        kept = sampled(every, limit, lambda item: draw(seed, "swaps", item[0]))
        found += [new for _, new in kept]
    return Swaps(found, holding, len(examples))
