"""Which answers to show: the largest gains, the largest losses, and a fair draw.

Extremes show what tuning can do for better and worse; only the drawn ones are typical. The
draw depends on the run's seed and the examples' ids alone.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from loratory.metrics.rouge import rouge
from loratory.records import Message, Prediction
from loratory.report.data import ReportData, fact
from loratory.report.wording import clean

__all__ = ["Answer", "Choice", "Piece", "Shown", "choose", "overlap", "quality"]

EXTREMES, TOTAL = 6, 20
SOURCE_CHARS, ANSWER_CHARS, ID_CHARS, TURNS = 3000, 1600, 120, 6

# A CJK text has no spaces between words: there, each character counts as one.
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]|[^\W_\u3040-\u30ff\u3400-\u9fff]+")


class Piece(NamedTuple):
    """A stretch of an answer."""

    text: str
    shared: bool
    """All its words stand in the reference too."""


class Answer(NamedTuple):
    """One system's answer, ready to show."""

    pieces: tuple[Piece, ...]
    """Empty for an empty answer."""
    quality: float | None
    """0 to 1; None without a reference."""
    finished: bool
    right: bool | None
    """Whether the class is right; None for generated text."""
    probability: float | None
    """Of the class predicted."""


class Shown(NamedTuple):
    """One example with both answers."""

    id: str
    source: str
    context: tuple[Message, ...]
    """The last turns of a chat before the source."""
    reference: str
    base: Answer
    tuned: Answer


class Choice(NamedTuple):
    """What the report shows, and how all pairs fared."""

    gains: tuple[Shown, ...]
    losses: tuple[Shown, ...]
    drawn: tuple[Shown, ...]
    better: int
    worse: int
    equal: int
    """Over every pair of answers with a reference, not only those shown."""
    measure: str
    """What `quality` is, in words; empty when there is nothing to show."""
    seed: int


def choose(data: ReportData, total: int = TOTAL) -> Choice:
    """Pair the base and tuned answers by id and choose which to show.

    Gains and losses hold at most `EXTREMES` each, and only pairs that did change; the draw
    fills up to `total`. A pair appears once.
    """
    tuned = {item.id: item for item in data.answers("tuned")}
    before = [item for item in data.answers("base") if item.id in tuned]
    after = [tuned[item.id] for item in before]
    measure, values = quality([*before, *after])
    gains = [
        None if old is None or new is None else new - old
        for old, new in zip(values, values[len(before) :], strict=False)
    ]
    order = sorted(
        (i for i, gain in enumerate(gains) if gain is not None),
        key=lambda i: (gains[i] or 0.0, before[i].id),
    )
    worse = [i for i in order if (gains[i] or 0.0) < 0]
    better = [i for i in reversed(order) if (gains[i] or 0.0) > 0]
    seed = fact(data.manifest, "seed")
    seed = seed if isinstance(seed, int) else 0
    first = {*better[:EXTREMES], *worse[:EXTREMES]}
    rest = sorted(
        (i for i in range(len(before)) if i not in first), key=lambda i: _rank(seed, before[i].id)
    )

    def show(places: Sequence[int]) -> tuple[Shown, ...]:
        return tuple(
            _show(data, (before[i], values[i]), (after[i], values[len(before) + i])) for i in places
        )

    return Choice(
        gains=show(better[:EXTREMES]),
        losses=show(worse[:EXTREMES]),
        drawn=show(rest[: max(0, total - len(first))]),
        better=len(better),
        worse=len(worse),
        equal=len(order) - len(better) - len(worse),
        measure=measure if before else "",
        seed=seed,
    )


def _rank(seed: int, id: str) -> bytes:
    # A hash rather than a generator: the same draw in every version of every library.
    return hashlib.sha256(f"{seed}:{id}".encode(errors="replace")).digest()


