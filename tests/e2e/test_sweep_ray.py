"""Sweeps on a real Ray of two workers on this machine, some of whose processes are killed."""

from __future__ import annotations

import importlib.util
import ipaddress
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from loratory.evaluation.processes import usable
from loratory.sweep import Sweep, Workers
from loratory.sweep.engine import Engine
from loratory.sweep.process import Ended, Job

pytestmark = [
    pytest.mark.ray,
    pytest.mark.slow,
    # Not importorskip: once Ray is imported, it has decided where it listens.
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed"),
    pytest.mark.skipif(usable() < 2, reason="two workers need two cores"),
]
COMMAND = [sys.executable, "-c", "from loratory.cli import main; main()"]
PATIENCE = 600
"""Seconds for anything; an idle machine needs a tenth of it."""


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with Workers("ray", cores=1, gpus=0).start() as started:
        yield started


def within(found: Callable[[], object]) -> object:
    """What a function finds, once it finds something."""
    limit = time.monotonic() + PATIENCE
    while not (thing := found()):
        assert time.monotonic() < limit
        time.sleep(0.02)
    return thing


def workers_of(process: psutil.Process) -> list[psutil.Process]:
    """The processes of Ray that run a trial now."""
    children = process.children(recursive=True)
    return [child for child in children if child.name() == "ray::_trial"]


def trials_of(process: psutil.Process, name: str = "") -> list[psutil.Process]:
    """The trials' own processes."""
    found = [child for worker in workers_of(process) for child in worker.children()]
    return [child for child in found if any(name in word for word in child.cmdline())]


def light(place: int, folder: Path) -> Job:
    """A job of half a second."""
    return Job(place, ("list", "tasks", "--json"), folder / f"{place}.log", folder)


def ran(engine: Engine, *batches: list[Job]) -> dict[int, Ended]:
    left = list(batches)
    return {job.place: ended for job, ended in engine(lambda: left.pop(0) if left else [])}


def test_jobs_are_run_and_more_are_asked_for(engine, tmp_path: Path) -> None:
    found = ran(engine, [light(0, tmp_path), light(1, tmp_path)], [light(2, tmp_path)])
    assert sorted(found) == [0, 1, 2]
    for place, ended in found.items():
        assert (ended.status, ended.lost, ended.threads) == (0, "", 1)
        assert "summarization" in str(json.loads(ended.out)) and ended.ended > ended.began > 0
        assert (tmp_path / f"{place}.log").is_file()
    refused = Job(3, ("run", "nothing.yaml", "--json"), tmp_path / "3.log", tmp_path)
    (ended,) = ran(engine, [refused]).values()
    assert ended.status == 2 and "nothing.yaml" in json.loads(ended.out)["error"]["problems"][0]


def test_ray_is_for_this_machine_alone(engine) -> None:
    processes = [psutil.Process(), *psutil.Process().children(recursive=True)]
    listening = [
        connection.laddr.ip
        for process in processes
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert len(listening) > 3
    for address in listening:
        found = ipaddress.ip_address(address)
        assert (getattr(found, "ipv4_mapped", None) or found).is_loopback
    (store,) = [p for p in processes if p.name() == "gcs_server"]
    environment = store.environ()
    assert environment["RAY_USAGE_STATS_ENABLED"] == "0" and environment["RAY_AUTH_TOKEN"]


def test_a_folder_that_a_node_has_not_is_told(engine, tmp_path: Path) -> None:
    (ended,) = ran(engine, [light(0, tmp_path / "elsewhere")]).values()
    assert "elsewhere is not on the node that ran it" in ended.lost and not ended.began
    gone = Job(1, ("list",), tmp_path / "1.log", tmp_path / "gone")
    (ended,) = ran(engine, [gone]).values()
    assert ended.lost.startswith("Ray lost it: FileNotFoundError")


def test_a_worker_killed_once_is_replaced_and_twice_is_lost(engine, tmp_path: Path) -> None:
    here = psutil.Process()

    def kill(times: int) -> Ended:
        """Kill the worker of a job that cannot begin until somebody reads its log."""
        job = light(times, tmp_path)
        os.mkfifo(job.log)
        found: dict[int, Ended] = {}
        waiting = threading.Thread(target=lambda: found.update(ran(engine, [job])))
        waiting.start()
        for _ in range(times):
            (worker,) = within(lambda: workers_of(here))
            worker.kill()
            within(lambda worker=worker: not worker.is_running() or worker not in workers_of(here))
        if times == 1:
            job.log.read_text(encoding="utf-8")
        waiting.join(PATIENCE)
        return found[times]

    assert kill(1).status == 0 and kill(1 + 1).lost.startswith("Ray lost it: WorkerCrashedError")


def test_a_sweep_on_ray_is_the_sweep_here(cli, recipe) -> None:
    file = recipe("classification")
    options = ["sweep", str(file), "--methods", "lora", "--steps", "2", "--cores", "1", "--json"]
    started = subprocess.Popen(
        [*COMMAND, *options, "--seeds", "2", "--on", "ray", "--gpus", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    process = psutil.Process(started.pid)
    (trial,) = within(lambda: trials_of(process, "lora-1.yaml"))
    within(lambda: list(Path("runs").glob("*/runs/*lora-1*/train.jsonl")))
    trial.parent().kill()  # midway, and with it goes the trial's own process
    within(lambda: not trial.is_running() or trial.status() == psutil.STATUS_ZOMBIE)
    out, said = started.communicate(timeout=PATIENCE)
    assert started.returncode == 0, said
    answer = json.loads(out)
    assert answer["summary"]["at_once"] == 2 and answer["summary"]["rows"][0]["quality"]["n"] == 2
    assert "On Ray: " in said and "each with 1 thread and no GPU" in said
    there = Sweep.open(Path(answer["sweep"]))
    assert [trial.threads for trial in there.trials] == [1, 1]
    assert "ran at once" in (there.folder / "summary.md").read_text("utf-8")
    answer = cli(*options, "--seeds", "1")
    assert answer.code == 0, answer.err
    here = Sweep.open(Path(json.loads(answer.out)["sweep"]))
    assert files(here) == files(there)[: len(files(here))]


def files(folder: Sweep) -> list[bytes]:
    names = ("adapter/adapter_model.safetensors", "scores.json", "comparison.json")
    runs = [folder.folder / trial.run for trial in folder.trials]
    return [(run / name).read_bytes() for run in runs for name in names]
