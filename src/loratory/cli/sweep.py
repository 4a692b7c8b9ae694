"""The command `sweep`: many methods under one budget, several seeds each."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from loratory.cli.arguments import refuse

if TYPE_CHECKING:
    from loratory.sweep import Budget, Sweep

__all__ = ["sweep"]


def sweep(
    context: typer.Context,
    source: Annotated[
        Path,
        typer.Argument(metavar="RECIPE|SWEEP", help="A recipe, or a sweep folder to go on with."),
    ],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="KEY=VALUE", help="Fields to change, as train.learning_rate=1e-4."),
    ] = None,
    methods: Annotated[
        str, typer.Option(metavar="A,B,…", help="Methods, as `loratory list methods` has them.")
    ] = "",
    seeds: Annotated[int, typer.Option(metavar="N", help="Seeds a method; 3 show a spread.")] = 3,
    learning_rates: Annotated[
        str,
        typer.Option(metavar="A,B,…", help="Tried by each method's first seed; the best is kept."),
    ] = "",
    steps: Annotated[
        int | None, typer.Option(metavar="N", help="Budget: optimiser steps a trial.")
    ] = None,
    tokens: Annotated[
        int | None, typer.Option(metavar="N", help="Budget: tokens a trial, without padding.")
    ] = None,
    seconds: Annotated[
        float | None, typer.Option(metavar="S", help="Budget: seconds of training a trial.")
    ] = None,
    on: Annotated[
        str, typer.Option(metavar="here|ray", help="One trial after the other, or on Ray.")
    ] = "here",
    address: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Of a Ray that is there; else one is started.")
    ] = "",
    cores: Annotated[
        int | None, typer.Option(metavar="N", help="Threads a trial, and cores that Ray gives it.")
    ] = None,
    gpus: Annotated[
        float | None, typer.Option(metavar="N", help="GPUs that Ray gives a trial, or a share.")
    ] = None,
    metric: Annotated[
        str, typer.Option(metavar="NAME", help="What to order by; default: the task's own.")
    ] = "",
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object instead of text.")
    ] = False,
) -> None:
    """Compare methods under one budget, over several seeds; a sweep folder is gone on with."""
    from loratory.cli.console import progress
    from loratory.sweep import Budget, Sweep, Workers
    from loratory.sweep import sweep as run

    workers = Workers(on, address, cores, gpus)
    if source.is_dir():
        set_here = {"methods", "seeds", "learning_rates", "steps", "tokens", "seconds", "overrides"}
        refuse(context, set_here, "only with a recipe; a sweep has its own plan.")
        same = Sweep.open(source)
        begin: Callable[[], Sweep] = lambda: same  # noqa: E731
    else:
        budget = Budget(steps, tokens, seconds)
        begin = _planned(source, overrides, methods, seeds, learning_rates, budget)
    with progress() as shown, workers.start(shown) as engine:
        opened = begin()  # nothing is written before there is something to run it
        shown.note(f"Stopped, it goes on with: loratory sweep {opened.folder}")
        run(opened, shown, engine)
    _show(opened, metric, as_json)


def _planned(
    source: Path,
    overrides: list[str] | None,
    methods: str,
    seeds: int,
    learning_rates: str,
    budget: Budget,
) -> Callable[[], Sweep]:
    """Return a function that makes the folder of a sweep, planned by a recipe and options."""
    from loratory.config import load
    from loratory.errors import ConfigError
    from loratory.sweep import Sweep, plan

    names = [name.strip() for name in methods.split(",") if name.strip()]
    if not names:
        raise ConfigError("--methods: none; name at least one, as --methods lora,ia3.")
    recipe = load(source, overrides or ())
    rates = _numbers(learning_rates)
    trials = plan(recipe, names, seeds, budget)
    return partial(Sweep.create, trials, recipe, {"budget": vars(budget), "seeds": seeds}, rates)


def _numbers(text: str) -> list[float]:
    from loratory.errors import ConfigError

    try:
        found = [float(part) for part in text.split(",") if part.strip()]
    except ValueError:
        found = [0.0]
    if any(not 0 < rate < 10 for rate in found) or len(set(found)) < len(found):
        raise ConfigError(
            f"--learning-rates: '{text}'; write different numbers above 0 and below 10, as "
            "1e-4,1e-3."
        )
    return found


def _show(opened: Sweep, metric: str, as_json: bool) -> None:
    """Print a sweep's summary; end with status 2 where trials failed.

    Raises:
        DataError: no trial has a result.
        Exit: after printing.
    """
    from loratory.cli.show import print_json
    from loratory.files import write_text
    from loratory.sweep import summary

    found = summary(opened, metric)
    write_text(opened.folder / "summary.md", found.markdown())
    failed = f"{', '.join(found.failed)} failed. To run again: loratory sweep {opened.folder}"
    if as_json:
        answer = {"sweep": str(opened.folder), "summary": _plain(found)}
        if found.failed:
            answer["error"] = {"type": "RunError", "problems": [failed]}
        print_json(answer)
    else:
        typer.echo(f"{found.markdown()}\n{opened.folder}")
        if found.failed:
            typer.echo(f"loratory: {failed}", err=True)
    if found.failed:
        raise typer.Exit(2)


def _plain(found: Any) -> dict[str, Any]:
    import dataclasses

    rows = [{**dataclasses.asdict(row), "quality": row.quality._asdict()} for row in found.rows]
    return {
        "metric": found.metric,
        "base": found.base,
        "rows": rows,
        "refused": found.refused,
        "failed": found.failed,
        "at_once": found.at_once,
        "sentence": found.sentence,
    }
