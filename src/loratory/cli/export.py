"""The commands that carry a trained adapter elsewhere: merged, exported, pushed, combined."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from loratory.cli.options import Json

__all__ = ["combine", "export", "interpolate", "merge", "push"]

Source = Annotated[Path, typer.Argument(metavar="RUN|ADAPTER", help="A run or adapter folder.")]
Base = Annotated[
    str, typer.Option(metavar="MODEL", help="The base model, where it is elsewhere now.")
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")]


def merge(
    source: Source,
    to: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Where to; default: RUN/merged.")
    ] = None,
    base: Base = "",
    dtype: Annotated[
        str, typer.Option(metavar="DTYPE", help="auto, float32, bfloat16 or float16.")
    ] = "auto",
    max_shard_size: Annotated[
        str, typer.Option(metavar="SIZE", help="Of a file of weights at most.")
    ] = "5GB",
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Merge an adapter into its base model: a plain model that needs no peft."""
    with _tuning() as shown:
        from loratory.tuning.merge import merge as write
        from loratory.tuning.saved import find

        facts = write(
            find(source, base or None),
            to or _beside(source, "merged"),
            dtype=dtype,  # type: ignore[arg-type]  # checked there
            max_shard_size=max_shard_size,
            overwrite=overwrite,
            progress=shown,
        )
    _say(facts, as_json, "Merged into {folder}: {dtype}, {bytes:,} bytes.")


def export(
    source: Source,
    gguf: Annotated[Path, typer.Option(metavar="FILE", help="The GGUF file to write.")],
    kind: Annotated[
        str, typer.Option("--type", metavar="TYPE", help="Of matrices: f32, f16, bf16 or q8_0.")
    ] = "f16",
    base: Base = "",
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Write adapter and base model as one GGUF file, and check it by reading it back."""
    with _tuning() as shown:
        from loratory.tuning.export import export_gguf
        from loratory.tuning.saved import find

        facts = export_gguf(
            find(source, base or None), gguf, type_=kind, overwrite=overwrite, progress=shown
        )
    _say(facts, as_json, "Wrote {file}: {type}, {bytes:,} bytes.")


def push(
    source: Annotated[
        Path, typer.Argument(metavar="RUN|FOLDER", help="A run, an adapter, or a merged model.")
    ],
    repository: Annotated[str, typer.Argument(metavar="REPO", help="OWNER/NAME on the Hub.")],
    base: Annotated[
        str, typer.Option(metavar="MODEL", help="The base model's name on the Hub.")
    ] = "",
    private: Annotated[bool, typer.Option("--private", help="Make a new one private.")] = False,
    revision: Annotated[str, typer.Option(metavar="BRANCH", help="Default: the main one.")] = "",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would go there; send nothing.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Put an adapter or a merged model on the Hugging Face Hub."""
    with _tuning():
        from loratory.tuning.push import parcel
        from loratory.tuning.push import push as send

        sent = parcel(
            source, repository, base=base or None, private=private, revision=revision or None
        )
        facts: dict[str, Any] = {**sent.facts(), "sent": None if dry_run else send(sent)}
    if as_json:
        _say(facts, True, "")
        return
    seen = "private" if private else "public"
    typer.echo(f"{repository} ({seen}, branch {revision or 'main'}):")
    for name, size in facts["files"].items():
        typer.echo(f"  {size:>14,}  {name}")
    if facts["base_model"]:
        typer.echo(f"Base model: {facts['base_model']}")
    typer.echo(f"Sent: {facts['sent']}" if facts["sent"] else "Nothing was sent (--dry-run).")


def combine(
    sources: Annotated[
        list[Path], typer.Argument(metavar="RUN|ADAPTER", help="Runs or adapters of one base.")
    ],
    to: Annotated[Path, typer.Option(metavar="FOLDER", help="The adapter folder to write.")],
    weights: Annotated[
        str, typer.Option(metavar="W,W,…", help="One for each; default: equal, of sum 1.")
    ] = "",
    method: Annotated[
        str, typer.Option(metavar="NAME", help="linear, cat, svd, ties, dare_ties, …")
    ] = "linear",
    density: Annotated[
        float | None, typer.Option(metavar="D", help="Share of values that ties and dare keep.")
    ] = None,
    rank: Annotated[
        int | None, typer.Option(metavar="R", help="Of the result, for svd methods.")
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", help="Of what dare drops.")] = 0,
    base: Base = "",
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Write an adapter that is a weighted sum of others."""
    shares = _numbers(weights) if weights else [1 / len(sources)] * len(sources)
    with _tuning() as shown:
        from loratory.tuning import arithmetic
        from loratory.tuning.saved import find

        facts = arithmetic.combine(
            [find(source, base or None) for source in sources],
            shares,
            to,
            method=method,
            density=density,
            rank=rank,
            seed=seed,
            overwrite=overwrite,
            progress=shown,
        )
    _say(facts, as_json, "Wrote {folder}: {method} of {weights}.")


def interpolate(
    source: Source,
    scale: Annotated[float, typer.Option(metavar="S", help="0 is the base, 1 the tuned model.")],
    to: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Where to; default: RUN/adapter-S.")
    ] = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Write an adapter part of the way from the base to the tuned model, or beyond."""
    with _tuning():
        from loratory.tuning import arithmetic
        from loratory.tuning.saved import find

        target = to or _beside(source, f"adapter-{scale:g}")
        facts = arithmetic.interpolate(find(source), scale, target, overwrite=overwrite)
    _say(facts, as_json, "Wrote {folder}: the update times {scale:g}.")


def _beside(source: Path, name: str) -> Path:
    """Return a place inside a run, or beside an adapter."""
    inside = (source / "manifest.json").is_file()
    return source / name if inside else source.with_name(f"{source.name}-{name}")


def _numbers(text: str) -> list[float]:
    from loratory.errors import ConfigError

    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise ConfigError(f"--weights: got '{text}'; give numbers as 0.7,0.3.") from None


@contextmanager
def _tuning() -> Iterator[Any]:
    """Show progress, and say which packages are missing where torch is not installed."""
    from loratory.cli.console import progress
    from loratory.pipeline.packages import training_packages

    with training_packages("saved"), progress() as shown:
        yield shown


def _say(facts: Mapping[str, Any], as_json: bool, words: str) -> None:
    from loratory.cli.show import print_json

    if as_json:
        print_json(dict(facts))
        return
    typer.echo(words.format(**facts))
    if "largest_difference" in facts:
        worst = facts["largest_difference"]
        line = f"Logits differ from those of base model and adapter by at most {worst:.3g}"
        if "largest_difference_as_stored" in facts:
            line += (
                f" in float32 (the bound is {facts['bound']:.3g}), as stored by "
                f"{facts['largest_difference_as_stored']:.3g}"
            )
        typer.echo(f"{line}.")
