"""Trials under an engine: which are run, how they end, and what is run again.

A trial here is a small script in the place of `loratory run`, so that hundreds fit in a minute.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from loratory.codec import to_dict
from loratory.config import from_mapping
from loratory.errors import ConfigError, MissingDependencyError, RunError
from loratory.records import Comparison
from loratory.sweep import Sweep, Trial, Workers, cluster, plan, process, summary, sweep
from loratory.sweep.engine import Take, here
from loratory.sweep.process import Ended, Job, execute
from loratory.sweep.summary import at_once

RECIPE = {"model": "some/model", "data": "rows.csv", "task": "summarization", "seed": 5}

# orders.json says by the trial's name what it does; all others learn.
TRIAL = """
import json, os, signal, sys
from pathlib import Path

_, command, recipe, as_json, output, *rest = sys.argv
name = "-".join([Path(recipe).stem, *(item.partition("=")[2] for item in rest)])
with open("began.txt", "a") as began:
    print(name, os.environ.get("OMP_NUM_THREADS"), file=began)
orders = json.loads(Path("orders.json").read_text())
order = orders.get(name, {})
if "error" in order:
    print(json.dumps({"error": order["error"]}))
    sys.exit(2)
if "signal" in order:
    os.kill(0 if order.get("group") else os.getpid(), order["signal"])
if "import" in order:
    __import__(order["import"])
run = Path(output.partition("=")[2]) / name
run.mkdir(parents=True)
manifest = {
    "model": {"trainable": 3, "peak_memory_bytes": 1 << 20},
    "durations": {"train": 2.0},
    "training": {"steps": 7, "best_eval_loss": order.get("loss", 1.0)},
}
(run / "manifest.json").write_text(json.dumps(manifest))
scores = [{"metric": "rouge1", "value": order.get("value", 0.5)}]
print(json.dumps({
    "run": str(run),
    "comparison": orders["comparison"],
    "scores": {"base": scores, "tuned": scores},
}))
"""


@pytest.fixture
def orders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Return a function that says what each trial does; trials are scripts from now on."""
    monkeypatch.setattr(process, "START", TRIAL)
    monkeypatch.chdir(tmp_path)
    compared = to_dict(Comparison("rouge1", 0.1, 0.5, 0.4, 0.3, 0.5, 8, "rouge1"))

    def write(**by_name: dict[str, object]) -> None:
        named = {name.replace("_", "-"): order for name, order in by_name.items()}
        text = json.dumps({"comparison": [compared], **named})
        (tmp_path / "orders.json").write_text(text, encoding="utf-8")
        (tmp_path / "began.txt").write_text("", encoding="utf-8")

    write()
    return write


def began() -> list[str]:
    """The trials that were begun, in order."""
    lines = Path("began.txt").read_text(encoding="utf-8").splitlines()
    return [line.split()[0] for line in lines]


def made(seeds: int = 2, rates: tuple[float, ...] = (), output: str = "runs") -> Sweep:
    recipe = from_mapping({**RECIPE, "output_dir": output})
    trials = plan(recipe, ["lora"], seeds)
    trials |= {("other", seed): config for (_, seed), config in trials.items()}
    return Sweep.create(trials, recipe, {}, rates)


