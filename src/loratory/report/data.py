"""A run folder, read for the report: whatever is there, and what is not and why.

A report on half a run is worth more than none, so no single file is required. A file that is
missing or unreadable becomes one `Missing`, which the report shows where its section would be.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import yaml

from loratory.codec import from_dict, read_jsonl
from loratory.errors import DataError, RunError
from loratory.records import QUESTIONS, Comparison, Example, Finding, Place, Prediction, Score

__all__ = ["LossLog", "Missing", "ReportData", "fact", "load"]

VERSION = 1

T = TypeVar("T")
Scored = tuple[dict[str, tuple[Score, ...]], tuple[Place, ...]]

CONSEQUENCES = {
    "config.yaml": "the settings are unknown",
    "manifest.json": "model, data, machine and versions are unknown",
    "adapter": "the tuned model cannot be loaded",
    "train.jsonl": "there is no loss curve",
    "data/test.jsonl": "sources are shown only where the predictions hold them",
    "predictions/base": "there are no answers of the base model",
    "predictions/tuned": "there are no answers of the tuned model",
    "scores.json": "there are no scores of single systems",
    "comparison.json": "nothing can be said about better or worse",
}
"""What a run folder should hold, and what the report cannot say without it."""


class Missing(NamedTuple):
    """One file the report had to do without."""

    path: str
    """As in the run folder: `scores.json`."""
    why: str
    """`missing`, or what is wrong with it."""
    consequence: str
    """What the report cannot say for it."""


class LossLog(NamedTuple):
    """What `train.jsonl` says of the loss, in order of steps."""

    train: tuple[tuple[int, float], ...] = ()
    """(step, loss)."""
    validation: tuple[tuple[int, float], ...] = ()
    not_finite: tuple[int, ...] = ()
    """Steps whose loss was NaN or infinite, which no curve can show."""


@dataclass(frozen=True)
class ReportData:
    """One run folder in memory."""

    folder: str
    """Its name, without the path to it: a report must not tell where a home folder is."""
    config_text: str = ""
    config: Mapping[str, Any] = field(default_factory=dict)
    manifest: Mapping[str, Any] = field(default_factory=dict)
    log: LossLog = field(default_factory=LossLog)
    examples: Mapping[str, Example] = field(default_factory=dict)
    """By id."""
    predictions: Mapping[str, Mapping[str, tuple[Prediction, ...]]] = field(default_factory=dict)
    """System (`base`, `tuned`, a baseline) to task to answers."""
    scores: Mapping[str, tuple[Score, ...]] = field(default_factory=dict)
    places: tuple[Place, ...] = ()
    """Empty in a run from before they were computed."""
    comparisons: tuple[Comparison, ...] = ()
    findings: Mapping[str, Finding] = field(default_factory=dict)
    """By question; those that were looked into."""
    missing: tuple[Missing, ...] = ()

    @property
    def name(self) -> str:
        """What the user called the run; without a name of its own, the folder's."""
        named = fact(self.config, "name")
        return str(self.id if named in (None, "", "run") else named)

    @property
    def id(self) -> str:
        """The run folder's name when it was made: time, name and hash."""
        return str(fact(self.manifest, "run") or self.folder)

    @property
    def task(self) -> str | None:
        """The task trained for: the recipe's, else the first one with answers."""
        tasks = sorted({task for answers in self.predictions.values() for task in answers})
        named = fact(self.config, "task", "name") or fact(self.config, "task")
        return named if isinstance(named, str) else next(iter(tasks), None)

    @property
    def labels(self) -> tuple[str, ...]:
        """The class names; empty for a generation task."""
        labels = fact(self.manifest, "labels")
        return tuple(map(str, labels)) if isinstance(labels, list) else ()

    def answers(self, system: str) -> tuple[Prediction, ...]:
        """Return one system's answers to the task trained for; empty when there are none."""
        tasks = self.predictions.get(system, {})
        if self.task is not None and self.task in tasks:
            return tasks[self.task]
        return next(iter(tasks.values())) if len(tasks) == 1 else ()

    def lacks(self, path: str) -> Missing | None:
        """Return why a file could not be used, or None when it could."""
        return next((item for item in self.missing if item.path == path), None)


def fact(tree: Any, *path: str) -> Any:
    """Return the value at a path of keys, or None where the path ends early."""
    for key in path:
        if not isinstance(tree, Mapping):
            return None
        tree = tree.get(key)
    return tree


