"""Fixtures for every folder of tests."""

from __future__ import annotations

from pathlib import Path

import pytest

import tiny


@pytest.fixture(scope="session")
def tiny_models(tmp_path_factory: pytest.TempPathFactory):
    """Return a function: the name of a builder in `tiny` to the folder of its model."""
    root = tmp_path_factory.mktemp("models")
    made: dict[str, Path] = {}

    def get(name: str) -> Path:
        if name not in made:
            made[name] = tiny.BUILDERS[name](root / name)
        return made[name]

    return get


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch):
    """Keep base predictions out of the user's cache, and out of other tests."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
