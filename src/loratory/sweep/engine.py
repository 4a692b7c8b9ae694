"""What runs the trials of a sweep: this process one after the other, or workers of Ray.

An engine takes the jobs that can begin, and yields each with how it ended, in whatever order. It
asks for more after each, since a trial may wait for what others find.
"""

from __future__ import annotations

import importlib.util
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

from loratory.errors import ConfigError, MissingDependencyError, suggest
from loratory.evaluation.processes import usable
from loratory.progress import Progress, Silent
from loratory.sweep.process import Ended, Job, execute

__all__ = ["ENGINES", "Engine", "Take", "Workers", "here"]

Take = Callable[[], Sequence[Job]]
Engine = Callable[[Take], Iterator[tuple[Job, Ended]]]


@dataclass(frozen=True)
class Workers:
    """What trials run on, and what each of them gets."""

    on: str = "here"
    """`here`, one after the other, or `ray`, as many at once as fit."""
    address: str = ""
    """Of a Ray that is there; empty for one of this machine that ends with the sweep."""
    cores: int | None = None
    """Of each trial, and so its threads; None for 1 on Ray, and for torch's own choice here."""
    gpus: float | None = None
    """Of each trial on Ray, whole or a share; None for 1 where there are any."""

    def problems(self) -> list[str]:
        """Return what is wrong with these values, one sentence each."""
        if self.on not in ENGINES:
            return [f"--on: unknown '{self.on}'. {suggest(self.on, ENGINES)}"]
        found = []
        if self.on != "ray":
            given = {"--address": self.address, "--gpus": self.gpus is not None}
            found += [f"{name}: only with --on ray." for name, value in given.items() if value]
        if self.cores is not None and self.cores < 1:
            found.append(f"--cores: {self.cores} is not 1 or more.")
        if self.gpus is not None:
            whole = self.gpus > 1 and float(self.gpus).is_integer()
            if not (whole or 0 <= self.gpus <= 1):
                found.append(f"--gpus: {self.gpus:g} is no whole number and no share below 1.")
        return found

    def start(self, progress: Progress | None = None) -> AbstractContextManager[Engine]:
        """Make ready what trials run on; give the engine, and end it with the block.

        With Ray, all that this process prints within the block goes to standard error: Ray
        prints among it.

        Raises:
            ConfigError: one problem for each mistake, or no worker has so many cores or GPUs.
            MissingDependencyError: Ray is not installed.
            RunError: Ray cannot be started or reached.
        """
        if problems := self.problems():
            raise ConfigError(problems)
        return ENGINES[self.on](self, progress or Silent())


def here(take: Take, threads: int | None = None) -> Iterator[tuple[Job, Ended]]:
    """Run trials one after the other on this machine."""
    waiting = deque(take())
    while waiting:
        job = waiting.popleft()
        yield job, execute(job, threads)
        waiting.extend(take())


@contextmanager
def _here(workers: Workers, progress: Progress) -> Iterator[Engine]:
    cores = workers.cores
    if cores is not None:
        if cores > usable():
            raise ConfigError(f"--cores: {cores}, and this process may use {usable()}.")
        progress.note(f"One trial after the other, each with {_threads(cores)}")
    yield lambda take: here(take, cores)


@contextmanager
def _ray(workers: Workers, progress: Progress) -> Iterator[Engine]:
    if importlib.util.find_spec("ray") is None:
        raise MissingDependencyError(
            "--on ray: Ray is not installed. Run: pip install 'loratory[ray]'"
        )
    from loratory.sweep import cluster

    with cluster.connected(workers.address):
        cores = workers.cores or 1
        gpus = cluster.default_gpus() if workers.gpus is None else workers.gpus
        room = cluster.room(cores, gpus)
        at_once = "1 trial" if room == 1 else f"{room} trials"
        progress.note(
            f"On Ray: {at_once} at once, each with {_threads(cores)} and "
            f"{f'{gpus:g}' if gpus else 'no'} GPU"
        )
        yield lambda take: cluster.spread(take, cores, gpus)


def _threads(count: int) -> str:
    return "1 thread" if count == 1 else f"{count} threads"


ENGINES: dict[str, Callable[[Workers, Progress], AbstractContextManager[Engine]]] = {
    "here": _here,
    "ray": _ray,
}
"""By the name that `Workers.on` has."""