def quality(predictions: Sequence[Prediction]) -> tuple[str, list[float | None]]:
    """Return a measure's name and how good each answer is by it, 0 to 1.

    It sorts examples and is not a reported score. For classes it is the probability given to
    the true one, or 1 or 0 where there are no probabilities. For text it is ROUGE-L, or, where
    that finds nothing at all, as in a script it has no words for, the overlap of words. An
    answer with neither a true class nor a reference has None.
    """
    if any(item.label is not None for item in predictions):
        return "probability of the true class", [_of_class(item) for item in predictions]
    places = [i for i, item in enumerate(predictions) if item.references]
    told = [predictions[i] for i in places]
    texts, references = [item.text for item in told], [item.references for item in told]
    name, values = "ROUGE-L", rouge(texts, references, ("rougeL",))["rougeL"].f.tolist()
    if not any(values):
        name = "word overlap"
        values = [max(overlap(item.text, ref) for ref in item.references) for item in told]
    found: list[float | None] = [None] * len(predictions)
    for place, value in zip(places, values, strict=True):
        found[place] = value
    return name, found


def _of_class(item: Prediction) -> float | None:
    if item.label is None:
        return None
    if 0 <= item.label < len(item.probabilities):
        return item.probabilities[item.label]
    return None if item.predicted is None else float(item.predicted == item.label)


def overlap(text: str, reference: str) -> float:
    """Return the F measure of shared words, 0 to 1, letter case ignored.

    A word counts as often as it occurs in both. Two texts without words are equal: 1.
    """
    ours, theirs = Counter(_words(text)), Counter(_words(reference))
    if not ours and not theirs:
        return 1.0
    return 2 * (ours & theirs).total() / (ours.total() + theirs.total())


def _words(text: str) -> list[str]:
    return _WORD.findall(text.lower())


def _show(
    data: ReportData, base: tuple[Prediction, float | None], tuned: tuple[Prediction, float | None]
) -> Shown:
    item, labels = base[0], data.labels
    example = data.examples.get(item.id)
    if item.label is not None:
        reference = labels[item.label] if 0 <= item.label < len(labels) else f"class {item.label}"
    else:
        reference = "\n".join(item.references)
    return Shown(
        id=_cut(item.id, ID_CHARS),
        source=_cut(example.source if example else item.source or tuned[0].source, SOURCE_CHARS),
        context=tuple(
            Message(_cut(turn.role, ID_CHARS), _cut(turn.content, ANSWER_CHARS))
            for turn in (example.context[-TURNS:] if example else ())
        ),
        reference=_cut(reference, ANSWER_CHARS),
        base=_answer(*base),
        tuned=_answer(*tuned),
    )


def _answer(item: Prediction, measured: float | None) -> Answer:
    text = _cut(item.text.strip(), ANSWER_CHARS)
    predicted = item.predicted
    known = predicted is not None and 0 <= predicted < len(item.probabilities)
    return Answer(
        pieces=_pieces(text, item.references if item.label is None else ()),
        quality=measured,
        finished=item.finished,
        right=None if item.label is None else predicted == item.label,
        probability=item.probabilities[predicted] if known and predicted is not None else None,
    )


def _cut(text: str, limit: int) -> str:
    """Return visible text of bounded length; what was cut is counted."""
    if len(text) > limit:
        text = f"{text[:limit]} … ({len(text) - limit:,} more characters)"
    return clean(text)


def _pieces(text: str, references: Sequence[str]) -> tuple[Piece, ...]:
    """Split a text into stretches that do and do not share their words with a reference."""
    known = {word for reference in references for word in _words(reference)}
    marks: list[Piece] = []
    end = 0
    for match in _WORD.finditer(text):
        gap = text[end : match.start()]
        shared = match[0].lower() in known
        # Space between two shared words belongs to the stretch; other space does not.
        joined = shared and bool(marks) and marks[-1].shared and gap.isspace()
        marks += [Piece(gap, joined), Piece(match[0], shared)]
        end = match.end()
    marks.append(Piece(text[end:], False))
    return tuple(_merge(marks))


def _merge(pieces: Iterable[Piece]) -> list[Piece]:
    merged: list[Piece] = []
    for piece in pieces:
        if merged and merged[-1].shared == piece.shared:
            merged[-1] = Piece(merged[-1].text + piece.text, piece.shared)
        elif piece.text:
            merged.append(piece)
    return merged
