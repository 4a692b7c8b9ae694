"""Real rows for tests: the shared data folder, where this machine has one."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

_BESIDE = Path(__file__).resolve().parents[2] / "shared" / "data"


def real_data(relative: str) -> Path:
    """Return a file of the shared data folder, or skip the test that asks for it.

    The folder is the environment variable LORATORY_DATA, or `shared/data` beside the
    repository.
    """
    folder = Path(os.environ.get("LORATORY_DATA", _BESIDE))
    path = folder / relative
    if not path.is_file():
        pytest.skip(f"{path} is absent; set LORATORY_DATA to the folder of real rows")
    return path


def real_rows(relative: str) -> list[dict[str, Any]]:
    """Return the rows of a JSON-lines file of the shared data folder, or skip."""
    lines = real_data(relative).read_text(encoding="utf-8").split("\n")
    return [json.loads(line) for line in lines if line.strip()]
