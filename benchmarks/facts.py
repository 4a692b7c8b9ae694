"""What benchmarks of whole runs keep of each."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import loratory
from loratory.codec import to_dict
from loratory.config import to_mapping

__all__ = ["facts"]


def facts(run: loratory.Run, data: Path) -> dict[str, Any]:
    """Return a run's recipe, comparison and circumstances, the data's folder called DATA."""
    manifest = run.manifest()
    recipe = json.dumps(to_mapping(run.config)).replace(f"{data}/", "DATA/")
    return {
        "recipe": {**json.loads(recipe), "output_dir": "runs"},
        "comparison": [to_dict(item) for item in run.comparison()],
        "training": manifest["training"],
        "model": manifest["model"],
        "rows": manifest["data"]["rows"],
        "durations": manifest["durations"],
        "hardware": manifest["hardware"],
        "versions": manifest["versions"],
    }