def load(folder: Path) -> ReportData:
    """Read a run folder, complete or not.

    Raises:
        RunError: `folder` is not a folder. Nothing inside it is required.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise RunError(f"{folder}: no such run folder. Give the folder that `loratory run` made.")
    reader = _Reader(folder)
    config_text = reader.read("config.yaml", _text, "")
    nothing: Scored = ({}, ())
    scores, places = reader.read("scores.json", _scores, nothing)
    return ReportData(
        folder=folder.resolve().name,
        config_text=config_text,
        config=reader.read("config.yaml", _recipe, {}),
        manifest=reader.read("manifest.json", _versioned, {}),
        log=reader.read("train.jsonl", _losses, LossLog()),
        examples=reader.read("data/test.jsonl", _examples, {}),
        predictions=reader.predictions(),
        scores=scores,
        places=places,
        comparisons=reader.read("comparison.json", _comparisons, ()),
        findings=reader.findings(),
        missing=reader.finish(),
    )


class _Reader:
    """Reads files of one folder and remembers those it could not."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._faults: dict[str, str] = {}
        self._answered: set[str] = set()

    def read(self, path: str, parse: Callable[[Path], T], default: T) -> T:
        file = self.folder / path
        if not file.exists():
            self._faults[path] = "missing"
            return default
        try:
            return parse(file)
        except (DataError, OSError, ValueError, yaml.YAMLError) as error:
            self._faults[path] = _one_line(error, self.folder)
            return default

    def predictions(self) -> dict[str, dict[str, tuple[Prediction, ...]]]:
        root = self.folder / "predictions"
        found: dict[str, dict[str, tuple[Prediction, ...]]] = {}
        for file in sorted(root.glob("*/*.jsonl")):
            path = file.relative_to(self.folder).as_posix()
            answers = self.read(path, _predictions, None)
            if answers is not None:
                found.setdefault(file.parent.name, {})[file.stem] = answers
                self._answered.add(file.parent.name)
        return found

    def findings(self) -> dict[str, Finding]:
        found = {}
        for question in QUESTIONS:
            path = f"findings/{question}.json"
            if (self.folder / path).exists():
                finding = self.read(path, _finding, None)
                if finding is not None:
                    found[question] = finding
        return found

    def finish(self) -> tuple[Missing, ...]:
        for path in ("adapter", "predictions/base", "predictions/tuned"):
            place = self.folder / path
            if not place.is_dir() or not any(place.iterdir()):
                self._faults[path] = "missing"
        for system in ("base", "tuned"):
            path = f"predictions/{system}"
            if path not in self._faults and system not in self._answered:
                self._faults[path] = "no file in it can be read"
        order = list(CONSEQUENCES)
        paths = sorted(
            self._faults, key=lambda p: (order.index(p) if p in order else len(order), p)
        )
        return tuple(
            Missing(path, self._faults[path], CONSEQUENCES.get(path, "its answers are not shown"))
            for path in paths
        )


def _one_line(error: Exception, folder: Path) -> str:
    # The folder's own path tells a reader of the report nothing, and where it was made a lot.
    text = " ".join(str(error).split()).replace(f"{folder}/", "")
    return text[:300] or type(error).__name__


def _recipe(path: Path) -> dict[str, Any]:
    return _mapping(yaml.safe_load(_text(path)))


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def _mapping(data: Any) -> dict[str, Any]:
    if not isinstance(data, dict):
        raise DataError(f"expected a mapping, got {type(data).__name__}")
    return data


def _versioned(path: Path) -> dict[str, Any]:
    data = _mapping(json.loads(_text(path)))
    version = data.get("schema_version", VERSION)
    if version != VERSION:
        raise DataError(f"version {version!r}, this Loratory reads {VERSION}; upgrade Loratory")
    return data


def _losses(path: Path) -> LossLog:
    entries: list[dict[str, Any]] = []
    lines = [line for line in _text(path).split("\n") if line.strip()]
    for number, line in enumerate(lines, 1):
        try:
            entries.append(_mapping(json.loads(line)))
        except (DataError, ValueError):
            # The last line of a run that was killed, or is running now, may be torn.
            if number < len(lines):
                raise DataError(f"line {number}: not a JSON object") from None
    columns: dict[str, list[tuple[int, float]]] = {"loss": [], "eval_loss": []}
    broken: set[int] = set()
    for entry in entries:
        step = entry.get("step")
        if not isinstance(step, int):
            continue
        for key, column in columns.items():
            value = entry.get(key)
            if not isinstance(value, int | float):
                continue
            if math.isfinite(value):
                column.append((step, float(value)))
            else:
                broken.add(step)
    train, validation = (tuple(sorted(column)) for column in columns.values())
    return LossLog(train, validation, tuple(sorted(broken)))


def _examples(path: Path) -> dict[str, Example]:
    return {example.id: example for example in read_jsonl(path, Example)}


def _predictions(path: Path) -> tuple[Prediction, ...] | None:
    return tuple(read_jsonl(path, Prediction))


def _scores(path: Path) -> Scored:
    data = _versioned(path)
    systems = _mapping(data.get("systems"))
    scores = {str(system): _records(Score, items, system) for system, items in systems.items()}
    return scores, _records(Place, data.get("places", []), "places")


def _comparisons(path: Path) -> tuple[Comparison, ...]:
    return _records(Comparison, _versioned(path).get("comparisons"), "comparisons")


def _finding(path: Path) -> Finding | None:
    return from_dict(Finding, _mapping(_versioned(path).get("finding")), path.name)


def _records(cls: type[T], items: Any, where: str) -> tuple[T, ...]:
    if not isinstance(items, list):
        raise DataError(f"{where}: expected a list, got {type(items).__name__}")
    return tuple(from_dict(cls, item, f"{where}[{i}]") for i, item in enumerate(items))
