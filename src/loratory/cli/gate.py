"""`loratory gate`: an exit status for continuous integration."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from loratory.cli.options import Json

__all__ = ["gate"]


def gate(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")],
    min_gain: Annotated[
        float | None,
        typer.Option(metavar="X", help="Least gain, in points of 100; it must be a finding, too."),
    ] = None,
    metric: Annotated[
        str, typer.Option(metavar="NAME", help="Of which; default: the run's first.")
    ] = "",
    max_forgetting: Annotated[
        float | None,
        typer.Option(metavar="X", help="Most points of accuracy, or % of perplexity, lost."),
    ] = None,
    max_bias: Annotated[
        float | None, typer.Option(metavar="X", help="Most points by which a bias may grow.")
    ] = None,
    no_leakage: Annotated[
        bool, typer.Option("--no-leakage", help="No test row may be in training or validation.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Exit with 0 if a run meets every condition, with 1 if it does not."""
    from loratory.cli.show import print_json
    from loratory.errors import ConfigError
    from loratory.evaluation import gate as checks
    from loratory.report.wording import headline
    from loratory.runs import Run

    opened = Run.open(run)
    findings, found = opened.findings(), []
    if min_gain is not None or metric:
        comparisons = opened.comparison()
        first = headline(comparisons)
        name = metric or (first.metric if first else "")
        found.append(checks.gain_check(comparisons, name, min_gain or 0.0))
    if max_forgetting is not None:
        found.append(checks.forgetting_check(findings, max_forgetting))
    if max_bias is not None:
        found.append(checks.bias_check(findings, max_bias))
    if no_leakage:
        found.append(checks.leakage_check(findings))
    if not found:
        raise ConfigError(
            "gate: no condition was given. Say --min-gain, --max-forgetting, --max-bias or "
            "--no-leakage."
        )
    passed = all(check.passed for check in found)
    if as_json:
        print_json({"passed": passed, "checks": [check._asdict() for check in found]})
    else:
        for check in found:
            typer.echo(f"{'passed' if check.passed else 'failed'}  {check.sentence}")
    raise typer.Exit(0 if passed else 1)
