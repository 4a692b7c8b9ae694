"""Arguments of the commands that score files, turned into what the library takes."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from loratory.cli.options import given

if TYPE_CHECKING:
    from loratory.evaluation.files import Source
    from loratory.metrics.base import Metric

__all__ = [
    "check_interval",
    "is_run",
    "metrics_of",
    "names_of",
    "refuse",
    "refuse_all",
    "source_of",
]


def is_run(sources: Sequence[Path]) -> bool:
    """Tell whether a run folder is meant, and not files.

    Raises:
        RunError: nothing is there.
    """
    from loratory.errors import RunError

    if len(sources) != 1 or str(sources[0]) == "-":
        return False
    if not sources[0].exists():
        raise RunError(f"{sources[0]}: neither a run folder nor a file of predictions.")
    return sources[0].is_dir()


def refuse(context: typer.Context, names: Collection[str], why: str) -> None:
    """Refuse options that stand on the command line.

    Args:
        context: of the command.
        names: their parameters.
        why: what to say of each.

    Raises:
        ConfigError: one problem for each of them.
    """
    from loratory.errors import ConfigError

    written = {str(item.name): item.opts[0] for item in context.command.params}
    wrong = [written[name] for name in given(context) if name in names]
    if wrong:
        raise ConfigError([f"{option}: {why}" for option in wrong])


def refuse_all(context: typer.Context, why: str) -> None:
    """Refuse every option but `--json`, as `refuse` does."""
    refuse(context, set(context.params) - {"sources", "as_json"}, why)


def source_of(
    context: typer.Context,
    first: Path,
    references: Sequence[Path],
    columns: tuple[str, str, str],
    newline: str,
) -> Source:
    """Return what the files are: JSON lines, or text files where references are given.

    Args:
        context: of the command.
        first: the predictions.
        references: of text files.
        columns: of prediction, reference and source in JSON lines; empty for known names.
        newline: what stands for a line break in text files.

    Raises:
        ConfigError: options of the other kind, or JSON lines among text files.
    """
    from loratory.errors import ConfigError
    from loratory.evaluation.columns import Columns
    from loratory.evaluation.files import TextFiles
    from loratory.evaluation.jsonlines import JsonLines

    if not references:
        refuse(context, {"newline"}, "only for text files; JSON spells it \\n.")
        return JsonLines(first, Columns(*columns))
    for path in (first, *references):
        if path.suffix in (".json", ".jsonl"):
            raise ConfigError(
                f"{path}: JSON lines hold their references themselves. Give such a file alone, or "
                "two systems' files to `loratory compare`."
            )
    named = {"prediction_column", "reference_column", "source_column"}
    refuse(context, named, "only for JSON lines; text files have no columns.")
    return TextFiles(first, tuple(references), newline)


def metrics_of(names: list[str] | None, settings: list[str] | None) -> list[Metric] | None:
    """Return the metrics named or set; None where neither is.

    Args:
        names: as `--metric` has them.
        settings: as `--set` has them: METRIC.FIELD=VALUE.

    Raises:
        ConfigError: no such metric or field, or a value that it does not take.
    """
    from loratory.errors import ConfigError, suggest
    from loratory.metrics.base import METRICS

    fields: dict[str, dict[str, Any]] = {}
    problems = []
    for setting in settings or ():
        key, equals, text = setting.partition("=")
        metric, dot, field = key.partition(".")
        if not (equals and dot and field):
            problems.append(f"--set {setting}: write METRIC.FIELD=VALUE, as rouge.stem=false.")
        elif names and metric not in names:
            hint = suggest(metric, names)
            problems.append(f"--set {setting}: '{metric}' is not among the metrics. {hint}")
        else:
            fields.setdefault(metric, {})[field] = text
    if problems:
        raise ConfigError(problems)
    chosen = names or list(fields)
    if not chosen:
        return None
    classes = {name: METRICS.get(name, "--metric" if names else "--set") for name in chosen}
    if not fields:
        return [cls() for cls in classes.values()]
    return [_configured(cls, name, fields.get(name, {})) for name, cls in classes.items()]


def check_interval(samples: int, confidence: float) -> None:
    """Raise a `ConfigError` for numbers that give no interval."""
    from loratory.errors import ConfigError

    problems = []
    if samples < 1:
        problems.append(f"--samples: {samples} resamples give no interval; 1000 is usual.")
    if not 0 < confidence < 100:
        problems.append(f"--confidence: {confidence:g} is not between 0 and 100; 95 is usual.")
    if problems:
        raise ConfigError(problems)


def _configured(cls: type[Metric], name: str, texts: dict[str, str]) -> Metric:
    """Return a metric with its fields read from text, checked as those of a recipe are."""
    from loratory.config import read_yaml
    from loratory.config.recipe import component
    from loratory.errors import ConfigError
    from loratory.metrics.base import METRICS

    lists = {
        field.name
        for field in dataclasses.fields(cls)  # type: ignore[arg-type]
        if isinstance(field.default, tuple)
    }
    values = {}
    for field, text in texts.items():
        value = read_yaml(text, f"--set {name}.{field}={text}")
        values[field] = value.split(",") if field in lists and isinstance(value, str) else value
    problems: list[str] = []
    metric: Metric = component(METRICS, {**values, "name": name}, name, problems)
    if problems:
        raise ConfigError([f"--set {problem}" for problem in problems])
    return metric


def names_of(left: Path, right: Path) -> tuple[str, str]:
    """Return what to call two systems: their files' names, with folders where those are alike."""
    if left.stem != right.stem:
        return left.stem, right.stem
    return (left.name, right.name) if left.name != right.name else (str(left), str(right))
