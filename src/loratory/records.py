"""What travels between the stages: frozen dataclasses, one JSON object a line on disk.

    Example     one row of data, ready for any model
    Prediction  what one system answered to one example, with all that is needed to score it
    Score       one number of one system, with its signature, interval and n
    Comparison  one number of two systems on the same rows
    Place       how far one system has come from a trivial system to a better one, or to people

Every line carries `"v": 1`. A reader accepts this version and says so when a file is newer.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import types
import typing
from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from loratory.errors import DataError

__all__ = [
    "PLAIN",
    "Comparison",
    "Example",
    "Message",
    "Place",
    "Prediction",
    "Score",
    "dump",
    "from_dict",
    "read_jsonl",
    "to_dict",
    "to_lines",
]

VERSION = 1

PLAIN = frozenset({"bits_per_byte", "compression", "density", "loss", "nll", "perplexity", "words"})
"""Metrics shown in their own unit; all others lie in 0 to 1 and are shown times 100."""

R = TypeVar("R")


@dataclass(frozen=True)
class Message:
    """One turn of a conversation."""

    role: str
    """`system`, `user` or `assistant`."""
    content: str


@dataclass(frozen=True)
class Example:
    """One row of data in the task's terms, independent of any model."""

    id: str
    """Unique within its run; names the row in messages and joins predictions."""
    source: str
    """The text the task is about: a document, a review, or the user's last instruction."""
    references: tuple[str, ...] = ()
    """Accepted answers; the first is the training target. Empty for classification."""
    label: int | None = None
    """Index into the task's labels; None where the task has no classes."""
    context: tuple[Message, ...] = ()
    """Turns of a chat before `source`, the system's included."""


@dataclass(frozen=True)
class Prediction:
    """One system's answer to one example. Scoring needs nothing but this record."""

    id: str
    text: str
    """The generated answer, or the name of the predicted class."""
    references: tuple[str, ...] = ()
    source: str = ""
    label: int | None = None
    """The true class."""
    predicted: int | None = None
    """The class with the highest probability."""
    probabilities: tuple[float, ...] = ()
    """One a class, summing to 1; empty for generated text."""
    prompt: str = ""
    """What the model was given, special tokens included, after cutting."""
    prompt_tokens: int = 0
    """Length of the encoded prompt, in tokens of the model, after cutting."""
    cut_tokens: int = 0
    """Tokens of the source removed so that the prompt fits."""
    new_tokens: int = 0
    """Generated tokens, the end token included."""
    finished: bool = True
    """False when the answer hit the length limit before its end token."""


@dataclass(frozen=True)
class Score:
    """One number of one system over a test set."""

    metric: str
    """`rougeL`, `accuracy`, …"""
    value: float | None
    """Full precision, in the metric's own unit (0 to 1); None when undefined."""
    low: float | None
    high: float | None
    """Percentile bootstrap interval at `confidence`."""
    n: int
    signature: str
    confidence: float = 0.95
    lower_is_better: bool = False
    descriptive: bool = False
    """Neither direction is better: a length, a count, how much is copied."""
    reason: str | None = None
    """Why `value` is None, in words."""

    def __str__(self) -> str:
        if self.value is None:
            return f"{self.metric} undefined ({self.reason}) n={self.n} {self.signature}"
        unit = 1 if self.metric in PLAIN else 100
        value, low, high = (unit * (x or 0.0) for x in (self.value, self.low, self.high))
        return f"{self.metric} {value:.2f} [{low:.1f}, {high:.1f}] n={self.n} {self.signature}"


@dataclass(frozen=True)
class Comparison:
    """One number of two systems on the same rows: `tuned` minus `base`, paired."""

    metric: str
    base: float | None
    tuned: float | None
    difference: float | None
    low: float | None
    high: float | None
    """Paired percentile bootstrap interval of the difference at `confidence`."""
    n: int
    signature: str
    confidence: float = 0.95
    lower_is_better: bool = False
    descriptive: bool = False
    reason: str | None = None
    p: float | None = None
    """Two-sided p value of approximate randomisation (Noreen 1989): how often systems that do not
    differ would be parted as far. None when undefined, or in a file from before it was computed."""

    @property
    def improved(self) -> bool:
        """True when the whole interval lies on the better side of zero."""
        if self.low is None or self.high is None or self.descriptive:
            return False
        return self.high < 0 if self.lower_is_better else self.low > 0


