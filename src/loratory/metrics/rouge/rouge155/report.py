"""The lines that ROUGE-1.5.5 prints."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from loratory.metrics.rouge.rouge155.combine import averaged

if TYPE_CHECKING:
    from loratory.metrics.rouge.rouge155.score import Rouge155Result

__all__ = ["report"]


def report(result: Rouge155Result, system: str, each: bool) -> str:
    """Return what the script prints for one system, to the letter.

    Args:
        result: the scores.
        system: the system's name.
        each: whether to list every evaluation (`-d`).
    """
    return "".join(f"{line}\n" for line in _lines(result, system, each))


def _lines(result: Rouge155Result, system: str, each: bool) -> Iterator[str]:
    percent = f"{result.options.confidence:.15g}%-conf.int."
    for name, counts in result.counts.items():
        yield "-" * 45
        if average := result.averages.get(name):
            for letter, value in zip("RPF", average, strict=True):
                yield (
                    f"{system} {name} Average_{letter}: {value.mean:.5f} "
                    f"({percent} {value.low:.5f} - {value.high:.5f})"
                )
        else:
            total = averaged(counts)
            yield f"{system} {name} " + " ".join(
                f"{letter}_count: {int(value)}" for letter, value in zip("MPH", total, strict=True)
            )
        if each:
            yield "." * 45
            for i, evaluation in enumerate(result.ids):
                numbers = (
                    [f"{value:.5f}" for value in result.scores[name][i]]
                    if result.options.average_over == "evaluations"
                    else [f"{value:.15g}" for value in counts[i]]
                )
                shown = " ".join(f"{k}:{v}" for k, v in zip("RPF", numbers, strict=True))
                yield f"{system} {name} Eval {evaluation}.{system} {shown}"
