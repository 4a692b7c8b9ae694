"""What the proof at the end of training found, in words: that what was saved is what was trained.

The numbers are the manifest's. A run from before there was a proof has none of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from loratory.report import wording
from loratory.report.data import fact

__all__ = ["Check", "Proof", "proof"]

Found = Literal["passed", "failed", "not compared", ""]


class Check(NamedTuple):
    """One thing that was compared."""

    name: str
    found: Found
    """Empty where the record does not say by itself."""
    sentence: str


class Proof(NamedTuple):
    """The proof of one run."""

    passed: bool
    opening: str
    problems: tuple[str, ...]
    """A sentence for each thing that was not as it must be."""
    checks: tuple[Check, ...]


def proof(manifest: Mapping[str, Any]) -> Proof | None:
    """Return the proof of a run in words, or None where none was recorded.

    What the record does not hold is left out. In a proof that failed, a check is called passed or
    failed only where its own numbers say so; the problems say the rest.
    """
    record = fact(manifest, "proof")
    passed = fact(record, "passed")
    if not isinstance(passed, bool):
        return None
    family = str(fact(manifest, "model", "family"))
    seconds = fact(record, "seconds")
    took = "" if seconds is None else f" (it took {wording.duration(seconds)})"
    opening = (
        "What was saved is what was trained. At the end of training the saved adapter was loaded "
        f"again and compared with the model in memory{took}."
        if passed
        else "The saved adapter failed its proof: it was not shown to be what was trained."
    )
    problems = fact(record, "problems")
    checks = (
        _reload(record, family),
        _merge(record, passed),
        _heads(record),
        _vocabulary(record, passed),
        _base(record, passed),
    )
    return Proof(
        passed,
        opening,
        tuple(map(str, problems)) if isinstance(problems, list) else (),
        tuple(check for check in checks if check is not None),
    )


def _reload(record: Any, family: str) -> Check | None:
    found = fact(record, "reload")
    if not isinstance(found, Mapping) or not found:
        return None
    worst, bound = found.get("largest_difference"), found.get("bound")
    scores = "each class" if family == "classifier" else "each possible next token"
    rows = fact(record, "rows")
    of = "" if rows is None else f" of {_some(rows, 'validation row')}"
    sentence = (
        "A fresh process loaded base model and adapter from disk and computed the logits, the raw "
        f"scores of {scores},{of}. "
    )
    if found.get("same_bits") is True:
        sentence += "They are the trained model's bit for bit: the largest difference is "
    else:
        sentence += "They differ from the trained model's by at most "
    sentence += f"{_number(worst)}, where {_number(bound)} is allowed."
    return Check("Loaded again", _within(worst, bound), sentence)


def _merge(record: Any, passed: bool) -> Check | None:
    found = fact(record, "merge")
    if not isinstance(found, Mapping) or not found:
        return None
    name = "Merged into the base model"
    if "skipped" in found:
        return Check(name, "not compared", f"Not compared: {found['skipped']}.")
    if "error" in found:
        return Check(name, "failed", f"It could not be merged: {found['error']}")
    worst, bound = found.get("largest_difference"), found.get("bound")
    changed, effect = found.get("changed_tensors"), found.get("mean_effect_of_adapter")
    sentence = "" if changed is None else f"Merging changes {_some(changed, 'weight tensor')}. "
    sentence += (
        "Computed in float32, the merged model's logits differ from those of base model and "
        f"adapter by at most {_number(worst)}, where {_number(bound)} is allowed"
    )
    sentence += (
        "" if effect is None else f"; the adapter moves them by {_number(effect)} on average"
    )
    sentence += "."
    texts, same, ties = (found.get(key) for key in ("texts", "same_texts", "ties"))
    if texts is not None:
        sentence += (
            f" Of {_some(texts, 'prompt')}, the merged model continues {wording.count(same)} by "
            "the same text."
        )
    if ties not in (None, 0):
        sentence += (
            f" {wording.count(ties)} differs first where two tokens had nearly the same score."
        )
    within = _within(worst, bound)
    return Check(name, within if passed or within == "failed" else "", sentence)


def _heads(record: Any) -> Check | None:
    heads = fact(record, "heads")
    if not isinstance(heads, list) or not heads:
        return None
    sentence = (
        f"What has no pre-trained weights and was trained whole, {', '.join(map(str, heads))}, is "
        "among what was saved."
    )
    return Check("New head", "passed", sentence)


def _vocabulary(record: Any, passed: bool) -> Check | None:
    found = fact(record, "vocabulary")
    rows, added = fact(found, "embedding_rows"), fact(found, "added_tokens")
    if rows is None:
        return None
    sentence = f"The embedding has {_some(rows, 'row')}"
    if isinstance(added, Mapping):
        sentence += f" and the tokenizer {_some(len(added), 'added token')}"
    sentence += ", as in training." if passed else " in training."
    return Check("Vocabulary", "passed" if passed else "", sentence)


def _base(record: Any, passed: bool) -> Check | None:
    frozen = fact(record, "frozen_tensors")
    if frozen is None or (not frozen and not passed):
        return None
    if frozen:
        sentence = f"Byte for byte what they were: {_some(frozen, 'frozen weight tensor')}"
        sentence += ", and the model's files on disk." if passed else "."
    else:
        sentence = (
            "No weight was frozen. The model's files on disk are byte for byte what they were."
        )
    return Check("Base model", "passed" if passed else "", sentence)


def _within(worst: Any, bound: Any) -> Found:
    known = all(isinstance(x, int | float) and not isinstance(x, bool) for x in (worst, bound))
    # A difference that was not finite is recorded as null.
    return "passed" if known and worst <= bound else "failed"


def _number(value: Any) -> str:
    return "no finite number" if value is None else wording.small(value)


def _some(number: Any, noun: str) -> str:
    return f"{wording.count(number)} {noun}{'' if number == 1 else 's'}"
