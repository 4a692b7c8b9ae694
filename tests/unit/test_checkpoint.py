"""Checkpoints: whole or not gone on from, without a pickle, and written when a signal comes."""

from __future__ import annotations

import json
import os
import pickle
import random
import shutil
import signal

import numpy as np
import pytest
import torch

from loratory.errors import RunError
from loratory.methods.lora import Lora
from loratory.progress import Silent
from loratory.tuning import trainer
from loratory.tuning.checkpoint import (
    PICKLES,
    last_whole,
    load_optimizer,
    number_of,
    rotate,
    save_optimizer,
    seal,
)
from loratory.tuning.randomness import load_random, save_random
from tiny_run import Run

METHOD = Lora(r=2, lora_dropout=0.1)  # dropout: the random state must be taken up as well
SETTINGS = {
    "num_train_epochs": 3.0,
    "eval_steps": 4,
    "logging_steps": 3,
    "early_stopping_patience": None,
    "save_total_limit": 3,
}


class Signals(Silent):
    """A progress that sends this process a signal when it has heard of so many steps."""

    def __init__(self, step, number=signal.SIGTERM):
        self.left, self.number, self.notes = step, number, []

    def note(self, text):
        self.notes.append(text)

    def advance(self, done, detail=""):
        self.left -= done
        if self.left <= 0 and self.number:
            os.kill(os.getpid(), self.number)
            self.number = 0


@pytest.fixture
def fresh(tiny_models, tmp_path):
    return lambda name="run": Run(tiny_models("llama"), tmp_path / name, method=METHOD)


@pytest.fixture(scope="module")
def whole(tiny_models, tmp_path_factory):
    run = Run(tiny_models("llama"), tmp_path_factory.mktemp("whole"), method=METHOD)
    run.train(**SETTINGS)
    return run


@pytest.fixture(scope="module")
def cut_off(tiny_models, tmp_path_factory):
    """A training that was asked to end at step 10: its checkpoints are of steps 4, 8 and 10."""
    run = Run(tiny_models("llama"), tmp_path_factory.mktemp("cut"), method=METHOD)
    with pytest.raises(KeyboardInterrupt):
        run.train(progress=Signals(9), **SETTINGS)  # heard when step 9 is logged
    assert steps(run.folder) == [4, 8, 10]
    return run.folder


def steps(folder):
    return sorted(map(number_of, (folder / "checkpoints").glob("checkpoint-*")))


def gone_on(fresh, cut_off, change):
    """Go on with a copy of a training that was cut off, some of its files changed."""
    run = fresh()
    shutil.copytree(cut_off, run.folder, dirs_exist_ok=True)
    change(run.folder / "checkpoints")
    heard = Signals(10**6)
    run.train(progress=heard, **SETTINGS)
    return run, heard.notes


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_training_behind_its_step_and_leaves_no_trace(number, fresh, whole):
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    run = fresh()
    # Step 7: neither logged nor validated, with losses that wait to be logged.
    with pytest.raises(KeyboardInterrupt) as caught:
        run.train(progress=Signals(7, number), **{**SETTINGS, "logging_steps": 1})
    assert caught.value.args == (number,)
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before
    shutil.rmtree(run.folder)

    run = fresh()
    with pytest.raises(KeyboardInterrupt):
        run.train(progress=Signals(6, number), **SETTINGS)
    assert steps(run.folder)[-1] == 7 and not (run.folder / "adapter").exists()
    again = fresh()
    again.train(**SETTINGS)
    assert again.log() == whole.log()
    assert again.bytes() == whole.bytes()


def test_the_second_signal_ends_it_at_once(fresh):
    class Twice(Signals):
        def advance(self, done, detail=""):
            super().advance(done, detail)
            if not self.number:
                os.kill(os.getpid(), signal.SIGINT)

    run = fresh()
    with pytest.raises(KeyboardInterrupt):
        run.train(progress=Twice(6), **SETTINGS)
    assert steps(run.folder) == [4]


def test_it_is_not_a_pickle(cut_off):
    files = [path for path in cut_off.rglob("*") if path.is_file()]
    assert files and not [path for path in files if path.suffix in PICKLES]
    for path in files:
        with path.open("rb") as stream:
            head = stream.read(2)
        assert head not in (b"PK", b"\x80\x02", b"\x80\x04", b"\x80\x05"), path