class Said:
    """A progress that remembers."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.done = 0

    def stage(self, name: str) -> None: ...
    def begin(self, task: str, total: int) -> None: ...
    def advance(self, done: int, detail: str = "") -> None:
        self.done += done

    def note(self, text: str) -> None:
        self.notes.append(text)


def test_trials_are_run_once(orders) -> None:
    folder, said = made(), Said()
    sweep(folder, said)
    assert began() == ["lora-5", "lora-6", "other-5", "other-6"]
    again = Sweep.open(folder.folder)
    assert [trial.run for trial in again.trials] == [f"runs/{name}" for name in began()]
    assert all(trial.values == {"rouge1": 0.5} for trial in again.trials)
    assert said.done == 4 and said.notes == []
    sweep(again)
    assert len(began()) == 4 and again.trials == folder.trials


def test_a_fault_loses_no_other_trial_and_is_run_again(orders) -> None:
    refused = {"type": "DataError", "problems": ["rows.csv: no rows."]}
    full = {"type": "RunError", "problems": ["runs: the disk is full.", "Free space."]}
    orders(
        lora_5={"error": refused},
        lora_6={"import": "no_such_package"},
        other_5={"error": full},
        other_6={"signal": 9},
    )
    folder, said = made(), Said()
    folder.facts |= {"headline": "rouge1", "lower_is_better": {"rouge1": False}}
    sweep(folder, said)
    first, missing, disk, killed = folder.trials
    assert first.problem == "rows.csv: no rows." and not first.fault
    assert missing.fault.startswith(
        "ended with status 1: ModuleNotFoundError: No module named 'no_such_package' (all it said: "
    )
    assert missing.fault.endswith("lora-6.log)")
    assert disk.fault == "runs: the disk is full. Free space."
    assert killed.fault.startswith("was ended by signal SIGKILL, as a system does that runs out")
    assert len(began()) == said.done == 4
    assert said.notes[0] == "lora, seed 5: rows.csv: no rows."
    orders(other_5={"error": full})
    again = Sweep.open(folder.folder)
    sweep(again)
    assert began() == ["lora-6", "other-5", "other-6"]
    assert [bool(trial.values) for trial in again.trials] == [False, True, False, True]
    assert [bool(trial.fault) for trial in again.trials] == [False, False, True, False]
    found = summary(again)
    assert found.failed == {"other-5": "runs: the disk is full. Free space."}
    assert "other-5 failed: runs: the disk is full." in found.markdown()
    assert "lora has no result" not in found.markdown()  # one of its seeds has one


def test_a_rate_is_chosen_when_all_are_tried(orders) -> None:
    orders(**{"lora_5_0.001": {"loss": 2.0}, "lora_5_0.01": {"loss": 1.5}})
    folder = made(rates=(1e-3, 1e-2))
    sweep(folder)
    assert began()[:4] == ["lora-5-0.001", "lora-5-0.01", "other-5-0.001", "other-5-0.01"]
    assert sorted(began()[4:]) == ["lora-6-0.01", "other-6-0.001"]
    assert folder.log(folder.trials[2]).name == "lora-6-0.01.log"
    assert folder.log(folder.trials[2]).is_file()


def test_no_rate_is_chosen_while_a_try_is_missing(orders) -> None:
    orders(**{"lora_5_0.01": {"signal": 15}})
    folder = made(rates=(1e-3, 1e-2))
    sweep(folder)
    waiting = folder.trials[2]
    assert waiting.learning_rate is None and "before all those" in waiting.fault
    assert not any(name.startswith("lora-6") for name in began())
    orders(**{"lora_5_0.01": {"loss": 0.5}, "lora_6_0.01": {"signal": 15}})
    sweep(folder)
    # A trial that failed under its rate has it chosen anew, so that it is not taken for a try.
    assert "SIGTERM" in folder.trials[2].fault and folder.trials[2].learning_rate is None
    orders()
    sweep(folder)
    assert began() == ["lora-6-0.01"] and not any(trial.fault for trial in folder.trials)


def test_a_method_whose_tries_are_all_refused_has_no_result(orders) -> None:
    refused = {"error": {"type": "ModelError", "problems": ["method.lora: not here."]}}
    orders(lora_5={}, **{"lora_5_0.001": refused, "lora_5_0.01": refused})
    folder = made(rates=(1e-3, 1e-2))
    sweep(folder)
    assert folder.trials[2].problem == "no learning rate gave it a first result."
    assert summary(folder).refused["lora"] == "no learning rate gave it a first result."


def backwards(take: Take) -> Iterator[tuple[Job, Ended]]:
    """An engine with room for all, whose last job ends first."""
    waiting: list[Job] = []
    while waiting := [*waiting, *take()]:
        job = waiting.pop()
        yield job, execute(job)


def test_the_order_in_which_trials_end_changes_nothing(orders) -> None:
    orders(**{"other_5_0.01": {"loss": 0.5}, "lora_6_0.001": {"value": 0.25}})
    folders = [made(rates=(1e-3, 1e-2), output=output) for output in ("one", "other")]
    sweep(folders[0])
    sweep(folders[1], engine=backwards)
    first, second = began()[:6], began()[6:]
    assert first != second and sorted(first) == sorted(second)
    one, other = (
        [dataclasses.replace(trial, began=0, ended=0) for trial in folder.trials]
        for folder in folders
    )
    assert one == other
    assert summary(folders[0]).rows == summary(folders[1]).rows


def test_a_lost_trial_is_told_and_run_again(orders) -> None:
    def lossy(take: Take) -> Iterator[tuple[Job, Ended]]:
        for job in take():
            lost = job.place == 1
            yield job, Ended(lost="Ray lost it: its worker died.") if lost else execute(job)

    folder = made()
    sweep(folder, engine=lossy)
    assert [trial.fault for trial in folder.trials] == ["", "Ray lost it: its worker died.", "", ""]
    sweep(folder)
    assert began() == ["lora-5", "other-5", "other-6", "lora-6"] and folder.trials[1].values


def test_threads_are_told_and_recorded(orders, monkeypatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    folder, said = made(1), Said()
    with Workers(cores=1).start(said) as engine:
        sweep(folder, said, engine)
    assert said.notes == ["One trial after the other, each with 1 thread"]
    assert Path("began.txt").read_text(encoding="utf-8") == "lora-5 1\nother-5 1\n"
    assert [trial.threads for trial in folder.trials] == [1, 1]
    free = made(1, output="free")
    with Workers().start(said) as engine:
        sweep(free, said, engine)
    assert "lora-5 7" in Path("began.txt").read_text(encoding="utf-8")
    assert len(said.notes) == 1 and free.trials[0].threads is None


@pytest.mark.parametrize(
    ("workers", "sentences"),
    [
        (Workers("rai"), ["--on: unknown 'rai'. Did you mean 'ray'? Available: here, ray."]),
        (
            Workers(address="auto", gpus=1, cores=0),
            [
                "--address: only with --on ray.",
                "--gpus: only with --on ray.",
                "--cores: 0 is not 1 or more.",
            ],
        ),
        (Workers("ray", gpus=1.5), ["--gpus: 1.5 is no whole number and no share below 1."]),
        (Workers("ray", gpus=-1), ["--gpus: -1 is no whole number and no share below 1."]),
        (
            Workers("ray", gpus=float("nan")),
            ["--gpus: nan is no whole number and no share below 1."],
        ),
        (
            Workers("ray", gpus=float("inf")),
            ["--gpus: inf is no whole number and no share below 1."],
        ),
        (Workers("ray", gpus=0.5, cores=2), []),
        (Workers("ray", gpus=2), []),
    ],
)
def test_wrong_workers_are_refused(workers: Workers, sentences: list[str]) -> None:
    assert workers.problems() == sentences
    if sentences:
        with pytest.raises(ConfigError):
            workers.start()


def test_more_cores_than_there_are_are_refused() -> None:
    with pytest.raises(ConfigError, match="--cores: 100000, and"), Workers(cores=100000).start():
        pass


def test_without_ray_it_is_told_what_to_install(monkeypatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    workers = Workers("ray")
    with pytest.raises(MissingDependencyError, match=r"pip install 'loratory\[ray\]'"):
        workers.start().__enter__()


def test_an_address_where_nothing_listens_is_refused_at_once() -> None:
    for address in ("127.0.0.1:9", "ray://[::1]:9"):  # the discard service, which nobody has
        with pytest.raises(RunError, match="--address: nothing answers at"):
            cluster.connected(address).__enter__()


@pytest.fixture
def nodes(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, object]]:
    """What a Ray that is not there says of its nodes."""
    up: list[dict[str, object]] = []
    fake = SimpleNamespace(nodes=lambda: up, get_gpu_ids=lambda: [1, 3])
    monkeypatch.setitem(sys.modules, "ray", fake)
    return up


def test_as_many_trials_run_at_once_as_have_room(nodes) -> None:
    nodes += [
        {"Alive": True, "Resources": {"CPU": 8.0, "GPU": 2.0}},
        {"Alive": True, "Resources": {"CPU": 3.0}},
        {"Alive": True, "Resources": {}},
        {"Alive": False, "Resources": {"CPU": 64.0, "GPU": 8.0}},
    ]
    assert cluster.default_gpus() == 1
    assert [cluster.room(1, gpus) for gpus in (0, 1, 0.5, 2)] == [11, 2, 4, 1]
    assert [cluster.room(cores, 0) for cores in (2, 3, 8)] == [5, 3, 1]
    assert cluster.room(8, 0.1) == 1
    message = (
        "--cores, --gpus: each trial is to get 9 and 0.5, and the nodes of this Ray have "
        "0 and 0, 3 and 0, 8 and 2."
    )
    with pytest.raises(ConfigError, match=message):
        cluster.room(9, 0.5)
    nodes[:] = nodes[1:]
    assert cluster.default_gpus() == 0


def test_a_trial_sees_the_gpus_that_it_was_given(nodes, tmp_path: Path, monkeypatch) -> None:
    script = "import os; print(os.environ['CUDA_VISIBLE_DEVICES'], os.environ['MKL_NUM_THREADS'])"
    monkeypatch.setattr(process, "START", script)
    job = Job(0, (), tmp_path / "a.log", tmp_path)
    assert cluster._trial(job, 2).out == "1,3 2\n"
    sys.modules["ray"].get_gpu_ids = list
    assert cluster._trial(job, 2).out == " 2\n"
    elsewhere = dataclasses.replace(job, log=tmp_path / "elsewhere" / "a.log")
    assert "elsewhere is not on the node that ran it" in cluster._trial(elsewhere, 1).lost


def test_a_process_ends_with_its_parent(tmp_path: Path) -> None:
    waits = process.START.partition("from loratory.cli")[0] + (
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "open('pids.txt', 'w').write(f'{os.getpid()} {child.pid}')\n"
        "time.sleep(60)\n"
    )
    parent = (
        "from pathlib import Path\n"
        "from loratory.sweep import process\n"
        f"process.START = {waits!r}\n"
        "process.execute(process.Job(0, (), Path('a.log').absolute(), Path.cwd()))\n"
    )
    started = subprocess.Popen([sys.executable, "-c", parent], cwd=tmp_path)
    pids, limit = tmp_path / "pids.txt", time.monotonic() + 30
    while not (pids.exists() and pids.read_text()):
        assert time.monotonic() < limit
        time.sleep(0.01)
    started.kill()
    started.wait()
    for pid in map(int, pids.read_text().split()):
        while _runs(pid):
            assert time.monotonic() < limit
            time.sleep(0.01)


def _runs(pid: int) -> bool:
    """Whether a process does anything; a dead one that nobody has asked after does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def test_most_at_once() -> None:
    def ran(*spans: tuple[float, float]) -> int:
        return at_once([Trial("a", i, began=b, ended=e) for i, (b, e) in enumerate(spans)])

    assert ran() == 0 and ran((0, 0)) == 0
    assert ran((1, 2), (2, 3), (3, 9)) == 1
    assert ran((1, 3), (2, 4), (3, 5)) == 2
    assert ran((1, 9), (2, 4), (3, 5), (4.5, 8)) == 3
    assert ran((1, 4), (1, 4)) == 2