@dataclass(frozen=True)
class Place:
    """How far one system has come on the way from one mark to a higher one, on the same rows."""

    metric: str
    system: str
    start: str
    """The system at 0: the random baseline."""
    goal: str
    """The system at 1: the best other baseline, or `human`."""
    value: float | None
    """The system's number; it, `at_start` and `at_goal` are of the same rows and references."""
    at_start: float | None
    at_goal: float | None
    share: float | None
    """(value - at_start) / (at_goal - at_start): below 0 before the start, above 1 beyond the
    goal; None when undefined."""
    low: float | None
    high: float | None
    """Percentile bootstrap interval of the share at `confidence`; all three systems are drawn
    together."""
    n: int
    left_out: int
    """Rows that could not be used: those with fewer than two references, where the goal is
    `human`."""
    signature: str
    confidence: float = 0.95
    reason: str | None = None
    """Why `share` is None, in words."""


def to_dict(record: Any) -> dict[str, Any]:
    """Return a record as JSON-ready data, its version first."""
    return {"v": VERSION, **dataclasses.asdict(record)}


def from_dict(cls: type[R], data: dict[str, Any], where: str) -> R:
    """Rebuild a record, nested ones included.

    Args:
        cls: the record's class.
        data: what `to_dict` gave; absent fields take their defaults.
        where: file and line, for messages.

    Raises:
        DataError: a newer version, an unknown or missing field, or a field of another type.
    """
    if not isinstance(data, dict):
        raise DataError(f"{where}: expected a JSON object, got {type(data).__name__}.")
    data = dict(data)
    version = data.pop("v", VERSION)
    if version != VERSION:
        raise DataError(
            f"{where}: record version {version!r}, this Loratory reads {VERSION}. "
            "Upgrade Loratory, or make the file again."
        )
    hints = _hints(typing.cast(Hashable, cls))
    unknown = sorted(set(data) - set(hints))
    if unknown:
        raise DataError(f"{where}: unknown field '{unknown[0]}' in a {cls.__name__}.")
    values = {key: _typed(hints[key], value, f"{where}: {key}") for key, value in data.items()}
    try:
        return cls(**values)
    except TypeError:
        required = [
            f.name
            for f in dataclasses.fields(cls)  # type: ignore[arg-type]
            if f.default is dataclasses.MISSING and f.name not in values
        ]
        raise DataError(f"{where}: a {cls.__name__} needs the field '{required[0]}'.") from None


@functools.cache
def _hints(cls: Hashable) -> dict[str, Any]:
    return typing.get_type_hints(cls)


def _typed(hint: Any, value: Any, where: str) -> Any:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is types.UnionType:
        if value is None and type(None) in args:
            return None
        hint = next(arg for arg in args if arg is not type(None))
        return _typed(hint, value, where)
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise DataError(f"{where}: expected a list, got {type(value).__name__}.")
        return tuple(_typed(args[0], item, f"{where}[{i}]") for i, item in enumerate(value))
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return from_dict(hint, value, where)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value) if abs(value) < 2**1023 else math.inf
    if not isinstance(value, hint) or (hint is int and isinstance(value, bool)):
        raise DataError(f"{where}: expected {hint.__name__}, got {type(value).__name__}.")
    if hint is float and not math.isfinite(value):
        raise DataError(f"{where}: expected a finite number, got {value}.")
    return value


def dump(data: Any, indent: int | None = None) -> str:
    """Return data as JSON that every parser takes and UTF-8 can hold.

    Raises:
        ValueError: a number is not finite.
    """
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, indent=indent)
    try:
        text.encode()
    except UnicodeEncodeError:  # half a surrogate pair: only an escape can stand for it
        text = json.dumps(data, allow_nan=False, indent=indent)
    return text


def to_lines(records: Iterable[Any]) -> Iterator[str]:
    """Yield one line of JSON, newline included, for each record.

    Raises:
        DataError: a number of a record is not finite.
    """
    for record in records:
        try:
            yield dump(to_dict(record)) + "\n"
        except ValueError:
            name = getattr(record, "id", type(record).__name__)
            raise DataError(f"{name}: a number in it is not finite, so nothing follows.") from None


def read_jsonl(path: Path, cls: type[R]) -> list[R]:
    """Read a file of records.

    Raises:
        DataError: the file is missing, not UTF-8, or a line is not such a record.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise DataError(f"{path}: no such file.") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 (byte {error.start}). Save it as UTF-8.") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}).") from None
    # Not splitlines(): U+2028 and friends may stand unescaped inside a JSON string.
    lines = enumerate(text.split("\n"), 1)
    return [_parse(line, cls, f"{path}:{number}") for number, line in lines if line.strip()]


def _parse(line: str, cls: type[R], where: str) -> R:
    try:
        data = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}: not JSON ({error}).") from None
    return from_dict(cls, data, where)
