"""Whatever a file holds, it is taken or refused in a sentence: no traceback, no hang."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fuzzing import TARGETS, tried

CASES = {name: 1_000 if name == "predictions" else 2_500 for name in TARGETS}
"""11,000 in all; those of predictions, which are scored, take longest."""
PARTS = 4


@pytest.mark.parametrize("name", TARGETS)
@given(seed=st.integers(0, 2**32))
@settings(max_examples=40, deadline=None)
def test_a_file_is_taken_or_refused(name, seed):
    with tempfile.TemporaryDirectory() as folder:
        tried(name, seed, Path(folder))


@pytest.mark.slow
@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("name", TARGETS)
def test_thousands_of_files_are_taken_or_refused(name, part):
    outcomes = {"taken": 0, "refused": 0}
    cases = CASES[name] // PARTS
    for seed in range(part * cases, (part + 1) * cases):
        with tempfile.TemporaryDirectory() as folder:
            said = tried(name, seed, Path(folder))
        outcomes["taken" if said == "taken" else "refused"] += 1
    # A corpus that is always refused, or never, tries next to nothing.
    assert min(outcomes.values()) > 5, outcomes
