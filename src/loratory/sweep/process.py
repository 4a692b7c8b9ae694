"""One trial in a process of its own.

A process of its own gives a trial a peak of memory that is its own, and ends with it whatever it
does. It ends when its parent does, too: one that outlived the sweep, or a worker of Ray, would
train beside the trial that is run in its place.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Ended", "Job", "execute"]

# Standard input is a pipe whose other end only the parent holds. os.read takes no lock that
# Python would want back when it ends.
START = """
import os, signal, threading

def end_with_parent():
    os.read(0, 1)
    os.killpg(0, signal.SIGKILL)

threading.Thread(target=end_with_parent, daemon=True).start()
from loratory.cli import main
main()
"""
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")


@dataclass(frozen=True)
class Job:
    """A trial as an engine sees it."""

    place: int
    """Its place in the sweep's list of trials."""
    arguments: tuple[str, ...]
    """Of the command line, its name left out."""
    log: Path
    """Where its messages go, absolute; the folder exists."""
    directory: Path
    """The working directory, which paths of a recipe are relative to; absolute."""


@dataclass(frozen=True)
class Ended:
    """How a trial's process ended, or why there is none."""

    status: int = 0
    """Exit status; below 0 the signal that ended it."""
    out: str = ""
    """What it wrote to standard output."""
    began: float = 0.0
    """Seconds since 1970; 0 where there was no process."""
    ended: float = 0.0
    threads: int | None = None
    """How many it was told to use; None where it was left to choose."""
    lost: str = ""
    """Why there is no result of the process, in words."""


def execute(
    job: Job, threads: int | None = None, variables: Mapping[str, str] | None = None
) -> Ended:
    """Run a trial and wait for its end.

    Args:
        job: the trial.
        threads: how many its arithmetic uses; None leaves that to the environment.
        variables: of its environment, beside this process's.

    Raises:
        OSError: the log cannot be written, or the process not started.
    """
    environment = {**os.environ, **(variables or {})}
    if threads is not None:
        environment |= dict.fromkeys(THREADS, str(threads))
    began = time.time()
    with (
        job.log.open("w", encoding="utf-8") as said,
        subprocess.Popen(  # noqa: S603 - this very program, and a recipe of this sweep
            [sys.executable, "-c", START, *job.arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=said,
            text=True,
            cwd=job.directory,
            env=environment,
            start_new_session=True,  # so that all it started can be ended with it
        ) as process,
    ):
        assert process.stdout is not None, "it is a pipe"
        try:
            out = process.stdout.read()
            status = process.wait()
        except BaseException:  # Ctrl-C above all
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            raise
    return Ended(status, out, began, time.time(), threads)
