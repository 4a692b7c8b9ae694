"""The command `scale`: what an adapter brings and costs when it is turned down."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from loratory.cli.options import Json

__all__ = ["scale"]


def scale(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")],
    scales: Annotated[
        str, typer.Option(metavar="A,B,…", help="0 and 1 are always taken.")
    ] = "0.25,0.5,0.75,1,1.25",
    as_json: Json = False,
) -> None:
    """Turn a run's adapter down and up: its gain against what the model forgets."""
    from loratory import pipeline
    from loratory.cli.console import progress
    from loratory.cli.show import print_json
    from loratory.codec import to_dict
    from loratory.evaluation.forgetting.knee import knee
    from loratory.runs import Run

    wanted = _numbers(scales)
    opened = Run.open(run)
    with progress() as shown:
        points = pipeline.scale(opened, wanted, shown)
    best = knee(points)
    if as_json:
        knee_at = None if best is None else best.scale
        print_json({"scales": [to_dict(point) for point in points], "knee": knee_at})
        return
    typer.echo("nats a token, against the base model\nscale     gain  forgetting")
    for point in points:
        line = f"{point.scale:5g} {point.gain:+8.3f}  {point.forgetting:+10.3f}"
        typer.echo(f"{line}  knee" if point == best else line)
    finding = opened.findings().get("forgetting")
    if finding is not None:
        typer.echo(finding.sentences[-1])


def _numbers(text: str) -> list[float]:
    from loratory.errors import ConfigError

    try:
        return [float(part) for part in text.split(",") if part.strip()]
    except ValueError:
        raise ConfigError(f"--scales: '{text}' is no list of numbers, as 0.25,0.5,0.75.") from None
