"""A Python module run in a process of its own, which knows nothing of this one's memory."""

from __future__ import annotations

import signal
import subprocess
import sys

from loratory.errors import RunError

__all__ = ["run_module"]

TAIL = 300


def run_module(module: str, *arguments: str) -> None:
    """Run `python -m module arguments` and wait for its end.

    The process has this one's environment and working directory.

    Raises:
        RunError: it ended with another status than 0; the sentence has the last it said.
    """
    command = [sys.executable, "-W", "ignore", "-m", module, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        said = " ".join(done.stderr.split()) or f"exit status {done.returncode}"
        if done.returncode == -signal.SIGKILL:
            said = "it was killed, as a system does that runs out of memory"
        raise RunError(f"{module} failed in a process of its own: {said[-TAIL:]}")
