"""The whole line in one call."""

from __future__ import annotations

from loratory.pipeline.checking import SILENT, Recipe
from loratory.pipeline.stages import (
    compare,
    predict,
    prepare,
    probe,
    score,
    train,
    write_report,
)
from loratory.progress import Progress
from loratory.runs import Run

__all__ = ["run"]


def run(recipe: Recipe, progress: Progress = SILENT) -> Run:
    """Fine-tune a model by a recipe and gather the evidence; return its run folder.

    Args:
        recipe: a config, its mapping, or the path of a recipe file.
        progress: hears of every stage and step.

    Raises:
        LoratoryError: a mistake in the recipe or its data, or a fault of the machine; one
            clear sentence, or one for each mistake in the recipe.
    """
    started = prepare(recipe, progress)
    with started.locked():
        train(started, progress)
        predict(started, progress)
        probe(started, progress)
        score(started, progress)
        compare(started, progress)
        write_report(started, progress)
    return started
