"""Trials as tasks of Ray (Moritz et al. 2018, "Ray: A Distributed Framework for Emerging AI
Applications"), on this machine or a cluster.

A task does nothing but run the trial's own process on the node that Ray chose, and return how it
ended. So a trial is the same here and there, and Ray's libraries are not in its memory.
"""

from __future__ import annotations

import ipaddress
import os
import secrets
import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from typing import Any

from loratory.errors import ConfigError, RunError
from loratory.evaluation.processes import usable
from loratory.sweep.engine import Take
from loratory.sweep.process import Ended, Job, execute

__all__ = ["connected", "default_gpus", "room", "spread"]

QUIET = {"log_to_driver": False, "logging_level": "ERROR"}
STORE_BYTES = 80 << 20
"""Of Ray's object store: little more than it asks for, since answers are short texts."""
PATIENCE = 5.0
"""Seconds for an address to answer; Ray itself tries for minutes."""
RETRIES = 1
"""Times that a task is run again whose worker or node was lost."""
WORDS = 300
"""Characters of Ray's own words in a sentence."""


@contextmanager
def connected(address: str) -> Iterator[None]:
    """Be connected to the Ray at an address, or start one on this machine, within the block.

    One that is started listens on the loopback interface alone, admits those who know a token
    drawn for it, has no dashboard, and sends no usage statistics.

    Raises:
        RunError: it cannot be started or reached.
    """
    own = {
        # Ray's way to say that a cluster is this machine alone. It is read on import.
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
    }
    if address:
        _answers(address)
    variables = {"RAY_USAGE_STATS_ENABLED": "0", **({} if address else own)}
    # Whatever it is told, Ray prints that a worker was lost, and standard output is for results.
    with _environment(variables), redirect_stdout(sys.stderr):
        import ray

        try:
            try:
                if address:
                    ray.init(address=address, **QUIET)
                else:
                    ray.init(
                        address="local",
                        num_cpus=usable(),
                        include_dashboard=False,
                        object_store_memory=STORE_BYTES,
                        # Else Ray runs a task that was short of memory again without end.
                        _system_config={"task_oom_retries": RETRIES},
                        **QUIET,
                    )
            except Exception as error:
                where = f"--address: {address}" if address else "--on ray"
                raise RunError(f"{where}: Ray says: {_short(error)}") from None
            if not address:
                _check_loopback()
            yield
        finally:
            ray.shutdown()  # also what a failed start has left


def default_gpus() -> float:
    """Return 1 where a node has GPUs, else 0."""
    return float(any(node.get("GPU", 0) >= 1 for node in _nodes()))


def room(cores: int, gpus: float) -> int:
    """Return how many trials run at once when each gets so many cores and GPUs.

    Raises:
        ConfigError: no node has room for one.
    """
    found = 0
    for node in _nodes():
        fit = int(node.get("CPU", 0) // cores)
        found += min(fit, int(node.get("GPU", 0) / gpus)) if gpus else fit
    if not found:
        have = {f"{node.get('CPU', 0):g} and {node.get('GPU', 0):g}" for node in _nodes()}
        raise ConfigError(
            f"--cores, --gpus: each trial is to get {cores} and {gpus:g}, and the nodes of this "
            f"Ray have {', '.join(sorted(have))}."
        )
    return found


def spread(take: Take, cores: int, gpus: float) -> Iterator[tuple[Job, Ended]]:
    """Run trials wherever Ray has room, each with so many cores, threads and GPUs."""
    import ray

    task = ray.remote(
        num_cpus=cores,
        num_gpus=gpus,
        max_retries=RETRIES,
        scheduling_strategy="SPREAD",  # trials of one node are in each other's way
    )(_trial)
    under_way: dict[Any, Job] = {}
    while True:
        under_way |= {task.remote(job, cores): job for job in take()}
        if not under_way:
            return
        (first, *_), _ = ray.wait(list(under_way))
        job = under_way.pop(first)
        try:
            ended = ray.get(first)
        except ray.exceptions.RayError as error:
            ended = Ended(lost=f"Ray lost it: {_short(error)}")
        yield job, ended


def _trial(job: Job, cores: int) -> Ended:
    """Run a trial on the node that this is; the function that Ray is given."""
    import ray

    if not job.log.parent.is_dir():
        return Ended(
            lost=f"{job.log.parent} is not on the node that ran it. The sweep's folder must be on "
            "a file system that all nodes share."
        )
    # With no GPU given, Ray leaves all of them visible.
    visible = ",".join(str(gpu) for gpu in ray.get_gpu_ids())
    return execute(job, cores, {"CUDA_VISIBLE_DEVICES": visible})


def _nodes() -> list[dict[str, float]]:
    """Return the resources of every node that is up."""
    import ray

    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def _check_loopback() -> None:
    import ray

    found = [node["NodeManagerAddress"] for node in ray.nodes()]
    if not all(ipaddress.ip_address(address).is_loopback for address in found):
        raise RunError(
            f"--on ray: Ray was imported before, and would listen on {', '.join(found)}. Start Ray "
            "yourself and give --address, or run the sweep in a process that has not imported it."
        )


def _answers(address: str) -> None:
    """Refuse HOST:PORT or ray://HOST:PORT where nothing listens."""
    host, colon, port = address.rpartition("://")[2].rpartition(":")
    if not (colon and port.isdecimal()):
        return  # such as auto: Ray knows at once
    try:
        socket.create_connection((host.strip("[]"), int(port)), PATIENCE).close()
    except (OSError, OverflowError) as error:
        raise RunError(
            f"--address: nothing answers at {address} ({error}). Start Ray there with `ray start "
            "--head`, or leave --address out for one of this machine."
        ) from None


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Have variables of Ray within the block, and after it those of before: Ray sets some too."""
    before = {name: value for name, value in os.environ.items() if name.startswith("RAY_")}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name in [name for name in os.environ if name.startswith("RAY_")]:
            del os.environ[name]
        os.environ.update(before)


def _short(error: Exception) -> str:
    """Return what an error of Ray says, without the traceback that it may hold."""
    cause = getattr(error, "cause", None) or error
    lines = [line.strip() for line in str(cause).splitlines() if line.strip()]
    # Of a task, the text is a traceback, which ends with what matters.
    text = lines[-1 if "Traceback" in str(cause) else 0] if lines else ""
    return f"{type(cause).__name__}: {text}"[:WORDS]
