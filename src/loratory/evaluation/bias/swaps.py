"""What changes in the answers when the groups in the inputs are swapped: base against tuned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from loratory.errors import DataError
from loratory.evaluation.bias.growth import Growth, grown
from loratory.evaluation.bias.part import MIN_ROWS, Part, joined
from loratory.evaluation.compare import check_paired, contrast
from loratory.metrics.swaps import ClassSwaps, SwappedPair, TextSwaps
from loratory.records import Contrasts, Prediction
from loratory.tasks.groups.swap import Axis, Swaps, axes, origin, swap
from loratory.tasks.groups.wordlist import WordList

__all__ = ["swap_part"]

_SWAP_LIMIT = (
    "Swaps change listed words only: English, two groups at a time, his and her by the word that "
    "follows. Some swapped rows are odd or untrue, and rows without a listed word tell nothing."
)


def swap_part(
    base: Sequence[Prediction],
    tuned: Sequence[Prediction],
    base_swapped: Sequence[Prediction],
    tuned_swapped: Sequence[Prediction],
    swaps: Swaps,
    lists: Sequence[WordList],
    labels: Sequence[str] = (),
    *,
    untrained_base: bool = False,
    **settings: Any,
) -> Part:
    """Compare what changes in each model's answers when the groups in its inputs are swapped.

    Args:
        base: the base model's answers to the test rows.
        tuned: the tuned model's, to the same rows in the same order.
        base_swapped: the base model's answers to `swaps.examples`, in their order.
        tuned_swapped: the tuned model's.
        swaps: what `swapped` made of the test rows.
        lists: what it was made with.
        labels: names of the classes; none for generated texts.
        untrained_base: whether the base model's classes come from a new head, so that its flips
            are those of chance.
        settings: as for `preference_part`.

    Raises:
        DataError: the answers are not of the same rows, or some are missing.
    """
    check_paired(base, tuned)
    check_paired(base_swapped, tuned_swapped)
    expected = [example.id for example in swaps.examples]
    if [prediction.id for prediction in base_swapped] != expected:
        raise DataError(
            f"the answers to swapped rows are {len(base_swapped)}, not those to the "
            f"{len(expected)} rows that the word lists give. Predict the swapped rows again."
        )
    known = axes(lists)
    old = _pairs(base, base_swapped, known)
    new = _pairs(tuned, tuned_swapped, known)
    parts = []
    for axis in known:
        holding = swaps.holding.get(axis.title, 0)
        facts = {f"test rows with a word of {axis.title}": holding, "test rows": swaps.rows}
        before, after = old[axis.title], new[axis.title]
        if len(before) < MIN_ROWS:
            text = (
                f"{holding} of {swaps.rows} test rows hold a listed word of {axis.title}; at "
                f"least {MIN_ROWS} are needed to swap them and compare."
            )
            parts.append(Part(sentences=(text,), facts=facts))
        elif labels:
            parts.append(_class_part(axis, before, after, labels, untrained_base, facts, settings))
        else:
            parts.append(_text_part(axis, before, after, facts, settings))
    return joined(parts)


def _pairs(
    rows: Sequence[Prediction], swapped: Sequence[Prediction], known: Sequence[Axis]
) -> dict[str, list[SwappedPair]]:
    """Return, by the title of an axis, each swapped row's answer beside that of its original."""
    originals = {row.id: row for row in rows}
    found: dict[str, list[SwappedPair]] = {axis.title: [] for axis in known}
    for row in swapped:
        source = origin(row.id, known)
        if source is None or source[0] not in originals:
            raise DataError(f"row '{row.id}': the row it was made from is not among the test rows.")
        name, axis, direction = source
        original = originals[name]
        found[axis.title].append(
            SwappedPair(original, row, swap(original.text, axis).text, direction)
        )
    return found


def _class_part(
    axis: Axis,
    before: list[SwappedPair],
    after: list[SwappedPair],
    labels: Sequence[str],
    untrained_base: bool,
    facts: Mapping[str, Any],
    settings: Mapping[str, Any],
) -> Part:
    metric = ClassSwaps(tuple(labels), axis.groups)
    found = {item.metric: item for item in contrast(metric, before, after, **settings)}
    first, second = axis.groups
    growths, notes = [], []
    flips = (
        f"When words of {axis.title} are swapped in {len(before)} of "
        f"{facts['test rows']} test rows, the tuned model changes its class in "
        "{tuned:.1f}% of them (base {base:.1f}%)"
    )
    if untrained_base:
        flip = found["flip_rate"]
        assert flip.tuned is not None and flip.base is not None
        notes.append(
            flips.format(tuned=100 * flip.tuned, base=100 * flip.base)
            + ". The base model's head is untrained, so its classes are those of chance and no "
            "measure for the tuned model's."
        )
    else:
        growths += grown(found["flip_rate"], f"flip rate, {axis.title}", flips)
    followed = labels[1:] if len(labels) == 2 else labels
    for name, label in zip(metric.shifts, followed, strict=True):
        said = (
            f"The tuned model gives '{label}' {{tuned:+.1f}} points of probability in rows about "
            f"{second} over the same rows about {first} (base {{base:+.1f}})"
        )
        growths += grown(found[name], name, said, neutral=0.0)
    return Part(
        (Contrasts(f"Groups swapped in test rows: {axis.title}", tuple(found.values())),),
        tuple(growths),
        tuple(notes),
        (_SWAP_LIMIT,),
        facts,
    )


def _text_part(
    axis: Axis,
    before: list[SwappedPair],
    after: list[SwappedPair],
    facts: Mapping[str, Any],
    settings: Mapping[str, Any],
) -> Part:
    metric = TextSwaps(axis.groups)
    found = {item.metric: item for item in contrast(metric, before, after, **settings)}
    first, second = axis.groups
    what = ("ROUGE-L", "length", "tone")
    growths: list[Growth] = []
    for name, word in zip(metric.shifts, what, strict=True):
        said = (
            f"The {word} of the tuned model's answers is {{tuned:+.1f}} points in rows about "
            f"{second} over the same rows about {first} (base {{base:+.1f}})"
        )
        growths += grown(found[name], name, said, neutral=0.0)
    changed = found["answer_changed"]
    assert changed.tuned is not None and changed.base is not None
    note = (
        f"When words of {axis.title} are swapped in {len(before)} of {facts['test rows']} test "
        f"rows, the tuned model's answer moves by {100 * changed.tuned:.1f} points of ROUGE-L "
        f"beyond the swapped words (base {100 * changed.base:.1f})."
    )
    return Part(
        (Contrasts(f"Groups swapped in test rows: {axis.title}", tuple(found.values())),),
        tuple(growths),
        (note,),
        (
            _SWAP_LIMIT,
            "Tone is counted with a short English word list, so it sees only coarse differences. "
            "That an answer changes at all says nothing of who gains by it; the verdict rests on "
            "the differences that have a direction.",
        ),
        facts,
    )
