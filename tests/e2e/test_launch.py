"""Several processes train one run, answer its rows, and go on with it however many they are."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from safetensors.torch import load_file

import loratory
from loratory.errors import ConfigError, RunError
from loratory.pipeline import Processes, launch, prepare
from loratory.pipeline.processes import _share
from loratory.progress import Silent
from loratory.runs import Run
from loratory.tuning.resuming import shared_batch

# 48 training rows and so no process needs a row twice.
TWO = {
    "train": {
        "per_device_train_batch_size": 2,
        "max_steps": 8,
        "eval_steps": 4,
        "early_stopping_patience": None,
    },
    "decode": {"batch_size": 1},
    "data": {"test_size": 20, "validation_size": 4, "train_rows": 32},
}
ONE = {**TWO, "train": {**TWO["train"], "per_device_train_batch_size": 4}}


class Notes(Silent):
    def __init__(self):
        self.notes = []

    def note(self, text):
        self.notes.append(text)


def losses(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "train.jsonl").read_text().splitlines()]


def alike(one: Path, other: Path) -> None:
    mine, theirs = losses(one), losses(other)
    assert [line["step"] for line in mine] == [line["step"] for line in theirs]
    for left, right in zip(mine, theirs, strict=True):
        assert right == pytest.approx(left, abs=1e-4)
    a, b = (load_file(run / "adapter/adapter_model.safetensors") for run in (one, other))
    assert a.keys() == b.keys()
    assert all(a[key].shape == b[key].shape for key in a)
    assert max(float((a[key] - b[key]).abs().max()) for key in a) < 1e-4


@pytest.mark.slow
def test_two_processes_end_as_one_with_their_batch(recipe):
    one = loratory.run(recipe(**ONE))
    two, heard = prepare(recipe(**TWO)), Notes()
    launch(two, Processes(2), heard)
    alike(one.folder, two.folder)
    manifest = two.manifest()
    assert manifest["status"] == "complete" and manifest["processes"] == 2
    assert manifest["proof"]["passed"] and not (two.folder / "partial").exists()
    assert any("Sharing the stage predict between 2 processes" in note for note in heard.notes)
    assert not [note for note in heard.notes if "ended with status" in note]
    # Shared answers are those of one process, to the byte.
    alone = Run.open(two.folder)
    before = {path: path.read_bytes() for path in two.folder.glob("pr*/*/*.jsonl")}
    assert len(before) > 4
    for stage in (loratory.predict, loratory.probe):
        stage(alone)
    assert before == {path: path.read_bytes() for path in two.folder.glob("pr*/*/*.jsonl")}


@pytest.mark.slow
def test_a_process_that_is_lost_costs_no_answer_and_doubles_none(recipe, monkeypatch):
    run = loratory.run(recipe(**ONE))
    expected = [p.id for p in run.predictions("tuned")]
    before = {name: run.predictions(name) for name in ("base", "tuned")}
    heard, plain, begun = Notes(), subprocess.Popen, []

    class Killed(plain):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            begun.append(self)
            if len(begun) == 2:
                os.kill(self.pid, signal.SIGKILL)

    monkeypatch.setattr("loratory.pipeline.processes.subprocess.Popen", Killed)
    monkeypatch.setenv("LORATORY_CACHE", str(Path("another cache").absolute()))
    _share(run, "predict", 2, heard)
    monkeypatch.setattr("loratory.pipeline.processes.subprocess.Popen", plain)
    assert any("Process 1 ended with status -9" in note for note in heard.notes)
    kept = list(run.folder.glob("partial/predict/*/*.jsonl"))
    assert {path.name for path in kept} == {"000000.jsonl", "000002.jsonl"}
    loratory.predict(run)
    assert [p.id for p in run.predictions("tuned")] == expected
    assert {name: run.predictions(name) for name in ("base", "tuned")} == before


@pytest.mark.slow
def test_it_goes_on_by_other_processes(recipe):
    whole = loratory.run(recipe(**ONE))
    settings = {**TWO, "train": {**TWO["train"], "max_steps": 8, "eval_steps": 2}}
    one = loratory.run(recipe(**{**ONE, "train": {**ONE["train"], "eval_steps": 2}}))
    path = recipe(**settings)
    begun = prepare(path)
    command = [sys.executable, "-c", "from loratory.cli import main; main()"]
    running = subprocess.Popen(
        [*command, "launch", str(begun.folder), "--processes", "2"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 180
    while not list(begun.folder.glob("checkpoints/checkpoint-4/seal.json")):
        assert running.poll() is None, running.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    running.send_signal(signal.SIGTERM)
    out, err = running.communicate(timeout=120)
    manifest = begun.manifest()
    if manifest["status"] != "complete":  # it was quicker than the signal
        assert running.returncode == 143, (out, err)
        assert f"To go on: loratory resume {begun.folder}" in err
        loratory.resume(Run.open(begun.folder))
    assert begun.manifest()["processes"] == 2
    alike(one.folder, begun.folder)
    assert whole.manifest()["status"] == "complete"


def test_steps_keep_their_rows():
    from loratory.config import TrainConfig

    config = TrainConfig(per_device_train_batch_size=4, gradient_accumulation_steps=2)

    def changed(began, now):
        found = shared_batch(config, began, now)
        return found.per_device_train_batch_size, found.gradient_accumulation_steps

    assert changed(3, 3) == (4, 2)
    assert changed(2, 1) == (4, 4)
    assert changed(1, 2) == (4, 1)
    assert changed(1, 8) == (1, 1)
    with pytest.raises(RunError, match=r"8 rows a step, which 3 processes .* divisor of 8"):
        changed(1, 3)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"number": 0}, "--processes: got 0"),
        ({"node": 1}, "--node: got 1"),
        ({"nodes": 2, "node": 0}, "--meet: several nodes need HOST:PORT"),
        ({"accelerate": Path("none.yaml")}, "--accelerate: none.yaml is no file"),
    ],
)
def test_processes_that_cannot_be_are_refused(fields, words, finished):
    with pytest.raises(ConfigError, match=words):
        launch(Run.open(finished()), Processes(**fields))


def test_the_commands():
    run = Path("run")
    one = " ".join(Processes(4).command(run))
    assert "torch.distributed.run --nproc-per-node=4 --standalone" in one
    several = " ".join(Processes(8, 3, 1, "node0:29500").command(run))
    for part in ("--nnodes=3", "--node-rank=1", "--master-addr=node0", "--master-port=29500"):
        assert part in several
    theirs = " ".join(Processes(accelerate=Path("fsdp.yaml")).command(run))
    assert "accelerate.commands.launch --config_file fsdp.yaml" in theirs


@pytest.mark.slow
def test_a_mistake_in_a_process_is_one_sentence(recipe, cli):
    run = prepare(recipe(**TWO))
    weights = next(Path(run.config.model.name).glob("*.safetensors"))
    content = weights.read_bytes()
    weights.write_bytes(content[: len(content) // 2])
    try:
        answer = cli("launch", str(run.folder))
    finally:
        weights.write_bytes(content)
    assert answer.code == 2 and len(answer.sentences) == 1, answer.err
    assert "the weights of" in answer.sentences[0]


FAKES = {
    # Two nodes, which are this machine.
    "scontrol": "echo 127.0.0.1; echo 127.0.0.1",
    "srun": """
