"""The commands that turn answers into numbers: `score` and `compare`, of runs and of files."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from loratory.cli.arguments import (
    check_interval,
    is_run,
    metrics_of,
    names_of,
    refuse,
    refuse_all,
    source_of,
)
from loratory.cli.options import (
    ROUGE155,
    Confidence,
    Json,
    Metrics,
    Newline,
    PredictionColumn,
    ReferenceColumn,
    Samples,
    Seed,
    Settings,
    SourceColumn,
    given,
    number,
    spelled,
    takes,
)

if TYPE_CHECKING:
    from loratory.metrics.rouge.rouge155 import Rouge155Result

__all__ = ["compare", "score"]

REFERENCES = ("rouge_score", "rouge155")


@takes(ROUGE155)
def score(
    context: typer.Context,
    sources: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN|FILE",
            help="A run folder; a JSON-lines file; or a text file and its references; - is stdin.",
        ),
    ],
    metrics: Metrics = None,
    settings: Settings = None,
    prediction_column: PredictionColumn = "",
    reference_column: ReferenceColumn = "",
    source_column: SourceColumn = "",
    newline: Newline = "",
    processes: Annotated[
        int | None, typer.Option(metavar="N", help="Default: one a processor for large files.")
    ] = None,
    samples: Samples = 1000,
    confidence: Confidence = 95,
    seed: Seed = 0,
    reference: Annotated[
        str,
        typer.Option(metavar="NAME", help="rouge_score, or rouge155 for what ROUGE-1.5.5 prints."),
    ] = "rouge_score",
    as_json: Json = False,
) -> None:
    """Score a run's systems, or any file of predictions."""
    from loratory.cli import show
    from loratory.cli.console import progress
    from loratory.errors import ConfigError, suggest

    if reference not in REFERENCES:
        raise ConfigError(f"--reference: unknown '{reference}'. {suggest(reference, REFERENCES)}")
    if is_run(sources):
        refuse_all(context, "only for files; a run has its recipe's own.")
        _show_run("score", sources[0], as_json)
        return
    columns = (prediction_column, reference_column, source_column)
    source = source_of(context, sources[0], sources[1:], columns, newline)
    name = "stdin" if sources[0] == Path("-") else sources[0].stem
    if reference == "rouge155":
        refuse(context, {"metrics", "settings", "seed"}, "not with --reference rouge155.")
        options = _rouge155_options(context)
        from loratory.evaluation.rouge155 import rouge155_stream

        with progress() as shown:
            result = rouge155_stream(source, options, processes=processes, progress=shown)
        _print_rouge155(result, bool(context.params["each"]), as_json)
        return
    refuse(context, ROUGE155, "only with --reference rouge155; --set has the fields of metrics.")
    from loratory.evaluation.stream import score_stream

    chosen = metrics_of(metrics, settings)
    check_interval(samples, confidence)
    with progress() as shown:
        found = score_stream(
            source,
            chosen,
            resamples=samples,
            confidence=confidence / 100,
            seed=seed,
            processes=processes,
            progress=shown,
        )
    if as_json and found.note:
        from loratory.codec import to_dict

        scores = [to_dict(item) for item in found.scores]
        show.print_json({"scores": {name: scores}, "note": found.note})
        return
    show.scores({name: found.scores}, as_json)
    if found.note:
        typer.echo(found.note)


