"""The commands. Each parses its arguments, calls one function of the library, and prints."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from loratory import __version__
from loratory.cli.export import combine, export, interpolate, merge, push
from loratory.cli.gate import gate
from loratory.cli.launch import launch
from loratory.cli.options import Json, Overrides, RecipeFile
from loratory.cli.plan import plan
from loratory.cli.scale import scale
from loratory.cli.score import compare, score
from loratory.cli.sweep import sweep

if TYPE_CHECKING:
    from loratory.config import RunConfig
    from loratory.runs import Run

__all__ = ["app"]

app = typer.Typer(
    name="loratory",
    help="Fine-tune a language model, and prove it got better.",
    no_args_is_help=True,
    add_completion=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")]


def _version(value: bool) -> None:
    if value:
        typer.echo(f"loratory {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")
    ] = False,
) -> None: ...


@app.command()
def run(recipe: RecipeFile, overrides: Overrides = None, as_json: Json = False) -> None:
    """Fine-tune by a recipe, score base and tuned model, and write the report."""
    _run(_load(recipe, overrides), as_json)


@app.command()
def demo(overrides: Overrides = None, as_json: Json = False) -> None:
    """Run the demo: a real model, real text, everything on this machine, a few minutes."""
    _run(_load(Path(__file__).with_name("demo.yaml"), overrides), as_json)


@app.command()
def check(recipe: RecipeFile, overrides: Overrides = None, as_json: Json = False) -> None:
    """Find all that could fail later, in recipe, data and model; train nothing."""
    from loratory import pipeline
    from loratory.cli.show import print_json
    from loratory.config import to_mapping

    config = _load(recipe, overrides)
    with _progress() as progress:
        checked = pipeline.check(config, progress)
    facts = {"config": to_mapping(checked.config), "data": checked.data}
    facts["model"] = checked.preflight.model
    if as_json:
        print_json(facts)
    else:
        typer.echo(f"{recipe}: ready to run.")


app.command()(plan)


@app.command()
def prepare(recipe: RecipeFile, overrides: Overrides = None, as_json: Json = False) -> None:
    """Check a recipe and lay its examples down in a new run folder."""
    from loratory import pipeline

    config = _load(recipe, overrides)
    with _progress() as progress:
        new = pipeline.prepare(config, progress)
    _done(new.folder, as_json, f"Prepared. Next: loratory train {new.folder}")


@app.command()
def resume(run: RunFolder, as_json: Json = False) -> None:
    """Go on with a run from where it was left, to its end."""
    from loratory.cli import show

    show.result(_stage("resume", run), as_json)


@app.command()
def train(run: RunFolder, as_json: Json = False) -> None:
    """Train the adapter of a prepared run, going on from its last checkpoint."""
    _stage("train", run)
    _done(run, as_json, f"Trained. Next: loratory predict {run}")


@app.command()
def predict(run: RunFolder, as_json: Json = False) -> None:
    """Let base model, tuned model and baselines answer the test rows."""
    _stage("predict", run)
    _done(run, as_json, f"Predicted. Next: loratory probe {run}")


@app.command()
def probe(run: RunFolder, as_json: Json = False) -> None:
    """Ask base and tuned model what is not the task: what was forgotten, which bias grew."""
    _stage("probe", run)
    _done(run, as_json, f"Probed. Next: loratory score {run}")


app.command()(launch)
app.command()(score)
app.command()(compare)
app.command()(scale)
app.command()(gate)
app.command()(sweep)


@app.command()
def report(run: RunFolder, as_json: Json = False) -> None:
    """Write report.html and the model card of a run."""
    _stage("write_report", run)
    _done(run, as_json, f"{run}/report.html")


for command in (merge, export, push, combine, interpolate):
    app.command()(command)


@app.command(name="list")
def list_(
    kind: Annotated[
        str,
        typer.Argument(
            metavar="KIND|NAME", help="methods, tasks, metrics, models or data; or one by its name."
        ),
    ] = "",
    as_json: Json = False,
) -> None:
    """List methods, tasks, metrics, models and data, with their settings."""
    from loratory.cli.listing import listing
    from loratory.cli.show import print_json, print_listing

    found = listing(kind)
    if as_json:
        print_json(found)
    else:
        print_listing(found)


@app.command()
def init(
    task: Annotated[str, typer.Argument(help="A task, as `loratory list tasks` has them.")],
    file: Annotated[Path | None, typer.Argument(help="Where to; default: TASK.yaml.")] = None,
    as_json: Json = False,
) -> None:
    """Write a commented recipe for a task, ready to run."""
    from loratory.config.template import commented
    from loratory.errors import ConfigError
    from loratory.files import write_text

    text = commented(task)
    target = file or Path(f"{task}.yaml")
    if target.exists():
        raise ConfigError(f"{target}: is there already. Give another file name.")
    write_text(target, text)
    _done(target, as_json, f"Wrote {target}. Next: loratory check {target}", key="recipe")


def _load(recipe: Path, overrides: list[str] | None) -> RunConfig:
    from loratory.config import load

    return load(recipe, overrides or ())


def _progress() -> Any:
    from loratory.cli.console import progress

    return progress()


def _run(config: RunConfig, as_json: bool) -> None:
    from loratory import pipeline
    from loratory.cli import show

    with _progress() as progress:
        finished = pipeline.run(config, progress)
    show.result(finished, as_json)


def _stage(name: str, folder: Path) -> Run:
    from loratory import pipeline
    from loratory.runs import Run

    opened = Run.open(folder)
    with _progress() as progress:
        getattr(pipeline, name)(opened, progress)
    return opened


def _done(path: Path, as_json: bool, words: str, key: str = "run") -> None:
    from loratory.cli.show import print_json

    if as_json:
        print_json({key: str(path)})
    else:
        typer.echo(words)
