"""Compiled layers train as plain ones do, and leave the model as it was."""

from __future__ import annotations

import pytest
import torch

import tiny
from loratory.errors import ConfigError
from loratory.methods.lora import Lora
from loratory.tuning.fused import compiled
from loratory.tuning.model import load
from tiny_run import Run

# torch's own compiler warns of what it looks at.
pytestmark = pytest.mark.filterwarnings("ignore")
SETTINGS = {"max_steps": 3, "early_stopping_patience": None, "per_device_train_batch_size": 4}


def losses(run):
    return [line["loss"] for line in run.log() if "loss" in line]


@pytest.fixture
def counted(monkeypatch):
    """Without code in C++, which takes a minute; and count what is compiled."""
    graphs = []

    def backend(graph, inputs):
        graphs.append(graph)
        return graph.forward

    monkeypatch.setattr(compiled, "BACKEND", backend)
    torch._dynamo.reset()
    yield graphs
    torch._dynamo.reset()


@pytest.mark.parametrize("name", ["llama", "t5", "bert"])
def test_compiled_layers_train_as_plain_ones(name, tiny_models, tmp_path, counted):
    found = {}
    for on in (False, True):
        run = Run(tiny_models(name), tmp_path / str(on), name == "bert", dtype="float32")
        run.train(**SETTINGS, torch_compile=on)
        found[on] = losses(run)
        assert bool(counted) == on
    assert found[True] == pytest.approx(found[False], abs=1e-5)


@pytest.mark.slow
def test_real_compilers_train_so_too(tiny_models, tmp_path):
    found = []
    for on in (False, True):
        run = Run(tiny_models("llama"), tmp_path / str(on), dtype="float32")
        run.train(**SETTINGS, torch_compile=on)
        found.append(losses(run))
    assert found[1] == pytest.approx(found[0], abs=1e-5)


def test_every_stack_is_compiled_and_left_as_it_was(tiny_models):
    for name, many in (("llama", 2), ("t5", 4)):
        spec = tiny.spec(tiny_models(name))
        model = Lora().attach(load(spec, (), 0).model, spec.family, 0, ())
        with compiled.compiled(model) as layers:
            on = [m for m in model.modules() if m._compiled_call_impl is not None]
            assert layers == len(on) == many
        assert all(m._compiled_call_impl is None for m in model.modules())
        with compiled.compiled(model, wanted=False) as layers:
            assert layers == 0


def test_without_a_compiler_it_is_said_before(monkeypatch):
    monkeypatch.setattr(compiled, "device", lambda: "cpu")
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PATH", "")
    fields = {"train.torch_compile": False, "decode.torch_compile": False}
    compiled.check_compiler(fields)
    for field in fields:
        with pytest.raises(ConfigError, match=rf"{field}: .*\(c\+\+, g\+\+, clang\+\+\)"):
            compiled.check_compiler({**fields, field: True})
    monkeypatch.setenv("CXX", "/nowhere/cc")
    with pytest.raises(ConfigError, match="/nowhere/cc"):
        compiled.check_compiler({**fields, field: True})