def compare(
    context: typer.Context,
    sources: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN|FILE",
            help="A run folder; runs of one recipe with other seeds; or two systems' files.",
        ),
    ],
    references: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="For text files: the references; may be repeated."),
    ] = None,
    metrics: Metrics = None,
    settings: Settings = None,
    prediction_column: PredictionColumn = "",
    reference_column: ReferenceColumn = "",
    source_column: SourceColumn = "",
    newline: Newline = "",
    samples: Samples = 1000,
    confidence: Confidence = 95,
    seed: Seed = 0,
    relevant: Annotated[
        float,
        typer.Option(
            parser=number,
            metavar="X",
            help="Smallest difference that matters: points of 100, or % of a perplexity.",
        ),
    ] = 2,
    as_json: Json = False,
) -> None:
    """Compare two systems row by row: tuned and base model of a run or several, or two files."""
    from loratory.cli import show
    from loratory.errors import ConfigError

    if is_run(sources):
        refuse_all(context, "only for files; a run has its recipe's own.")
        _show_run("compare", sources[0], as_json)
        return
    if any(source.is_dir() for source in sources):
        refuse_all(context, "only for files; runs have their recipe's own.")
        _show_seeds(sources, as_json)
        return
    if len(sources) != 2:
        raise ConfigError(
            f"compare: got {len(sources)} files; give a run, runs of several seeds, or two "
            "systems' files."
        )
    from loratory import evaluation
    from loratory.evaluation.stream import read

    check_interval(samples, confidence)
    if not 0 < relevant < 100:
        raise ConfigError(
            f"--relevant: {relevant:g} is not between 0 and 100; 2, two points, is usual."
        )
    columns = (prediction_column, reference_column, source_column)
    left, right = (source_of(context, file, references or [], columns, newline) for file in sources)
    base, chosen = read(left, metrics_of(metrics, settings))
    tuned, _ = read(right, chosen)
    items = evaluation.compare(
        base,
        tuned,
        chosen,
        resamples=samples,
        confidence=confidence / 100,
        seed=seed,
        relevant=relevant / 100,
    )
    first, second = names_of(*sources)
    show.compared(items, first, second, as_json)


def _show_run(stage: str, folder: Path, as_json: bool) -> None:
    """Score or compare a run, and print what was found."""
    from loratory import pipeline
    from loratory.cli import show
    from loratory.cli.console import progress
    from loratory.runs import Run

    opened = Run.open(folder)
    with progress() as shown:
        getattr(pipeline, stage)(opened, shown)
    if stage == "score":
        show.scores(opened.scores(), as_json, opened.places())
    else:
        show.comparison(opened, as_json)


def _show_seeds(folders: Sequence[Path], as_json: bool) -> None:
    """Compare runs that differ in their seed, and print what was found."""
    from loratory import pipeline
    from loratory.cli import show
    from loratory.errors import ConfigError
    from loratory.runs import Run

    files = [folder for folder in folders if not is_run([folder])]
    if files:
        raise ConfigError(
            f"{files[0]}: a file among run folders. Give run folders alone, or two systems' files."
        )
    runs = [Run.open(folder) for folder in folders]
    items = pipeline.compare_seeds(runs)
    show.compared(items, "base", "tuned", as_json, seeds=[run.config.seed for run in runs])


def _rouge155_options(context: typer.Context) -> Any:
    from loratory.errors import ConfigError
    from loratory.metrics.rouge.rouge155 import Rouge155Options

    fields = {field.name for field in dataclasses.fields(Rouge155Options)}
    chosen = {name: value for name, value in given(context).items() if name in fields}
    options = Rouge155Options(**chosen)
    problems = []
    for problem in options.problems():
        name, _, sentence = problem.partition(": ")
        problems.append(f"{spelled(name)}: {sentence}")
    if problems:
        raise ConfigError(problems)
    return options


def _print_rouge155(result: Rouge155Result, each: bool, as_json: bool) -> None:
    """Print the script's lines and the signature, or everything as JSON."""
    from loratory.cli.show import print_json

    if not as_json:
        typer.echo(result.text(each=each), nl=False)
        typer.echo(f"n={result.n} {result.signature}")
        return
    keys = ("recall", "precision", "f")
    data: dict[str, Any] = {
        "signature": result.signature,
        "n": result.n,
        "confidence": result.options.confidence / 100,
        "scores": {
            name: {
                key: {"value": value.mean, "low": value.low, "high": value.high}
                for key, value in zip(keys, average, strict=True)
            }
            for name, average in result.averages.items()
        },
    }
    if not result.averages:
        data["counts"] = {
            name: [sum(column) for column in zip(*counts, strict=True)]
            for name, counts in result.counts.items()
        }
    if each:
        data["evaluations"] = [
            {
                "id": name,
                "scores": {key: found[i]._asdict() for key, found in result.scores.items()},
                "counts": {key: found[i]._asdict() for key, found in result.counts.items()},
            }
            for i, name in enumerate(result.ids)
        ]
    print_json(data)