def test_times_beside_other_trials_are_called_so(orders) -> None:
    folder = made()
    sweep(folder)
    assert summary(folder).at_once == 1 and "ran at once" not in summary(folder).markdown()
    first = folder.trials[0]
    folder.record(1, dataclasses.replace(folder.trials[1], began=first.began, ended=first.ended))
    assert "Up to 2 trials ran at once: their seconds" in summary(folder).markdown()


def test_the_command_shows_what_there_is_and_ends_with_2(orders, monkeypatch, capsys) -> None:
    from loratory.cli import main

    def cli(*argv: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["loratory", "sweep", *argv])
        with pytest.raises(SystemExit) as stop:
            main()
        return stop.value.code or 0, *capsys.readouterr()

    orders(ia3_0={"signal": 9})
    Path("recipe.yaml").write_text(json.dumps({**RECIPE, "seed": 0}), encoding="utf-8")
    code, out, err = cli("recipe.yaml", "--methods", "lora,ia3", "--seeds", "1", "--cores", "1")
    assert code == 2 and "| lora | 50.0 (1 seed)" in out and "ia3-0 failed: was ended" in out
    (folder,) = Path("runs").iterdir()
    assert f"Stopped, it goes on with: loratory sweep {folder}\n" in err
    assert f"loratory: ia3-0 failed. To run again: loratory sweep {folder}\n" in err
    code, out, _ = cli(str(folder), "--json")
    answer = json.loads(out)
    assert code == 2 and answer["error"]["problems"][0].startswith("ia3-0 failed.")
    assert list(answer["summary"]["failed"]) == ["ia3-0"]
    orders()
    code, out, _ = cli(str(folder), "--json")
    answer = json.loads(out)
    assert code == 0 and "error" not in answer and len(answer["summary"]["rows"]) == 2
    assert began() == ["ia3-0"]


def test_nothing_is_written_where_nothing_can_run(orders, monkeypatch, capsys) -> None:
    from loratory.cli import main

    Path("recipe.yaml").write_text(json.dumps(RECIPE), encoding="utf-8")
    for options in (["--on", "rai"], ["--cores", "100000"], ["--on", "ray", "--gpus", "1.5"]):
        monkeypatch.setattr(
            sys, "argv", ["loratory", "sweep", "recipe.yaml", "--methods", "lora", *options]
        )
        with pytest.raises(SystemExit) as stop:
            main()
        assert stop.value.code == 2 and capsys.readouterr().err.startswith("loratory: --")
        assert sorted(os.listdir()) == ["began.txt", "orders.json", "recipe.yaml"]


def test_here_takes_what_becomes_ready(orders, tmp_path: Path) -> None:
    def job(place: int) -> Job:
        return Job(
            place, ("run", f"{place}.yaml", "--json", "output_dir=x"), tmp_path / "a", tmp_path
        )

    batches = [[job(0), job(1)], [job(2)], [], [job(3)]]
    ran = [one.place for one, _ in here(lambda: batches.pop(0) if batches else [])]
    assert ran == [0, 1, 2, 3]
