"""How the report puts things: numbers as text, and a comparison as one sentence.

Nothing here knows HTML or Markdown. Numbers stay in full precision until they arrive here.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Literal, TypeVar

from loratory.evaluation.agreement import HUMAN
from loratory.evaluation.verdict import MIN_ROWS
from loratory.records import PLAIN, Comparison, Place, Score

__all__ = [
    "Verdict",
    "clean",
    "confidence",
    "corrected_p",
    "count",
    "descriptive",
    "difference",
    "duration",
    "headline",
    "interval",
    "metric_name",
    "moment",
    "outcome",
    "p_value",
    "place",
    "scale",
    "score",
    "signed",
    "size",
    "small",
    "verdict",
]

Item = TypeVar("Item", Score, Comparison)

Verdict = Literal[
    "improved",
    "worse",
    "no evidence",
    "test too small",
    "no interval",
    "descriptive",
    "undefined",
]

NAMES = {
    "bertscore_cut": "BERTScore: rows cut",
    "bertscore_f1": "BERTScore F1",
    "bertscore_precision": "BERTScore precision",
    "bertscore_recall": "BERTScore recall",
    "bleu": "BLEU",
    "chrf": "chrF",
    "ece": "Calibration error (ECE)",
    "finished": "Finished answers",
    "macro_f1": "Macro F1",
    "macro_precision": "Macro precision",
    "macro_recall": "Macro recall",
    "mcc": "Matthews correlation",
    "micro_f1": "Micro F1",
    "nll": "Negative log-likelihood",
    "ter": "TER",
    "weighted_f1": "Weighted F1",
    "words": "Words an answer",
}

# Reordering marks can make a text read as another one; the rest cannot be shown at all.
_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ufeff\ufff9-\ufffb\ufffe\uffff"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)


def clean(text: str) -> str:
    """Return text in which every control character is visible and none acts.

    Escape becomes `␛`, a right-to-left override `⟨U+202E⟩`. Newline and tab stay, CRLF is one
    newline.
    """

    def reveal(match: re.Match[str]) -> str:
        code = ord(match[0])
        if code < 0x20:
            return chr(0x2400 + code)
        return "␡" if code == 0x7F else f"⟨U+{code:04X}⟩"

    return _UNSEEN.sub(reveal, text.replace("\r\n", "\n"))


def descriptive(items: Iterable[Score | Comparison]) -> frozenset[str]:
    """Return the metrics that have no better direction."""
    return frozenset(item.metric for item in items if item.descriptive)


def metric_name(metric: str) -> str:
    """Return a metric's name as people write it: `ROUGE-Lsum`, `Macro F1`."""
    if metric in NAMES:
        return NAMES[metric]
    if metric.startswith("rouge"):
        return f"ROUGE-{metric.removeprefix('rouge')}"
    words = metric.replace("_", " ")
    return words[:1].upper() + words[1:]


def scale(metric: str) -> float:
    """Return what a metric's value is multiplied with to be shown: 100 or 1."""
    return 1.0 if metric in PLAIN else 100.0


def score(value: float | None, metric: str) -> str:
    """Return a score in its shown unit: `24.0`, `97.5%` for `finished`, a dash for None."""
    if value is None:
        return "–"
    return _fixed(value * scale(metric), 1) + ("%" if metric == "finished" else "")


def interval(low: float | None, high: float | None, metric: str) -> str:
    """Return `12.1 to 16.4`, or an empty text when the interval is undefined."""
    if low is None or high is None:
        return ""
    return " to ".join(_fixed(x * scale(metric), 1) for x in (low, high))


def difference(comparison: Comparison) -> tuple[str, str]:
    """Return the difference and its interval, `("+9.8", "7.1 to 12.6")`.

    One decimal, or as many as keep every number that is not zero from looking like zero:
    an interval said to be clear of zero must look so.
    """
    factor = scale(comparison.metric)
    if comparison.difference is None:
        return "–", ""
    values = [
        x * factor
        for x in (comparison.difference, comparison.low, comparison.high)
        if x is not None and math.isfinite(x)
    ]
    places = _places(values)
    middle = signed(comparison.difference * factor, places)
    if comparison.low is None or comparison.high is None:
        return middle, ""
    ends = (_fixed(x * factor, places) for x in (comparison.low, comparison.high))
    return middle, " to ".join(ends)


