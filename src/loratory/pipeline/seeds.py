"""Runs of one recipe under several seeds, compared as one: tuned minus base, by seeds and rows."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from loratory import evaluation
from loratory.config import to_mapping
from loratory.errors import ConfigError, DataError
from loratory.evaluation.compare import check_paired
from loratory.evaluation.repeats import check_several
from loratory.records import Comparison, Prediction
from loratory.runs import Run

__all__ = ["compare_seeds"]

FREE = ("seed", "name", "output_dir")
"""Fields of a recipe in which runs of several seeds may differ."""
SHOWN = 60
"""Characters of a field's value in a sentence."""


class _Differing(NamedTuple):
    field: str
    values: tuple[Any, Any]


def compare_seeds(runs: Sequence[Run]) -> list[Comparison]:
    """Return one comparison for every value of every metric, over runs that differ in their seed.

    Differences are means over the runs; their intervals hold what other seeds and other test rows
    would change. Metrics, confidence and relevant difference are the recipe's. Nothing is written.

    Args:
        runs: at least two, with predictions of base and tuned model.

    Raises:
        ConfigError: recipes or base models that differ in more than the seed, or one seed twice.
        RunError: a stage that makes predictions was not run; the sentence says which.
        DataError: fewer than two runs, or other test rows; it names the row.
    """
    check_several(runs)
    for place, run in enumerate(runs):
        _check_recipe(runs[0], run)
        _check_seed(runs[:place], run)
    answers = [_answers(run) for run in runs]
    for run, (base, _) in zip(runs[1:], answers[1:], strict=True):
        _check_rows(runs[0], answers[0][0], run, base)
    config = runs[0].config
    return evaluation.compare_seeds(
        answers,
        config.metrics,
        confidence=config.evaluate.confidence,
        relevant=config.evaluate.relevant,
    )


def _answers(run: Run) -> tuple[list[Prediction], list[Prediction]]:
    if not {"base", "tuned"} <= set(run.systems()):
        run.need("adapter", "train")  # else `predict`, which is named below, would fail
    return run.predictions("base"), run.predictions("tuned")


def _check_recipe(first: Run, other: Run) -> None:
    """Raise unless two runs are of one recipe and one base model."""
    one, two = (to_mapping(run.config) for run in (first, other))
    for free in FREE:
        del one[free], two[free]
    found = list(_differing(one, two, ""))
    if found:
        (field, values), more = found[0], len(found) - 1
        here, there = map(_show, values)
        raise ConfigError(
            f"{other.folder}: {field} is {there}, and {here} in {first.folder}"
            + (f"; {more} other field{'s differ' if more > 1 else ' differs'} too" if more else "")
            + ". Give runs of one recipe that differ in their seed alone."
        )
    files = [run.manifest().get("model", {}).get("fingerprint") for run in (first, other)]
    if None not in files and files[0] != files[1]:
        raise ConfigError(
            f"{other.folder}: its base model has other files than that of {first.folder}, under "
            "the same name. Train both on the same files."
        )


def _differing(one: Any, two: Any, path: str) -> Iterator[_Differing]:
    """Yield the fields in which two recipes differ, with both values."""
    if isinstance(one, Mapping) and isinstance(two, Mapping):
        if path and one.get("name") != two.get("name"):
            yield _Differing(f"{path}.name", (one.get("name"), two.get("name")))
            return  # another component, with other fields
        for key in {**one, **two}:
            yield from _differing(one.get(key), two.get(key), f"{path}.{key}" if path else key)
    elif isinstance(one, list) and isinstance(two, list) and len(one) == len(two):
        for place, pair in enumerate(zip(one, two, strict=True)):
            yield from _differing(*pair, f"{path}[{place}]")
    elif one != two:
        yield _Differing(path, (one, two))


def _show(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}…"


def _check_seed(before: Sequence[Run], run: Run) -> None:
    for other in before:
        if other.config.seed == run.config.seed:
            raise ConfigError(
                f"{run.folder}: its seed is {run.config.seed}, as that of {other.folder}. The "
                "spread over seeds needs trainings of different ones; give each once."
            )


def _check_rows(first: Run, expected: list[Prediction], run: Run, found: list[Prediction]) -> None:
    try:
        check_paired(expected, found, (str(first.folder), str(run.folder)))
    except DataError as error:
        if run.config.data.seed is not None:
            raise
        hint = "With data.seed set in the recipe, trainings under other seeds keep the test rows."
        raise DataError(f"{error} {hint}") from None
