"""What a base model's answers hang on, hashed: under it they are kept for later runs."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from loratory.cache import code, key
from loratory.records import Example
from loratory.runs import Run
from loratory.runs.environment import hardware, versions
from loratory.tasks.probes import Item

__all__ = ["accelerator", "judged", "predicted", "tuned"]


def predicted(run: Run, model: str, rows: Sequence[Any], examples: Sequence[Example]) -> str:
    """Return the key of base predictions.

    Args:
        run: whose base model answers.
        model: fingerprint of its files.
        rows: the examples, encoded.
        examples: what is answered.
    """
    facts = run.manifest()
    parts = {
        "rows": [dataclasses.asdict(row) for row in rows],
        "examples": [dataclasses.asdict(example) for example in examples],
        "labels": facts["labels"],
        "decoding": run.config.decode.model_dump(),
        "limit": run.config.data.max_target_tokens,
        # A new classification head is drawn under it.
        "seed": run.config.seed if facts["model"]["family"] == "classifier" else None,
    }
    return key({**_shared(run, model), **parts})


def judged(run: Run, model: str, items: Sequence[Item]) -> str:
    """Return the key of the base model's judgements of one probe.

    Args:
        run: whose base model judges.
        model: fingerprint of its files.
        items: what is judged, in order: it decides the batches, and they the last digits.
    """
    parts = {
        "items": [dataclasses.asdict(item) for item in items],
        "batch_size": run.config.decode.batch_size,
        "max_tokens": run.config.forgetting.max_tokens,
    }
    return key({**_shared(run, model), **parts})


def tuned(base: str, adapter: Path) -> str:
    """Return the key of what a tuned model answers.

    Args:
        base: the key of what its base model answers.
        adapter: folder of the adapter on it.
    """
    files = sorted(path for path in adapter.iterdir() if path.is_file())
    digests = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    return key({"base": base, "adapter": digests})


def _shared(run: Run, model: str) -> dict[str, Any]:
    facts = run.manifest()
    return {
        "model": model,
        "dtype": facts["model"]["dtype"],
        "quantization": run.config.model.quantization,
        "family": facts["model"]["family"],
        "versions": versions(),
        "code": code("tuning"),  # base and tuned model must be asked by the same
        "hardware": {**hardware(), "accelerator": accelerator()},
    }


def accelerator() -> str | None:
    """Return the name of the accelerator; None without one."""
    from loratory.tuning import device

    return device.accelerator()