def _places(values: Iterable[float]) -> int:
    smallest = min((abs(x) for x in values if x != 0), default=1.0)
    return next((places for places in (1, 2, 3) if smallest >= 0.5 * 10**-places), 4)


def _fixed(value: float, places: int) -> str:
    text = f"{abs(value):,.{places}f}"
    return f"−{text}" if value < 0 and float(text.replace(",", "")) else text


def signed(value: float, places: int) -> str:
    """Return `+0.25` or `−0.25`; zero has no sign."""
    text = _fixed(value, places)
    return f"+{text}" if value > 0 else text


def confidence(value: float) -> str:
    """Return `95%`."""
    return f"{100 * value:.6g}%"


def p_value(p: float | None) -> str:
    """Return `0.012`, `< 0.001`, or an empty text for None."""
    if p is None:
        return ""
    return f"{p:.3f}" if p >= 0.001 else "< 0.001"


def corrected_p(comparison: Comparison) -> str:
    """Return the p value the verdict rests on: corrected for the values judged together.

    In a file from before there were verdicts it is the one of this value by itself.
    """
    return p_value(comparison.p if comparison.p_adjusted is None else comparison.p_adjusted)


def place(item: Place) -> str:
    """Return how far a system has come, `62% (95% interval 55% to 70%) of the way from …`.

    An empty text when that is undefined.
    """
    if item.share is None or item.low is None or item.high is None:
        return ""
    share, low, high = (_fixed(100 * x, 0) + "%" for x in (item.share, item.low, item.high))
    if item.goal == HUMAN:
        rows = "row has" if item.n == 1 else "rows have"
        goal = f"human agreement ({item.n:,} {rows} several references)"
    else:
        goal = f"the best baseline ({item.goal.replace('_', ' ')})"
    ends = f"{confidence(item.confidence)} interval {low} to {high}"
    return f"{share} ({ends}) of the way from {item.start.replace('_', ' ')} to {goal}"


def verdict(comparison: Comparison) -> Verdict:
    """Return what a comparison supports, and nothing more.

    In a file from before there were verdicts, that is what the paired interval supports.
    """
    if comparison.difference is None:
        return "undefined"
    if comparison.descriptive:
        return "descriptive"
    if comparison.improved:
        return "improved"
    if comparison.worsened:
        return "worse"
    if comparison.verdict == "test too small":
        return "test too small"
    return "no interval" if comparison.low is None or comparison.high is None else "no evidence"


def headline(items: Sequence[Item]) -> Item | None:
    """Return the comparison, or the score, that speaks for the run.

    That is the first metric with a better direction; among ROUGE's it is ROUGE-Lsum, and for
    classification accuracy.
    """
    undirected = descriptive(items)
    directed = [item for item in items if item.metric not in undirected]
    if not directed:
        return None
    by_metric = {item.metric: item for item in directed}
    rouge = directed[0].metric.startswith("rouge")
    return by_metric.get("rougeLsum" if rouge else "accuracy", directed[0])


def outcome(comparison: Comparison) -> str:
    """Return what a reader takes away: a sentence, and one more on what the test could see."""
    name, found = metric_name(comparison.metric), verdict(comparison)
    base, tuned = (score(x, comparison.metric) for x in (comparison.base, comparison.tuned))
    if found == "undefined":
        return f"{name} could not be compared: {comparison.reason or 'no reason is recorded'}."
    change, ends = difference(comparison)
    if found == "no interval":
        return (
            f"{name} went from {base} to {tuned} ({change}, n = {comparison.n:,}): "
            "without an interval this shows nothing."
        )
    numbers = _numbers(comparison, change, ends)
    if found == "test too small":
        return (
            f"The test is too small to tell whether {name} changed: {base} before, {tuned} after "
            f"{numbers}. {_power(comparison)}"
        ).rstrip()
    if found == "no evidence":
        if comparison.low == comparison.high == 0:
            return (
                f"There is no evidence of a change in {name}: {base} before and after; no row "
                f"moved it (n = {comparison.n:,})."
            )
        return (
            f"There is no evidence of a change in {name}: {base} before, {tuned} after "
            f"{numbers}; {_doubt(comparison)}."
        )
    assert comparison.difference is not None
    moved = "rose" if comparison.difference > 0 else "fell"
    sentence = f"{name} {moved} from {base} to {tuned} {numbers}: "
    if found == "worse":
        return sentence + "the tuned model is worse, and the interval is clear of zero."
    return sentence + (
        "lower is better, and the interval is clear of zero."
        if comparison.lower_is_better
        else "the interval is clear of zero."
    )


