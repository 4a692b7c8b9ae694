"""A run that was killed at any moment and gone on with ends as one that never was disturbed."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import time
from contextlib import suppress
from pathlib import Path

import pytest

import loratory
from forked import Forks
from loratory.errors import RunError

pytestmark = pytest.mark.slow

KILLS = 30
SAME = (
    "adapter/adapter_model.safetensors",
    "adapter/adapter_config.json",
    "train.jsonl",
    "losses.jsonl",
    "predictions/*/*.jsonl",
    "probes/*/*.jsonl",
    "scores.json",
    "comparison.json",
    "findings/*.json",
)
"""What an undisturbed run leaves, byte by byte. Manifest and report have times in them."""
SETTINGS = {
    "train": {"max_steps": 9, "eval_steps": 3, "early_stopping_patience": 3},
    "data": {"test_size": 24},
    "decode": {"batch_size": 1},  # parts of eight rows
}


@pytest.fixture(scope="module")
def forks():
    found = Forks()
    yield found
    found.close()


def contents(run: Path) -> dict[str, bytes]:
    files = (file for pattern in SAME for file in run.glob(pattern))
    return {str(file.relative_to(run)): file.read_bytes() for file in files}


@pytest.fixture(scope="module")
def undisturbed(forks, recipe_in, data_in, tmp_path_factory):
    """Return what a run leaves that nobody disturbs, the seconds that it takes, and its recipe."""
    folder = tmp_path_factory.mktemp("undisturbed")
    data_in(folder)
    recipe = recipe_in(folder, **SETTINGS)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for turn in ("first", "second"):  # by then nothing is loaded for the first time
            began = time.monotonic()
            forks.begin("run", recipe, folder / turn, folder / "log")
            assert forks.end() == 0, (folder / "log").read_text()
            seconds = time.monotonic() - began
    first, second = sorted(folder.glob("runs/*"))
    left = contents(second)
    assert contents(first) == left and len(left) > 10
    return left, seconds, recipe


@pytest.mark.parametrize("number", range(KILLS))
def test_a_run_killed_at_any_moment_ends_as_an_undisturbed_one(
    number, forks, undisturbed, workshop, tmp_path
):
    expected, seconds, recipe = undisturbed
    log, cache = tmp_path / "log", tmp_path / "cache"
    # All that a cache has but the answers: those are to be given.
    known = shutil.ignore_patterns("predictions", "judgements")
    shutil.copytree(recipe.parent / "second", cache, ignore=known)
    moment = seconds * (number + random.random()) / KILLS  # everywhere, and never the same
    child = forks.begin("run", recipe, cache, log)
    time.sleep(moment)
    with suppress(ProcessLookupError):  # it was quicker than those before
        os.kill(child, signal.SIGKILL)
    status = forks.end()
    assert status in (0, -signal.SIGKILL), log.read_text()
    known = list(Path("runs").glob("*/manifest.json"))
    answered = len(list(Path("runs").glob("*/partial/predict/*.jsonl")))
    if known:
        forks.begin("resume", known[0].parent, cache, log)
    else:  # nothing was begun that could be gone on with
        forks.begin("run", recipe, cache, log)
    assert forks.end() == 0, log.read_text()
    run = max(Path("runs").glob("*/manifest.json")).parent
    assert contents(run) == expected, f"killed after {moment:.2f} of {seconds:.2f} s"
    manifest = json.loads((run / "manifest.json").read_text())
    assert manifest["status"] == "complete" and not (run / "partial").exists()
    if answered:
        assert re.search(r"predict (base|tuned) \d+/24|Report|●", log.read_text())


def test_two_at_once_are_refused_and_a_complete_run_is_left_alone(finished, workshop):
    run = loratory.Run.open(finished())
    before = contents(run.folder)
    with run.locked(), pytest.raises(RunError, match="in use by another process"):
        loratory.resume(loratory.Run.open(run.folder))
    loratory.resume(run)
    assert contents(run.folder) == before
