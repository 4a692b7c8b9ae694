"""An adapter of a tiny model, saved away from any run."""

from __future__ import annotations

from pathlib import Path

import torch

import tiny
from loratory.tuning.adapter import save_adapter
from tiny_run import Run

CLASSIFIERS = ("bert", "distilbert")


def moved(run: Run, seed: int = 3, by: float = 0.2) -> Run:
    """Move every trainable value of a run from its start, as a training would."""
    tiny.shaken(run.model, seed, by)
    return run


def head_moved(run: Run) -> Run:
    """Move a classifier's head alone, beside an adapter that is as it started: without effect."""
    with torch.no_grad():
        for key, parameter in run.model.named_parameters():
            if "modules_to_save" in key:
                parameter.add_(0.3 * torch.ones_like(parameter).cumsum(0))
    return run


def adapter(name, tiny_models, tmp_path: Path, method=None, seed=3) -> Path:
    """Return an adapter folder whose every value was moved from its start."""
    run = moved(Run(tiny_models(name), tmp_path / f"run{seed}", name in CLASSIFIERS, method), seed)
    save_adapter(run.model, run.spec, run.folder)
    return (run.folder / "adapter").rename(tmp_path / f"adapter{seed}")