def _numbers(comparison: Comparison, change: str, ends: str) -> str:
    """Return `(+9.8, 95% interval 7.1 to 12.6, p < 0.001, n = 30)`."""
    parts = [change]
    if ends:
        parts.append(f"{confidence(comparison.confidence)} interval {ends}")
    p = p_value(comparison.p)
    if p:
        corrected = p_value(comparison.p_adjusted)
        many = corrected and (comparison.family or 1) > 1 and corrected != p
        also = f", {corrected} corrected for {comparison.family} values" if many else ""
        parts.append((f"p {p}" if p.startswith("<") else f"p = {p}") + also)
    parts.append(f"n = {comparison.n:,}")
    if comparison.seeds > 1:
        parts.append(f"{comparison.seeds} seeds")
    return f"({', '.join(parts)})"


def _doubt(comparison: Comparison) -> str:
    """Return why a difference is no evidence."""
    assert comparison.low is not None and comparison.high is not None
    if comparison.low <= 0 <= comparison.high:
        return "the interval includes zero"
    many = (comparison.family or 1) > 1
    return "the interval by itself is clear of zero, but the p value is not small enough" + (
        f" for one of {comparison.family} values" if many else ""
    )


def _power(comparison: Comparison) -> str:
    """Return what the test could have seen, and how many rows would see what matters."""
    if comparison.n < MIN_ROWS:
        return f"It takes at least {MIN_ROWS} rows to say anything."
    if comparison.detectable is None or not comparison.relevant:
        return ""
    factor = scale(comparison.metric)
    smallest, wanted = (
        _fixed(x * factor, _places([x * factor]))
        for x in (comparison.detectable, comparison.relevant)
    )
    sentence = f"Four times in five it would have found a difference of {smallest} or more"
    if comparison.rows_needed is None:
        return f"{sentence}, where {wanted} matters; more seeds or more rows would help."
    return f"{sentence}; for one of {wanted} it takes about {_about(comparison.rows_needed)} rows."


def _about(rows: int) -> str:
    """Return a number of rows in two digits: `4,300`."""
    digits = 10 ** max(0, len(str(rows)) - 2)
    return f"{-(-rows // digits) * digits:,}"


def count(value: Any) -> str:
    """Return `134,515,008` for a whole number, and any other value as it is."""
    whole = isinstance(value, int) and not isinstance(value, bool)
    return f"{value:,}" if whole else str(value)


def size(value: Any) -> str:
    """Return a number of bytes as `3.4 GiB`, and any other value as it is."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    for unit in ("B", "KiB", "MiB"):
        if abs(value) < 1024:
            return f"{value:.0f} {unit}"
        value /= 1024
    return f"{value:,.1f} GiB"


def small(value: Any) -> str:
    """Return a number in three digits, `3.8`, `0.0379`, `5.05 × 10⁻⁵`, and any other as it is.

    No line breaks within it.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return str(value)
    if value == 0 or 1e-3 <= abs(value) < 1e6:
        return _fixed(value, 0) if abs(value) >= 100 else f"{value:.3g}".replace("-", "−")
    digits, _, exponent = f"{value:.2e}".partition("e")
    power = str(int(exponent)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"{digits.replace('-', '−')}\u00a0×\u00a010{power}"


def duration(value: Any) -> str:
    """Return seconds as `1.2 s`, `3 min 1 s` or `2 h 5 min`, and any other value as it is."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return str(value)
    if value < 59.95:
        return f"{value:.1f} s"
    minutes, seconds = divmod(round(value), 60)
    if minutes < 60:
        return f"{minutes} min {seconds} s"
    return f"{minutes // 60:,} h {minutes % 60} min"


def moment(value: Any) -> str:
    """Return an ISO time as `9 May 2026, 07:35 UTC`, and any other value as it is."""
    try:
        when = datetime.fromisoformat(str(value))
    except ValueError:
        return str(value)
    months = "January February March April May June July August September October November"
    month = [*months.split(), "December"][when.month - 1]
    zone = f" {when.tzname()}" if when.tzinfo else ""
    return f"{when.day} {month} {when.year}, {when:%H:%M}{zone}"
