"""The straight line, from a recipe to evidence.

    RunConfig → examples → model → method → train → predict → probe → score → compare → report

`run` is the line; each stage is a function of its own that reads what the one before left in
the run folder and leaves its own file there. After `probe` nothing needs torch.
"""

from loratory.pipeline.checking import Checked, Recipe, check, plan
from loratory.pipeline.line import resume, run
from loratory.pipeline.processes import Processes, launch
from loratory.pipeline.scale import scale
from loratory.pipeline.seeds import compare_seeds
from loratory.pipeline.stages import (
    compare,
    predict,
    prepare,
    probe,
    score,
    train,
    write_report,
)

__all__ = [
    "Checked",
    "Processes",
    "Recipe",
    "check",
    "compare",
    "compare_seeds",
    "launch",
    "plan",
    "predict",
    "prepare",
    "probe",
    "resume",
    "run",
    "scale",
    "score",
    "train",
    "write_report",
]
