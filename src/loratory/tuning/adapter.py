"""The adapter on disk: written whole, read back onto its base model.

The folder is peft's own format and needs nothing of Loratory, but for the methods that peft lacks:
they are known to it once `loratory.tuning.adapters` is imported. What its `adapter_config.json`
says of the base model is what `AutoPeftModel` loads: of a Hub model the name and the very
commit that was trained on; of any other the absolute path of its folder on this machine,
which for a .gguf file or embedded:NAME is the dequantised one in Loratory's cache. An adapter
on such a base, given to somebody else, needs `PeftModel.from_pretrained(base, adapter)`, as
does a classifier's, whose base wants `num_labels`.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from peft import PeftModel

import loratory.tuning.adapters  # noqa: F401  makes the methods that peft lacks known to it
from loratory.errors import ModelError
from loratory.tuning.locate import commit
from loratory.tuning.model import Loaded, Resolved

__all__ = ["save_adapter", "with_adapter"]

CONFIG = "adapter_config.json"


def save_adapter(model: Any, spec: Resolved, folder: Path) -> None:
    """Write `folder/adapter`, under a temporary name first, then put in place whole.

    Args:
        model: with the adapter on it.
        spec: its base model.
        folder: the run folder.
    """
    scratch, target = folder / ".adapter", folder / "adapter"
    shutil.rmtree(scratch, ignore_errors=True)
    # The vocabulary is never resized here, so peft need not look the base model up to compare.
    model.save_pretrained(scratch, safe_serialization=True, save_embedding_layers=False)
    config = json.loads((scratch / CONFIG).read_text(encoding="utf-8"))
    (scratch / CONFIG).write_text(
        json.dumps(_settled(config, spec), indent=2, sort_keys=True) + "\n", encoding="utf-8"
    )
    shutil.rmtree(target, ignore_errors=True)
    scratch.rename(target)


def _settled(config: dict[str, Any], spec: Resolved) -> dict[str, Any]:
    """Name the base model, and put in order what peft keeps as sets of names."""
    for key, value in config.items():
        if isinstance(value, list) and all(isinstance(item, str) for item in value):
            config[key] = sorted(set(value))
    local = Path(spec.path).exists()
    config["base_model_name_or_path"] = str(Path(spec.path).absolute()) if local else spec.path
    config["revision"] = None if local else commit(spec.path, spec.revision) or spec.revision
    return config


def with_adapter(loaded: Loaded, folder: Path) -> Any:
    """Return the base model with a saved adapter on it, as any user of peft would load it.

    Raises:
        ModelError: the adapter is damaged, or of another base model.
    """
    try:
        return PeftModel.from_pretrained(loaded.model, str(folder)).eval()
    except Exception as error:
        raise ModelError(f"{folder}: cannot be put on {loaded.spec.name}: {error}") from None
