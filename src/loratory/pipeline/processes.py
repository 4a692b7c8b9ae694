"""Training by several processes, on this machine or several, and answers by those of this one.

Those that train are started by `torchrun`, or by `accelerate launch` where its own configuration
file says how (FSDP, DeepSpeed, machines). One of them leads: it alone writes to the run folder
beside the checkpoints, and what it tells of its progress is heard here. Those that answer share the
parts of answers (`runs.partial`), which this process puts together; parts of one that was lost it
answers itself. All end when this process does, whatever ends it, so that no two of them work on one
run.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loratory.errors import ConfigError, RunError
from loratory.pipeline.checking import SILENT
from loratory.pipeline.line import LINE, resume
from loratory.progress import Progress
from loratory.runs import Run
from loratory.runs.stage import how_to_go_on

__all__ = ["Processes", "launch"]

WORKER = "loratory.pipeline.worker"
TAIL = 1_000
"""Characters of what a process said last that are looked through for its sentence."""
EVENTS = frozenset({"begin", "advance", "note"})


@dataclass(frozen=True)
class Processes:
    """How many processes train, and where."""

    number: int = 2
    """On this machine."""
    nodes: int = 1
    """Machines, each of which is told to launch the same run in a folder that all see."""
    node: int = 0
    """Which of them this is, from 0; node 0 leads."""
    meet: str = ""
    """HOST:PORT of node 0, where they meet."""
    accelerate: Path | None = None
    """A configuration file of `accelerate config`; then it says all else."""

    def problems(self) -> list[str]:
        """Return what is wrong, one `option: sentence` each."""
        found = []
        if self.number < 1:
            found.append(f"--processes: got {self.number}; give 1 or more.")
        if not 0 <= self.node < self.nodes:
            found.append(f"--node: got {self.node}; of {self.nodes} nodes give 0 to one fewer.")
        if self.nodes > 1 and not self.meet.rpartition(":")[2].isdigit():
            found.append("--meet: several nodes need HOST:PORT of the first, as node0:29500.")
        if self.accelerate is not None and not self.accelerate.is_file():
            found.append(
                f"--accelerate: {self.accelerate} is no file. `accelerate config` makes one."
            )
        return found

    def command(self, run: Path) -> list[str]:
        """Return what starts the processes of this machine."""
        if self.accelerate is not None:
            start = ["-m", "accelerate.commands.launch", "--config_file", str(self.accelerate)]
            return [sys.executable, *start, "-m", WORKER, "train", str(run)]
        start = ["-m", "torch.distributed.run", f"--nproc-per-node={self.number}"]
        if self.nodes == 1:
            start.append("--standalone")
        else:
            start += [f"--nnodes={self.nodes}", f"--node-rank={self.node}"]
            host, _, port = self.meet.rpartition(":")
            start += [f"--master-addr={host}", f"--master-port={port}"]
        return [sys.executable, *start, "-m", WORKER, "train", str(run)]


def launch(run: Run, processes: Processes, progress: Progress = SILENT) -> None:
    """Train a prepared run by several processes, and go on with it to its end in this one.

    A training that was begun goes on from its last checkpoint, by as many processes or by others.
    On nodes other than the first, this returns when the training has ended.

    Args:
        run: prepared; where its training is done, it is not begun again.
        processes: how many, and where.
        progress: hears of every stage and step.

    Raises:
        ConfigError: no such processes can be started.
        LoratoryError: as for `run`.
    """
    if problems := processes.problems():
        raise ConfigError(problems)
    if processes.node:
        _train(run, processes, progress)
        return
    with run.locked():
        try:
            if "train" not in run.manifest().get("done", []):
                run.record(status="running", failed=None)
                progress.stage("train")
                _train(run, processes, progress)
            for stage in ("predict", "probe"):
                if stage not in run.manifest().get("done", []):
                    _share(run, stage, processes.number, progress)
                    LINE[stage](run, progress)
            resume(run, progress)
        except KeyboardInterrupt:
            if not run.manifest().get("failed"):  # no stage was there to say it
                progress.note(how_to_go_on(run))
                run.record(status="interrupted")
            raise


def _share(run: Run, stage: str, number: int, progress: Progress) -> None:
    """Let processes of this machine answer the parts of a stage, and keep them."""
    if number == 1 or run.config.decode.engine != "loratory":
        return
    progress.note(f"Sharing the stage {stage} between {number} processes")
    with ExitStack() as ended:
        started = []
        for place in range(number):
            one = {"RANK": str(place), "WORLD_SIZE": str(number)}
            if os.environ.get("CUDA_VISIBLE_DEVICES") is None:
                one["CUDA_VISIBLE_DEVICES"] = str(place)
            command = [sys.executable, "-m", WORKER, stage, str(run.folder)]
            environment = {**_environment(number), **one}
            process = subprocess.Popen(  # noqa: S603 - this very program
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=environment,
                start_new_session=True,
            )
            ended.callback(_end, process)
            started.append(process)
        for place, process in enumerate(started):
            if process.wait():
                progress.note(
                    f"Process {place} ended with status {process.returncode}; what is left of its "
                    "share is answered by this one"
                )


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    if process.stdin is not None:
        process.stdin.close()


def _environment(processes: int) -> dict[str, str]:
    found = {**os.environ, "PYTHONWARNINGS": "ignore"}
    # Each process would take all cores.
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
    found.setdefault("OMP_NUM_THREADS", str(max(cores // processes, 1)))
    return found


def _train(run: Run, processes: Processes, progress: Progress) -> None:
    said: list[str] = []
    with subprocess.Popen(  # noqa: S603 - this very program, and the run's own folder
        processes.command(run.folder),
        stdin=subprocess.PIPE,  # its end is how they know that this process has ended
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=_environment(processes.number),
        start_new_session=True,  # Ctrl-C reaches them through this process, and once
    ) as started:
        assert started.stdout is not None, "it is a pipe"
        try:
            for line in started.stdout:
                if not _told(line, progress):
                    said.append(line)
                    del said[:-50]
            status = started.wait()
        except KeyboardInterrupt:
            _stop(started, said, progress)
            raise
        except BaseException:
            with suppress(ProcessLookupError):
                os.killpg(started.pid, signal.SIGKILL)
            raise
    if status:
        raise RunError(_sentence(run, said, status))


def _stop(started: subprocess.Popen[str], said: list[str], progress: Progress) -> None:
    """Let the processes finish their step and write a checkpoint; the second time, end them."""
    assert started.stdout is not None
    try:
        with suppress(ProcessLookupError):
            os.kill(started.pid, signal.SIGTERM)
        said.extend(line for line in started.stdout if not _told(line, progress))
        started.wait()
    except BaseException:
        with suppress(ProcessLookupError):
            os.killpg(started.pid, signal.SIGKILL)
        raise


def _told(line: str, progress: Progress) -> bool:
    """Pass on what the leading process tells; return whether the line was that."""
    try:
        event: Any = json.loads(line)
        name, given = event["progress"], event["given"]
    except (ValueError, KeyError, TypeError):
        return False
    if name in EVENTS:
        getattr(progress, name)(*given)
    return True


def _sentence(run: Run, said: Sequence[str], status: int) -> str:
    """Return why the processes ended: what the leading one has noted, or what was said last."""
    failed = run.manifest().get("failed")
    if failed:
        return str(failed["reason"])
    words = " ".join("".join(said).split())[-TAIL:]
    return f"{run.folder}: training by several processes ended with status {status}: {words}"