def truncated(file):
    file.write_bytes(file.read_bytes()[:-7])


def flipped(file):
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


FILES = (
    "adapter_model.safetensors",
    "optimizer.safetensors",
    "process-0.safetensors",
    "trainer_state.json",
    "values.json",
)


@pytest.mark.parametrize("harm", [truncated, flipped, lambda file: file.unlink()])
@pytest.mark.parametrize("name", FILES)
def test_a_damaged_file_is_found_whatever_the_harm(name, harm, cut_off, tmp_path):
    shutil.copytree(cut_off / "checkpoints", tmp_path / "all")
    harm(tmp_path / "all/checkpoint-10" / name)
    found = last_whole(tmp_path / "all")
    assert found.checkpoint == tmp_path / "all/checkpoint-8"
    assert len(found.damaged) == 1 and name in found.damaged[0]


SEALS = {
    "none": lambda folder: (folder / "seal.json").unlink(),
    "cut": lambda folder: truncated(folder / "seal.json"),
    "another": lambda folder: (folder / "seal.json").write_text("[]"),
    "a list": lambda folder: (folder / "seal.json").write_text('{"files": []}'),
    "strange": lambda folder: (folder / "strange.txt").write_text("hello"),
}


@pytest.mark.parametrize("harm", SEALS.values(), ids=SEALS)
def test_a_seal_is_needed_and_names_all(harm, cut_off, tmp_path):
    shutil.copytree(cut_off / "checkpoints", tmp_path / "all")
    harm(tmp_path / "all/checkpoint-10")
    assert last_whole(tmp_path / "all").checkpoint == tmp_path / "all/checkpoint-8"


def test_it_goes_on_from_the_one_before_and_says_so(fresh, cut_off, whole):
    run, notes = gone_on(
        fresh, cut_off, lambda folder: flipped(folder / "checkpoint-10/optimizer.safetensors")
    )
    assert "Not gone on from checkpoint-10: has a changed optimizer.safetensors" in notes
    assert "Going on from checkpoint-8" in notes
    assert run.log() == whole.log() and run.bytes() == whole.bytes()


def test_where_none_is_whole_it_begins_anew(fresh, cut_off, whole):
    def all_of_them(folder):
        for checkpoint in folder.iterdir():
            truncated(checkpoint / "adapter_model.safetensors")

    run, notes = gone_on(fresh, cut_off, all_of_them)
    assert sum(note.startswith("Not gone on from") for note in notes) == 3
    assert run.log() == whole.log() and run.bytes() == whole.bytes()


def test_the_best_one_is_needed_as_well(cut_off, tmp_path):
    folder = tmp_path / "all"
    shutil.copytree(cut_off / "checkpoints", folder)
    best = json.loads((folder / "checkpoint-10/trainer_state.json").read_text())["best_global_step"]
    assert best in (4, 8)
    flipped(folder / f"checkpoint-{best}" / "adapter_model.safetensors")
    found = last_whole(folder)
    assert "the best one" in found.damaged[0]
    assert found.checkpoint is None or number_of(found.checkpoint) < best


class Bomb:
    def __reduce__(self):
        return open, ("it-went-off", "w")


