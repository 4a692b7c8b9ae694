"""Options that several commands have, and those of ROUGE-1.5.5.

The help of each of the latter ends with the letter that the script's command line gives it. They
stand here and not in `Rouge155Options` alone, so that `loratory --help` need not load numpy;
a test holds the two together.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, NamedTuple, TypeVar

import typer

__all__ = [
    "ROUGE155",
    "Confidence",
    "Json",
    "Metrics",
    "Newline",
    "Overrides",
    "PredictionColumn",
    "RecipeFile",
    "ReferenceColumn",
    "Samples",
    "Seed",
    "Settings",
    "SourceColumn",
    "Switch",
    "given",
    "number",
    "spelled",
    "takes",
]

Command = TypeVar("Command", bound=Callable[..., None])


def number(text: str) -> float:
    """Read a number as it is written: signatures, and names of ROUGE-W, tell 2 from 2.0."""
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError:
        raise typer.BadParameter(f"'{text}' is not a number.") from None


Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]
RecipeFile = Annotated[Path, typer.Argument(metavar="RECIPE", help="A recipe in YAML.")]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="KEY=VALUE", help="Fields to change, as train.learning_rate=1e-4."),
]
Metrics = Annotated[
    list[str] | None,
    typer.Option("--metric", metavar="NAME", help="For files; may be repeated."),
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="METRIC.FIELD=VALUE", help="As rouge.types=rouge1,rougeL; repeatable."
    ),
]
PredictionColumn = Annotated[
    str, typer.Option(metavar="NAME", help="Column with the predictions; else known names.")
]
ReferenceColumn = Annotated[
    str, typer.Option(metavar="NAME", help="Column with a reference, or a list of several.")
]
SourceColumn = Annotated[
    str, typer.Option(metavar="NAME", help="Column with the text that was summarised.")
]
Newline = Annotated[
    str, typer.Option(metavar="MARK", help="What stands for a line break in text files, as <n>.")
]
Samples = Annotated[
    int, typer.Option(metavar="N", help="Bootstrap resamples behind each interval (-r).")
]
Confidence = Annotated[
    float, typer.Option(parser=number, metavar="C", help="Of the intervals, in percent (-c).")
]
Seed = Annotated[int, typer.Option(metavar="N", help="Of the resamples.")]


class Switch(NamedTuple):
    """One option of ROUGE-1.5.5; not given, it is None."""

    flags: str
    kind: Any
    help: str
    metavar: str | None = None


ROUGE155: Mapping[str, Switch] = {
    "max_n": Switch("--max-n", int, "ROUGE-1 up to ROUGE of this n (-n).", "N"),
    "lcs": Switch("--lcs/--no-lcs", bool, "ROUGE-L; computed unless left out (-x)."),
    "weight": Switch("--weight", float, "ROUGE-W: k words in a run count k^W (-w).", "W"),
    "skip_gap": Switch(
        "--skip-gap", int, "Skip-bigrams with so many words between; -1: any (-2).", "N"
    ),
    "skip_units": Switch("--skip-units", str, "pairs, pairs_and_words (-u) or both (-U).", "UNITS"),
    "basic_elements": Switch(
        "--basic-elements", str, "Score lines head|modifier|relation by H, HM, … (-3).", "MODE"
    ),
    "stem": Switch("--stem/--no-stem", bool, "Stem words (-m)."),
    "irregular_forms": Switch(
        "--irregular-forms/--no-irregular-forms", bool, "Stems of WordNet's exceptions first."
    ),
    "remove_stop_words": Switch(
        "--remove-stop-words/--keep-stop-words", bool, "Leave out the SMART list's words (-s)."
    ),
    "max_words": Switch("--max-words", int, "Use so many words of each text (-l).", "N"),
    "max_bytes": Switch("--max-bytes", int, "Use so many bytes of each text (-b).", "N"),
    "alpha": Switch("--alpha", float, "Weight of precision in F, 0 to 1 (-p).", "A"),
    "references": Switch(
        "--combine-references", str, "average (-f A) or best (-f B) of several.", "HOW"
    ),
    "jackknife": Switch("--jackknife/--no-jackknife", bool, "Leave out each reference in turn."),
    "average_over": Switch(
        "--average-over", str, "evaluations, words or counts (-t 0, 1, 2).", "WHAT"
    ),
    "each": Switch("--each", bool, "List every evaluation too (-d)."),
}
"""By the field of `Rouge155Options`; `each` is no field."""


def takes(switches: Mapping[str, Switch]) -> Callable[[Command], Command]:
    """Return a decorator that adds options to a command, which finds them in its context."""

    def decorate(command: Command) -> Command:
        signature = inspect.signature(command, eval_str=True)
        parameters = dict(signature.parameters)
        last = parameters.popitem()
        for name, switch in switches.items():
            option = typer.Option(
                switch.flags,
                help=f"rouge155: {switch.help}",
                metavar=switch.metavar,
                show_default=False,
                parser=number if switch.kind is float else None,
            )
            parameters[name] = inspect.Parameter(
                name,
                inspect.Parameter.POSITIONAL_OR_KEYWORD,
                default=None,
                annotation=Annotated[switch.kind | None, option],
            )
        parameters |= [last]

        @functools.wraps(command)
        def run(**values: Any) -> None:
            command(**{name: values[name] for name in signature.parameters})

        run.__signature__ = signature.replace(parameters=list(parameters.values()))  # type: ignore[attr-defined]
        run.__annotations__ = {name: item.annotation for name, item in parameters.items()}
        return run  # type: ignore[return-value]

    return decorate


def given(context: typer.Context) -> dict[str, Any]:
    """Return the options and arguments that stand on the command line, by parameter."""
    found = {}
    for name, value in context.params.items():
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            found[name] = value
    return found


def spelled(name: str) -> str:
    """Return how an option of ROUGE-1.5.5 is written: `--max-n`."""
    return ROUGE155[name].flags.partition("/")[0] if name in ROUGE155 else f"--{name}"
