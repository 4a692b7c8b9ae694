"""What every number of a run is computed with."""

from __future__ import annotations

from typing import Any

from loratory.runs import Run

__all__ = ["settings"]


def settings(run: Run) -> dict[str, Any]:
    """Return resamples, confidence and seed of a run's intervals."""
    evaluate = run.config.evaluate
    return {
        "resamples": evaluate.resamples,
        "confidence": evaluate.confidence,
        "seed": run.config.seed,
    }
