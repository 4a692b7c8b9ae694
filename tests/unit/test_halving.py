"""A step that memory has no room for is taken in parts, and is the same step."""

from __future__ import annotations

import pytest
import torch

from loratory.config.remedy import RemedyConfig
from loratory.errors import RunError
from loratory.tuning import trainer
from loratory.tuning.halving import Halving, is_out_of_memory
from tiny_run import Run

NO_ROOM = "[enforce fail at alloc_cpu.cpp:1] DefaultCPUAllocator: can't allocate memory: 9 bytes"


class Short:
    """Stands for `objective` on a machine with room for few rows."""

    def __init__(self, monkeypatch, room, where="forward"):
        self.plain, self.room, self.where, self.sizes = trainer.objective, room, where, []
        self.widths = []
        monkeypatch.setattr(trainer, "objective", self)

    def __call__(self, model, inputs, *rest):
        self.sizes.append(len(inputs["labels"]))
        read = [inputs[key] for key in ("input_ids", "decoder_input_ids") if key in inputs]
        self.widths.append(sum(ids.shape[1] for ids in read))
        total = self.plain(model, inputs, *rest)
        if self.sizes[-1] > self.room:
            if self.where == "forward":
                raise RuntimeError(NO_ROOM)
            first = next(p for p in model.parameters() if p.requires_grad)
            total = total + Breaks.apply(first).sum()
        return total


class Breaks(torch.autograd.Function):
    """Breaks off in the backward pass, after other gradients were added."""

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        raise RuntimeError(NO_ROOM)


def losses(run):
    return [line["loss"] for line in run.log() if "loss" in line]


@pytest.mark.parametrize("name", ["llama", "t5", "bert"])
@pytest.mark.parametrize("accumulated", [1, 2])
def test_a_training_in_parts_is_the_training(name, accumulated, tiny_models, tmp_path, monkeypatch):
    settings = {
        "per_device_train_batch_size": 8,
        "gradient_accumulation_steps": accumulated,
        "max_steps": 4,
        "early_stopping_patience": None,
    }
    plain = Run(tiny_models(name), tmp_path / "plain", name == "bert", dtype="float32")
    plain.train(**settings)
    for where in ("forward", "backward"):
        run = Run(tiny_models(name), tmp_path / where, name == "bert", dtype="float32")
        with monkeypatch.context() as patch:
            short = Short(patch, 3, where)
            run.train(**settings)
        assert max(short.sizes) == 8 and short.sizes[0] == 8
        assert 8 not in short.sizes[1:] and set(short.sizes[2:]) <= {1, 2, 3, 4}
        assert losses(run) == pytest.approx(losses(plain), abs=1e-5)


@pytest.mark.parametrize("name", ["llama", "t5", "bert"])
def test_batches_of_so_many_tokens_train_as_whole_ones(name, tiny_models, tmp_path, monkeypatch):
    settings = {"per_device_train_batch_size": 8, "max_steps": 4, "early_stopping_patience": None}
    plain = Run(tiny_models(name), tmp_path / "plain", name == "bert", dtype="float32")
    with monkeypatch.context() as patch:
        whole = Short(patch, 8)
        plain.train(**settings)
    widths = whole.widths
    for tokens in (2 * max(widths), 5 * min(widths), 1):
        run = Run(tiny_models(name), tmp_path / str(tokens), name == "bert", dtype="float32")
        with monkeypatch.context() as patch:
            parted = Short(patch, 8)
            run.train(**settings, per_device_train_batch_tokens=tokens)
        each = zip(parted.sizes, parted.widths, strict=True)
        assert all(rows == 1 or rows * width <= tokens for rows, width in each)
        assert sum(parted.sizes) == sum(whole.sizes) and len(parted.sizes) > len(whole.sizes)
        assert losses(run) == pytest.approx(losses(plain), abs=1e-5)


def test_processes_that_wait_for_each_other_have_no_parts():
    halving = Halving(print, tokens=10)
    batch = {"input_ids": torch.ones(4, 5), "labels": torch.ones(4, 5)}
    model = torch.nn.Linear(1, 1)
    with pytest.raises(RunError, match=r"per_device_train_batch_tokens: .*Set it to null"):
        halving.run(model, batch, lambda part: part["labels"].sum(), alone=False)
    assert halving.run(model, batch, lambda part: part["labels"].sum()) == 20


@pytest.mark.parametrize("name", ["llama", "t5", "bert"])
def test_where_one_row_does_not_fit_activations_are_recomputed(
    name, tiny_models, tmp_path, monkeypatch
):
    settings = {"per_device_train_batch_size": 2, "max_steps": 3, "early_stopping_patience": None}
    plain = Run(tiny_models(name), tmp_path / "plain", name == "bert", dtype="float32")
    plain.train(**settings)
    run = Run(tiny_models(name), tmp_path / "short", name == "bert", dtype="float32")
    tried, whole = [], trainer.objective

    def objective(model, inputs, *rest):
        tried.append((len(inputs["labels"]), bool(model.is_activation_checkpointing)))
        if not model.is_activation_checkpointing:
            raise RuntimeError(NO_ROOM)
        return whole(model, inputs, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(trainer, "objective", objective)
        run.train(**settings)
    assert tried[:4] == [(2, False), (1, False), (1, True), (1, True)]
    assert set(tried[2:]) == {(1, True)}
    assert losses(run) == pytest.approx(losses(plain), abs=1e-5)


def test_it_is_said_once_and_not_tried_again():
    said = []
    halving = Halving(said.append)
    model = torch.nn.Linear(2, 1)
    sizes = []

    def learn(part):
        sizes.append(len(part["labels"]))
        if sizes[-1] > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return part["labels"].sum()

    batch = {"labels": torch.arange(8.0)}
    for _ in range(2):
        assert float(halving.run(model, batch, learn)) == 28
    assert sizes == [8, 4, 2, 2, 2, 2, 2, 2, 2, 2]
    assert len(said) == 1 and "taken in parts" in said[0]


def test_a_row_that_does_not_fit_is_one_sentence():
    def learn(part):
        raise MemoryError

    batch = {"labels": torch.zeros(3)}
    halving = Halving(lambda _: None)
    with pytest.raises(RunError, match=r"one row does not fit .* data\.max_prompt_tokens"):
        halving.run(torch.nn.Linear(2, 1), batch, learn)
    with pytest.raises(RunError, match="one of several processes"):
        Halving(print).run(torch.nn.Linear(2, 1), batch, learn, alone=False)


def test_other_errors_are_not_taken_for_it():
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    assert is_out_of_memory(RuntimeError(NO_ROOM))

    def learn(part):
        raise RuntimeError("a fault")

    with pytest.raises(RuntimeError, match="a fault"):
        Halving(print).run(torch.nn.Linear(2, 1), {"labels": torch.zeros(3)}, learn)


def test_remedies_add_up_over_the_parts(tiny_models, tmp_path, monkeypatch):
    """KL and L2 are means over targets, and weigh each part by its own."""
    found = []
    for room in (8, 3):
        run = Run(tiny_models("llama"), tmp_path / str(room), dtype="float32")
        with monkeypatch.context() as patch:
            Short(patch, room)
            run.train(
                remedy=RemedyConfig(kl_weight=0.5, l2_weight=0.1),
                per_device_train_batch_size=8,
                max_steps=4,
                early_stopping_patience=None,
            )
        found.append(losses(run))
    assert found[1] == pytest.approx(found[0], abs=1e-5)
