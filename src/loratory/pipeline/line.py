"""The whole line in one call, from its beginning or from where it was left."""

from __future__ import annotations

from loratory.pipeline import stages
from loratory.pipeline.checking import SILENT, Recipe
from loratory.progress import Progress
from loratory.runs import Run
from loratory.runs.stage import STAGES

__all__ = ["resume", "run"]

LINE = {name: getattr(stages, "write_report" if name == "report" else name) for name in STAGES}


def run(recipe: Recipe, progress: Progress = SILENT) -> Run:
    """Fine-tune a model by a recipe and gather the evidence; return its run folder.

    Args:
        recipe: a config, its mapping, or the path of a recipe file.
        progress: hears of every stage and step.

    Raises:
        LoratoryError: a mistake in the recipe or its data, or a fault of the machine; one
            clear sentence, or one for each mistake in the recipe.
    """
    started = stages.prepare(recipe, progress)
    resume(started, progress)
    return started


def resume(run: Run, progress: Progress = SILENT) -> None:
    """Go on with a run from where it was left, to its end.

    A stage that was cut off goes on from what it has kept: training from its last checkpoint,
    predictions from the last part. The run ends as one that was never disturbed.

    Args:
        run: prepared; the stages it has behind it are not begun again.
        progress: hears of every stage and step.

    Raises:
        LoratoryError: as for `run`.
    """
    with run.locked():
        done = run.manifest().get("done", [])
        for name in STAGES:
            if name not in done:
                LINE[name](run, progress)
