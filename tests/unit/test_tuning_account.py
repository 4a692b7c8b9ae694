"""Counts by module, and the size of the adapter's file: exact, before anything is trained."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import save_file

import tiny
from crossed import crossed
from loratory.methods.base import METHODS
from loratory.methods.lora import Lora
from loratory.tuning.account import DTYPES, account, safetensors_bytes
from loratory.tuning.adapter import save_adapter
from loratory.tuning.model import empty, heads_of, load
from loratory.tuning.rehearsal import rehearsed

NAMES = ["lora", "ia3", "vera", "loha", "prompt_tuning", "ln_tuning"]


def counted(spec, method):
    model = empty(spec, ("a", "b"))
    parameters = sum(p.numel() for p in model.parameters())
    heads = heads_of(model) if spec.family == "classifier" else ()
    model = method.attach(model, spec.family, 0, heads)
    with rehearsed(model, "cpu") as ready:
        return account(ready, parameters)


@crossed(name=NAMES, model=["llama", "bert"])
def test_it_is_what_is_attached_and_written(name, model, tiny_models, tmp_path):
    spec = tiny.spec(tiny_models(model), classify=model == "bert")
    method = METHODS.get(name)()
    if spec.family not in method.families:
        pytest.skip(f"{name} does not take a {spec.family} model")
    found = counted(spec, method)
    loaded = load(spec, ("a", "b"), 0)
    base = sum(p.numel() for p in loaded.model.parameters())
    attached = method.attach(loaded.model, spec.family, 0, loaded.heads)
    assert found.parameters == base
    assert found.trainable == sum(p.numel() for p in attached.parameters() if p.requires_grad)
    assert found.percent == 100 * found.trainable / base
    everything = sum(p.numel() for p in attached.parameters())
    assert sum(group.trainable + group.frozen for group in found.groups) == everything
    assert sum(group.trainable for group in found.groups) == found.trainable
    save_adapter(attached, spec, tmp_path)
    written = (tmp_path / "adapter" / "adapter_model.safetensors").stat().st_size
    assert found.adapter_bytes == written


def test_layers_of_like_place_are_one_group(tiny_models):
    spec = tiny.spec(tiny_models("llama"))
    found = counted(spec, Lora(r=2, target_modules=("q_proj",)))
    groups = {group.name: group for group in found.groups}
    q = groups["model.layers.*.self_attn.q_proj"]
    width = spec.config.hidden_size
    out = spec.config.num_attention_heads * spec.config.head_dim
    layers = spec.config.num_hidden_layers
    assert q.modules == layers
    # A is r × in, B is out × r; W stays frozen.
    assert q.trainable == found.trainable == layers * 2 * (width + out)
    assert q.frozen == layers * width * out
    assert groups["model.embed_tokens"].trainable == 0


@pytest.mark.parametrize("dtype", list(DTYPES))
def test_a_file_of_every_type(dtype, tmp_path):
    tensors = {
        "b": torch.zeros(3, 5, dtype=torch.float32),
        "größe": torch.zeros(7, dtype=dtype),
        "a": torch.zeros((), dtype=torch.float16),
    }
    save_file(tensors, tmp_path / "x.safetensors", metadata={"format": "pt"})
    assert safetensors_bytes(tensors) == (tmp_path / "x.safetensors").stat().st_size
