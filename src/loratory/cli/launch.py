"""`loratory launch`: training by several processes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from loratory.cli.options import Json, Overrides

if TYPE_CHECKING:
    from loratory.pipeline import Processes

__all__ = ["launch"]


def launch(
    target: Annotated[
        Path, typer.Argument(metavar="RECIPE|RUN", help="A recipe, or a run to go on with.")
    ],
    overrides: Overrides = None,
    processes: Annotated[int, typer.Option(help="Processes on this machine.")] = 2,
    nodes: Annotated[int, typer.Option(help="Machines that launch the same RUN.")] = 1,
    node: Annotated[int, typer.Option(help="Which of them this is, from 0.")] = 0,
    meet: Annotated[str, typer.Option(help="HOST:PORT of the first.")] = "",
    accelerate: Annotated[
        Path | None, typer.Option(help="A file of `accelerate config`, for FSDP or DeepSpeed.")
    ] = None,
    slurm: Annotated[
        Path | None, typer.Option(help="Write a script for sbatch to this file, and do no more.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Train by several processes, and go on with the run to its end."""
    from loratory import pipeline
    from loratory.cli import show
    from loratory.cli.console import progress
    from loratory.config import load
    from loratory.errors import ConfigError
    from loratory.runs import Run

    if slurm is not None:
        _write_script(slurm, target, pipeline.Processes(processes, nodes), as_json)
        return
    how = pipeline.Processes(processes, nodes, node, meet, accelerate)
    if problems := how.problems():
        raise ConfigError(problems)
    if target.is_dir():
        if overrides:
            raise ConfigError(f"{overrides[0]}: a run keeps its recipe; take the overrides away.")
        run = Run.open(target)
    elif nodes > 1:
        raise ConfigError(
            f"{target}: several nodes go on with one RUN. Run: loratory prepare {target}"
        )
    else:
        run = None
    with progress() as shown:
        started = run or pipeline.prepare(load(target, overrides or ()), shown)
        pipeline.launch(started, how, shown)
    if node == 0:
        show.result(started, as_json)


def _write_script(file: Path, target: Path, how: Processes, as_json: bool) -> None:
    from loratory.cli.show import print_json
    from loratory.errors import ConfigError
    from loratory.files import write_text
    from loratory.pipeline.slurm import slurm_script
    from loratory.runs import Run

    if file.exists():
        raise ConfigError(f"{file}: is there already. Give another file name.")
    write_text(file, slurm_script(Run.open(target).folder, how))
    if as_json:
        print_json({"script": str(file)})
    else:
        typer.echo(f"Wrote {file}. Next: sbatch {file}")
