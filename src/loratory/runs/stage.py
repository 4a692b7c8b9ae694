"""What surrounds every stage of a run: the lock, the clock, and how it ended."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from loratory.errors import RunError
from loratory.files import fault
from loratory.progress import Progress
from loratory.runs.store import Run

__all__ = ["stage"]


@contextmanager
def stage(run: Run, name: str, progress: Progress) -> Iterator[None]:
    """Hold the folder, time the stage, and leave in the manifest how it ended."""
    with run.locked():
        progress.stage(name)
        began = time.monotonic()
        _tidy(run.folder)
        run.record(status="running", failed=None)
        try:
            yield
        except BaseException as error:
            known = fault(error, run.folder) or error
            _tidy(run.folder)
            stopped = isinstance(error, KeyboardInterrupt)
            if stopped:
                progress.note(f"Interrupted. To go on: loratory {name} {run.folder}")
            reason = "interrupted" if stopped else str(known) or type(error).__name__
            with suppress(RunError):  # the disk may be full
                status = "interrupted" if stopped else "failed"
                run.record(status=status, failed={"stage": name, "reason": reason})
            if known is error:
                raise
            raise known from None
        run.record(durations={name: time.monotonic() - began}, status=run.status())


def _tidy(folder: Path) -> None:
    """Remove what was left half written: by a killed process, or by a library at any fault."""
    for scratch in folder.rglob(".*-????????"):
        scratch.unlink(missing_ok=True)
    shutil.rmtree(folder / ".adapter", ignore_errors=True)
    for checkpoint in folder.glob("checkpoints/*"):
        # Its state is written last, so the rest is whole when this is.
        if not _is_json(checkpoint / "trainer_state.json"):
            shutil.rmtree(checkpoint, ignore_errors=True)
    log = folder / "train.jsonl"
    if log.exists() and (text := log.read_bytes()) and not text.endswith(b"\n"):
        with log.open("rb+") as stream:
            stream.truncate(text.rfind(b"\n") + 1)


def _is_json(path: Path) -> bool:
    try:
        json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return True
