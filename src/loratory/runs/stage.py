"""What surrounds every stage of a run: the lock, the clock, and how it ended."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from loratory.errors import RunError
from loratory.files import fault
from loratory.progress import Progress
from loratory.runs.store import Run

__all__ = ["STAGES", "how_to_go_on", "stage"]

STAGES = ("train", "predict", "probe", "score", "compare", "report")
"""Of a run, in the order of the line, once it is prepared."""


@contextmanager
def stage(run: Run, name: str, progress: Progress) -> Iterator[None]:
    """Hold the folder, time the stage, and leave in the manifest how it ended.

    What stages after it have left is to be made again, where it is begun again.
    """
    with run.locked():
        progress.stage(name)
        began = time.monotonic()
        if run.leads:
            _tidy(run.folder)
        before = run.manifest().get("done", [])
        done = [other for other in before if other in STAGES[: _place(name)]]
        run.record(status="running", failed=None, done=done)
        try:
            yield
        except BaseException as error:
            known = fault(error, run.folder) or error
            if run.leads:
                _tidy(run.folder)
            stopped = isinstance(error, KeyboardInterrupt)
            if stopped:
                progress.note(how_to_go_on(run))
            reason = "interrupted" if stopped else str(known) or type(error).__name__
            with suppress(RunError):  # the disk may be full
                status = "interrupted" if stopped else "failed"
                run.record(status=status, failed={"stage": name, "reason": reason})
            if known is error:
                raise
            raise known from None
        if name in STAGES:
            done.append(name)
        run.record(durations={name: time.monotonic() - began}, status=run.status(), done=done)


def how_to_go_on(run: Run) -> str:
    """Return what one who has interrupted a run is told."""
    return f"Interrupted. To go on: loratory resume {run.folder}"


def _place(name: str) -> int:
    return STAGES.index(name) if name in STAGES else len(STAGES)


def _tidy(folder: Path) -> None:
    """Remove what was left half written: by a killed process, or by a library at any fault."""
    for scratch in folder.rglob(".*-????????"):
        scratch.unlink(missing_ok=True)
    shutil.rmtree(folder / ".adapter", ignore_errors=True)
    for checkpoint in folder.glob("checkpoints/*"):
        # Its seal is written last. A whole one may still be damaged: training looks for that.
        if not (checkpoint / "seal.json").exists():
            shutil.rmtree(checkpoint, ignore_errors=True)
    log = folder / "train.jsonl"
    if log.exists() and (text := log.read_bytes()) and not text.endswith(b"\n"):
        with log.open("rb+") as stream:
            stream.truncate(text.rfind(b"\n") + 1)
