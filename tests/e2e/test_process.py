"""The command as a process of its own: start-up, pipes, interrupts, and a disk that is full."""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

COMMAND = [sys.executable, "-c", "from loratory.cli import main; main()"]
HEAVY = ("torch", "transformers", "peft", "datasets", "numpy", "pandas")


def process(*argv: object, timeout: float = 240) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *map(str, argv)], capture_output=True, text=True, timeout=timeout
    )


def imported(code: str) -> set[str]:
    """Return the top-level modules that a piece of Python leaves imported."""
    code += "\nimport sys; print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_importing_and_helping_load_nothing_heavy() -> None:
    assert not imported("import loratory") & {*HEAVY, "pydantic", "typer", "yaml"}
    command = "import sys, loratory.cli\nsys.argv = ['loratory', '{}']\n"
    command += "try: loratory.cli.main()\nexcept SystemExit as stop: assert stop.code == 0"
    light = {*HEAVY, "pydantic", "rich", "typer", "click", "typing", "json"}
    assert not imported(command.format("--help")) & light
    assert not imported(command.format("list")) & (set(HEAVY) - {"numpy"})


def test_help_answers_at_once() -> None:
    def seconds() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert process("--help").returncode == 0
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime

    # Processor time, and the best of several: the work, not a busy machine's queue.
    assert min(seconds() for _ in range(3)) < 0.3


@pytest.mark.parametrize("words", [["--help"], ["score", "--help"]])
def test_help_is_the_same_whether_it_is_kept_or_wrapped_anew(words, monkeypatch) -> None:
    kept = process(*words).stdout
    assert kept.startswith("Usage: loratory")
    monkeypatch.setenv("COLUMNS", "60")
    narrow = process(*words).stdout
    assert max(map(len, narrow.splitlines())) <= 60
    # Sentences of options are whole in both; those of commands are cut where a line ends.
    assert narrow != kept and kept.split()[:4] == narrow.split()[:4]


def test_no_file_but_kept_help_is_printed(tmp_path: Path) -> None:
    (tmp_path / "other.txt").write_text("secret", encoding="utf-8")
    for name in (str(tmp_path / "other"), "../help/loratory", "loratory.txt"):
        done = process(name, "--help")
        assert done.returncode == 2 and "secret" not in done.stdout + done.stderr
    # The program's own name is no command of it.
    assert process("loratory", "--help").returncode == 2


def test_a_closed_pipe_is_no_fault() -> None:
    done = subprocess.run(
        f"{sys.executable} -c 'from loratory.cli import main; main()' list | head -1",
        shell=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout.strip() == "methods" and "Traceback" not in done.stderr


def test_a_terminal_that_cannot_spell_gets_escapes(recipe) -> None:
    env = {**os.environ, "PYTHONIOENCODING": "latin-1", "PYTHONUTF8": "0"}
    done = subprocess.run([*COMMAND, "list"], capture_output=True, env=env, timeout=60)
    assert done.returncode == 0 and b"Traceback" not in done.stderr
    done.stdout.decode("latin-1")


@pytest.mark.slow
def test_an_interrupted_training_says_how_to_go_on_and_goes_on(recipe) -> None:
    path = recipe(train={"max_steps": 3000, "eval_steps": 50, "early_stopping_patience": None})
    running = subprocess.Popen(
        [*COMMAND, "run", str(path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 180
    while not list(Path("runs").glob("*/checkpoints/checkpoint-50/trainer_state.json")):
        assert running.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=60)
    assert running.returncode == 130 and out == ""
    assert "Traceback" not in err and err.splitlines()[-1] == "loratory: interrupted."
    (run,) = Path("runs").iterdir()
    assert f"To go on: loratory resume {run}" in err
    assert json.loads((run / "manifest.json").read_text())["status"] == "interrupted"
    assert not (run / "adapter").exists()

    config = (run / "config.yaml").read_text()
    (run / "config.yaml").write_text(config.replace("max_steps: 3000", "max_steps: 400"))
    again = process("train", run)
    assert again.returncode == 0, again.stderr
    assert re.search(r"Going on from checkpoint-\d+", again.stderr)
    assert (run / "adapter" / "adapter_model.safetensors").exists()
    steps = [json.loads(line)["step"] for line in (run / "train.jsonl").read_text().splitlines()]
    assert steps == sorted(steps)
    assert json.loads((run / "manifest.json").read_text())["failed"] is None


@pytest.fixture
def small_disk(tmp_path: Path):
    """Return a function that mounts an empty disk of so many KiB; needs root."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def mount(kib: int) -> Path:
        options = ["-t", "tmpfs", "-o", f"size={kib}k", "tmpfs"]
        done = subprocess.run(["mount", *options, str(folder)], capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"a disk cannot be mounted here: {done.stderr.strip()}")
        return folder

    yield mount
    # Lazy: a library that failed in the middle of a file may still hold it open.
    subprocess.run(["umount", "--lazy", str(folder)], capture_output=True)


# From what the run's own first files need to what the last report needs.
@pytest.mark.slow
@pytest.mark.parametrize("kib", range(4, 440, 24))
def test_a_full_disk_is_one_sentence_and_nothing_is_half_written(
    kib, small_disk, cli, recipe, monkeypatch
) -> None:
    # The check before training would refuse such disks at once; here it is the writing that
    # must fail well, as when another process takes the room meanwhile.
    monkeypatch.setattr("loratory.tuning.preflight._room", lambda *_: None)
    disk = small_disk(kib)
    answer = cli("run", recipe(output_dir=str(disk)))
    for path in disk.rglob("*"):
        assert path.name == ".lock" or not path.name.startswith("."), path
        if path.suffix == ".json":
            json.loads(path.read_text())
        if path.suffix == ".jsonl":
            for line in path.read_text().splitlines():
                json.loads(line)
    if answer.code:
        assert answer.code == 2 and len(answer.sentences) == 1, answer.err
        assert "Traceback" not in answer.err and "the disk is full" in answer.sentences[0]
    else:
        (run,) = disk.iterdir()
        assert json.loads((run / "manifest.json").read_text())["status"] == "complete"


@pytest.mark.slow
def test_a_disk_too_small_for_the_checkpoints_is_refused_at_once(small_disk, cli, recipe) -> None:
    disk = small_disk(64)
    answer = cli("run", recipe(output_dir=str(disk)))
    assert answer.code == 2 and "needed for checkpoints" in answer.sentences[0]
    assert list(disk.iterdir()) == []
