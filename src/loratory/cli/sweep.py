"""The command `sweep`: many methods under one budget, several seeds each."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from loratory.cli.arguments import refuse

if TYPE_CHECKING:
    from loratory.sweep import Sweep

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
    metric: Annotated[
        str, typer.Option(metavar="NAME", help="What to order by; default: the task's own.")
    ] = "",
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object instead of text.")
    ] = False,
) -> None:
    """Compare methods under one budget, over several seeds; a sweep folder is gone on with."""
    from loratory.cli.console import progress
    from loratory.config import load
    from loratory.errors import ConfigError
    from loratory.sweep import Budget, Sweep, plan
    from loratory.sweep import sweep as run

    if source.is_dir():
        set_here = {"methods", "seeds", "learning_rates", "steps", "tokens", "seconds", "overrides"}
        refuse(context, set_here, "only with a recipe; a sweep has its own plan.")
        opened = Sweep.open(source)
    else:
        names = [name.strip() for name in methods.split(",") if name.strip()]
        if not names:
            raise ConfigError("--methods: none; name at least one, as --methods lora,ia3.")
        recipe = load(source, overrides or ())
        rates = _numbers(learning_rates)
        budget = Budget(steps, tokens, seconds)
        trials = plan(recipe, names, seeds, budget)
        facts = {"budget": vars(budget), "seeds": seeds}
        opened = Sweep.create(trials, recipe, facts, rates)
    with progress() as shown:
        run(opened, shown)
    _show(opened, metric, as_json)


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
    from loratory.cli.show import print_json
    from loratory.runs.files import write_text
    from loratory.sweep import summary

    found = summary(opened, metric)
    write_text(opened.folder / "summary.md", found.markdown())
    if as_json:
        print_json({"sweep": str(opened.folder), "summary": _plain(found)})
    else:
        typer.echo(f"{found.markdown()}\n{opened.folder}")


def _plain(found: Any) -> dict[str, Any]:
    import dataclasses

    rows = [{**dataclasses.asdict(row), "quality": row.quality._asdict()} for row in found.rows]
    return {
        "metric": found.metric,
        "base": found.base,
        "rows": rows,
        "refused": found.refused,
        "sentence": found.sentence,
    }
