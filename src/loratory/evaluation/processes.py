"""A function over many arguments, by several processes, its results in order.

Processes are started as programs of their own and not forked, so threads do no harm, and none
imports the caller's main module. They end when their input does, whatever ends the caller.
"""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from itertools import chain
from queue import SimpleQueue
from typing import IO, Any, TypeVar

from loratory.errors import ConfigError, RunError

__all__ = ["in_order", "usable"]

A = TypeVar("A")
R = TypeVar("R")

PATIENCE = 1.0
"""Seconds of work before other processes are started, which takes them about half as long."""

_START = """
import pickle, sys
sys.path[:] = pickle.load(sys.stdin.buffer)
from loratory.evaluation.worker import serve
serve()
"""
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
_ONE_THREAD = dict.fromkeys(_THREADS, "1")


def usable() -> int:
    """Return how many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def in_order(
    work: Callable[[A], R], arguments: Iterable[A], processes: int | None = None
) -> Generator[tuple[A, R], None, None]:
    """Yield each argument with its result, in order; two a process are under way at most.

    Args:
        work: picklable; a function of a module, or an object of one with `__call__`.
        arguments: taken as they are needed.
        processes: how many; 1 is this one. None begins in this one and starts one a processor
            when there is more than a second's work.

    Raises:
        ConfigError: fewer than one process.
        LoratoryError: what `work` raised first.
        RunError: a process has died.
        RuntimeError: a fault in `work`, with its traceback.
    """
    if processes is not None and processes < 1:
        raise ConfigError(f"processes: {processes} is not a number of processes; give 1 or more.")
    rest = iter(arguments)
    if processes is None:
        processes = usable() if sys.executable else 1
        stop = time.monotonic() + PATIENCE
        for argument in rest:
            if processes > 1 and time.monotonic() > stop:
                rest = chain((argument,), rest)
                break
            yield argument, work(argument)
        else:
            return
    if processes == 1:
        for argument in rest:
            yield argument, work(argument)
        return
    crew = _Crew(work, processes)
    threads = ThreadPoolExecutor(processes)  # each waits for a process, and does no work
    try:
        under_way: deque[tuple[A, Future[Any]]] = deque()
        for argument in rest:
            under_way.append((argument, threads.submit(crew.ask, argument)))
            if len(under_way) >= 2 * processes:
                first, result = under_way.popleft()
                yield first, result.result()
        for first, result in under_way:
            yield first, result.result()
    finally:
        crew.end()
        threads.shutdown(cancel_futures=True)


class _Crew:
    """Processes that do the same work."""

    def __init__(self, work: Callable[[Any], Any], count: int) -> None:
        setup = pickle.dumps(sys.path) + pickle.dumps(work)
        self.members = [_start() for _ in range(count)]
        self.free: SimpleQueue[subprocess.Popen[bytes]] = SimpleQueue()
        for member in self.members:
            with suppress(OSError):  # one that died at once is found out when it is asked
                _stream(member.stdin).write(setup)
            self.free.put(member)

    def ask(self, argument: Any) -> Any:
        """Return the result of the next free process; called by as many threads as there are."""
        member = self.free.get()
        try:
            to, answers = _stream(member.stdin), _stream(member.stdout)
            pickle.dump(argument, to, pickle.HIGHEST_PROTOCOL)
            to.flush()
            kind, result = pickle.load(answers)  # noqa: S301 - from a process of ours
        except (OSError, ValueError, EOFError, pickle.UnpicklingError):
            raise _lost(member) from None
        finally:
            self.free.put(member)
        if kind == "refused":
            raise result
        if kind == "failed":
            raise RuntimeError(f"in a process of its own:\n{result}")
        return result

    def end(self) -> None:
        """End every process, whatever it is doing."""
        for member in self.members:
            member.kill()
        for member in self.members:
            member.wait()
            for stream in (member.stdin, member.stdout):
                with suppress(OSError):
                    _stream(stream).close()


def _start() -> subprocess.Popen[bytes]:
    return subprocess.Popen(  # noqa: S603 - Python itself
        [sys.executable, "-c", _START],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**_ONE_THREAD, **os.environ},
        start_new_session=True,  # Ctrl-C is for the caller, who ends them
    )


def _stream(stream: IO[bytes] | None) -> IO[bytes]:
    assert stream is not None
    return stream


def _lost(member: subprocess.Popen[bytes]) -> RunError:
    status: int | None = None
    with suppress(subprocess.TimeoutExpired):
        status = member.wait(timeout=5)
    how = f"with status {status}"
    if status is not None and status < 0:
        how = f"by signal {signal.Signals(-status).name}"
    if status == -9:
        how += ", as the system does when memory runs out"
    return RunError(f"a scoring process was ended {how}. Try fewer processes.")