shift
SLURM_NODEID=1 "$@" > node1.log 2>&1 & other=$!
SLURM_NODEID=0 "$@"
wait $other
""",
    "loratory": f"exec {sys.executable} -c 'from loratory.cli import main; main()' \"$@\"",
}


@pytest.mark.slow
def test_a_slurm_script_trains_on_two_nodes(recipe, cli, monkeypatch, tmp_path):
    run = prepare(recipe(**TWO))
    one = loratory.run(recipe(**ONE))
    answer = cli("launch", run.folder, "--processes", 1, "--nodes", 2, "--slurm", "job.sh")
    assert answer.code == 0 and "Next: sbatch job.sh" in answer.out
    assert cli("launch", run.folder, "--slurm", "job.sh").code == 2
    script = Path("job.sh").read_text()
    assert "#SBATCH --nodes=2" in script and "#SBATCH --signal=TERM@120" in script
    (tmp_path / "bin").mkdir()
    for name, words in FAKES.items():
        file = tmp_path / "bin" / name
        file.write_text(f"#!/usr/bin/env bash\n{words}\n")
        file.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setenv("MASTER_PORT", str(free.getsockname()[1]))
    monkeypatch.setenv("SLURM_JOB_NODELIST", "nodes[0-1]")
    done = subprocess.run(["bash", "job.sh"], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert run.manifest()["status"] == "complete" and run.manifest()["processes"] == 2
    alike(one.folder, run.folder)