@pytest.mark.parametrize(
    "name",
    ["optimizer.pt", "scheduler.pt", "rng_state.pth", "pytorch_model.bin", "adapter_model.bin",
     "training_args.bin", "last.ckpt", "deep/state.pkl"],
)  # fmt: skip
@pytest.mark.parametrize("sealed", [False, True])
def test_a_pickle_is_refused_and_never_opened(name, sealed, fresh, cut_off, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def plant(folder):
        file = folder / "checkpoint-10" / name
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(pickle.dumps(Bomb()))
        if sealed:
            seal(folder / "checkpoint-10")

    with pytest.raises(RunError, match="a pickle, which can run code"):
        gone_on(fresh, cut_off, plant)
    assert not (tmp_path / "it-went-off").exists()


def test_a_link_out_of_the_folder_is_not_followed(cut_off, tmp_path):
    shutil.copytree(cut_off / "checkpoints", tmp_path / "all")
    file = tmp_path / "all/checkpoint-10/optimizer.safetensors"
    shutil.move(file, tmp_path / "elsewhere.safetensors")
    file.symlink_to(tmp_path / "elsewhere.safetensors")
    assert last_whole(tmp_path / "all").checkpoint == tmp_path / "all/checkpoint-8"


def test_older_ones_go_by_their_steps_whatever_the_clock_says(tmp_path):
    for place, step in enumerate((90, 100, 5, 40)):
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        os.utime(folder, (2 * 10**9 - place, 2 * 10**9 - 10**8 * place))
    rotate(tmp_path, 2, 5)
    assert sorted(map(number_of, tmp_path.iterdir())) == [5, 100]
    rotate(tmp_path, 1, None)
    assert sorted(map(number_of, tmp_path.iterdir())) == [100]


@pytest.mark.parametrize("cls", [torch.optim.AdamW, torch.optim.SGD, torch.optim.Adafactor])
def test_an_optimiser_is_what_it_was(cls, tmp_path):
    def made():
        torch.manual_seed(0)
        model = torch.nn.Linear(3, 2)
        return model, cls(model.parameters(), lr=0.1)

    def step(model, optimizer):
        optimizer.zero_grad()
        (model(torch.ones(1, 3)) ** 2).sum().backward()
        optimizer.step()

    model, optimizer = made()
    step(model, optimizer)
    save_optimizer(tmp_path, optimizer.state_dict())
    again, other = made()
    step(again, other)
    other = cls(again.parameters(), lr=0.7)
    other.load_state_dict(load_optimizer(tmp_path))
    for _ in range(3):
        step(model, optimizer)
        step(again, other)
    assert torch.equal(model.weight, again.weight)
    assert optimizer.state_dict()["param_groups"] == other.state_dict()["param_groups"]


def test_random_states_are_what_they_were(tmp_path):
    random.seed(1), np.random.seed(2), torch.manual_seed(3)
    random.gauss(0, 1), np.random.normal()  # each keeps a second number

    def drawn():
        return random.gauss(0, 1), np.random.normal(), np.random.rand(), torch.rand(2).tolist()

    save_random(tmp_path / "state.safetensors", {"losses": torch.tensor(0.1)})
    expected = drawn()
    beside = load_random(tmp_path / "state.safetensors")
    assert drawn() == expected
    assert torch.equal(beside["losses"], torch.tensor(0.1))


@pytest.mark.parametrize(
    ("value", "words"), [(float("nan"), "is nan"), (1e9, "has exploded to"), (-np.inf, "is -inf")]
)
def test_a_loss_that_is_not_sound_stops_before_the_step(value, words, fresh, whole, monkeypatch):
    plain, taken = trainer.objective, []

    def objective(*given):
        taken.append(1)
        found = plain(*given)
        return found * 0 + value * len(given[1]["labels"]) * 50 if len(taken) == 6 else found

    run = fresh()
    with monkeypatch.context() as patch:
        patch.setattr(trainer, "objective", objective)
        with pytest.raises(RunError) as caught:
            run.train(**SETTINGS)
    said = str(caught.value)
    assert f"the loss {words}" in said and "at step 6 (rows " in said
    assert said.count(",") >= 3 and "Lower train.learning_rate" in said
    assert f"The best adapter so far is in {run.folder}/checkpoints/checkpoint-4" in said
    assert not (run.folder / "adapter").exists()
    ids = said.split("(rows ")[1].split(")")[0].split(", ")
    assert set(ids) <= {row.id for row in run.rows} and len(ids) == 4
    # What was learnt before is as it was.
    again = fresh()
    again.train(**SETTINGS)
    assert again.bytes() == whole.bytes()


def test_a_gradient_that_is_not_a_number_is_not_taken(fresh, monkeypatch):
    plain, taken = trainer.objective, []

    class Harm(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.clone()

        @staticmethod
        def backward(ctx, gradient):
            return gradient * float("nan")

    def objective(*given):
        taken.append(1)
        found = plain(*given)
        return Harm.apply(found) if len(taken) == 2 else found

    monkeypatch.setattr(trainer, "objective", objective)
    run = fresh()
    with pytest.raises(
        RunError, match=r"the gradient's norm is nan at step 2, which was not taken"
    ):
        run.train(**SETTINGS)
    assert all(bool(p.isfinite().all()) for p in run.model.parameters())
