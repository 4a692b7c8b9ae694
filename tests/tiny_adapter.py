"""An adapter of a tiny model, saved away from any run."""

from __future__ import annotations

from pathlib import Path

import torch

from loratory.tuning.adapter import save_adapter
from tiny_run import Run

CLASSIFIERS = ("bert", "distilbert")


def moved(run: Run, seed: int = 3, by: float = 0.2) -> Run:
    """Move every trainable value from its start, as a training would."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in run.model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * by)
    return run


def adapter(name, tiny_models, tmp_path: Path, method=None, seed=3) -> Path:
    """Return an adapter folder whose every value was moved from its start."""
    run = moved(Run(tiny_models(name), tmp_path / f"run{seed}", name in CLASSIFIERS, method), seed)
    save_adapter(run.model, run.spec, run.folder)
    return (run.folder / "adapter").rename(tmp_path / f"adapter{seed}")
