"""The adapter on disk: written whole, read back onto its base model."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from peft import PeftModel

from loratory.errors import ModelError
from loratory.tuning.model import Loaded

__all__ = ["save_adapter", "with_adapter"]


def save_adapter(model: Any, folder: Path) -> None:
    """Write `folder/adapter`, under a temporary name first, then put in place whole."""
    scratch, target = folder / ".adapter", folder / "adapter"
    shutil.rmtree(scratch, ignore_errors=True)
    # The vocabulary is never resized here, so peft need not look the base model up to compare.
    model.save_pretrained(scratch, safe_serialization=True, save_embedding_layers=False)
    shutil.rmtree(target, ignore_errors=True)
    scratch.rename(target)


def with_adapter(loaded: Loaded, folder: Path) -> Any:
    """Return the base model with a saved adapter on it, as any user of peft would load it.

    Raises:
        ModelError: the adapter is damaged, or of another base model.
    """
    try:
        return PeftModel.from_pretrained(loaded.model, str(folder)).eval()
    except Exception as error:
        raise ModelError(f"{folder}: cannot be put on {loaded.spec.name}: {error}") from None
