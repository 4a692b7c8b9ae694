"""What all our own tuners hold to: where they start, what they leave on disk, how they generate."""

from __future__ import annotations

import pytest
import torch
from peft import PeftModel

import tiny
from crossed import crossed, few
from loratory.methods.base import METHODS
from loratory.tuning.adapter import save_adapter
from loratory.tuning.model import load
from tiny_method import On
from tiny_run import Run

OURS = ("bitfit", "compacter", "full", "houlsby", "layerwise", "parallel", "pfeiffer")
every_method = pytest.mark.parametrize("name", OURS)


@crossed(name=OURS, model_name=list(tiny.BUILDERS), dtype=["float32", "bfloat16"])
def test_the_start_is_the_base_model_bit_for_bit(name, model_name, dtype, tiny_models):
    on = On(METHODS.get(name)(), tiny_models(model_name), dtype)
    assert torch.equal(on.logits(), on.base)
    assert all(p.dtype == torch.float32 for p in on.trained().values())


@crossed(name=OURS, model_name=["llama", "gpt2", "t5", "bart"])
def test_generation_is_the_same_with_a_cache_and_without(name, model_name, tiny_models):
    on = On(METHODS.get(name)(), tiny_models(model_name)).move(0.3)
    model = on.model.eval()
    inputs = {k: v[:1] for k, v in on.batch.items() if not k.startswith("decoder")}
    options = {"max_new_tokens": 8, "min_new_tokens": 8, "do_sample": False, "pad_token_id": 0}
    with_cache = model.generate(**inputs, **options, use_cache=True)
    assert torch.equal(with_cache, model.generate(**inputs, **options, use_cache=False))
    assert not torch.allclose(on.logits(), on.base, atol=1e-3)


@pytest.mark.parametrize("name", few(OURS, ("compacter", "full")))  # built in unlike ways
def test_training_leaves_the_file_of_what_was_trained(name, tiny_models, tmp_path):
    run = Run(tiny_models("llama"), tmp_path / "run", method=METHODS.get(name)())
    run.train(eval_steps=10)
    losses = [line["loss"] for line in run.log() if "loss" in line]
    assert losses[-1] < losses[0]
    loaded = load(run.spec, (), 0)
    again = PeftModel.from_pretrained(loaded.model, str(run.folder / "adapter"))
    trained = dict(run.model.named_parameters())
    for key, parameter in again.named_parameters():
        assert torch.equal(parameter, trained[key]), key


@every_method
def test_loaded_without_a_first_copy_in_memory_it_is_the_same(name, tiny_models, tmp_path):
    """And in float32 on a bfloat16 base, where peft's own way would round it."""
    on = On(METHODS.get(name)(), tiny_models("llama"), "bfloat16").move()
    expected = on.logits()
    save_adapter(on.model, on.spec, tmp_path)
    fresh = load(on.spec, (), 9).model
    again = PeftModel.from_pretrained(fresh, str(tmp_path / "adapter"), low_cpu_mem_usage=True)
    assert torch.equal(on.logits(again), expected)
    trained = {key: p for key, p in again.named_parameters() if f"{name}_" in key}
    assert trained and all(p.dtype == torch.float32 and not p.is_meta for p in trained.values())
