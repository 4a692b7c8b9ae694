"""Compiled steps of greedy decoding say what generate says, and are compiled once for a shape."""

from __future__ import annotations

import pytest
import torch

import tiny
from loratory.config import DecodeConfig
from loratory.errors import ConfigError
from loratory.methods.lora import Lora
from loratory.tuning import static
from loratory.tuning.fused import compiled
from loratory.tuning.greedy import greedy
from loratory.tuning.model import load

# torch's own compiler warns of what it looks at.
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def graphs(monkeypatch):
    """What is compiled, without code in C++, which takes a minute."""
    found = []

    def backend(graph, inputs):
        found.append(graph)
        return graph.forward

    monkeypatch.setattr(compiled, "BACKEND", backend)
    torch._dynamo.reset()
    yield found
    torch._dynamo.reset()
    static._compiled.cache_clear()


def ours(model, spec, prompts, stops, most, **fields):
    found = greedy(
        model,
        prompts,
        stops=stops,
        fill=spec.tokenizer.pad_token_id,
        max_new_tokens=most,
        **{"batch_size": len(prompts), "compiled": True, **fields},
    )
    return [said for _, said in sorted(found)]


@pytest.fixture(params=["llama", "gpt2"])
def ready(request, tiny_models):
    """A decoder with an adapter that does something, and prompts of several lengths."""
    spec = tiny.spec(tiny_models(request.param))
    model = Lora().attach(load(spec, (), 0).model, spec.family, 0, ()).eval()
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            if "lora_B" in key:
                parameter.normal_(std=0.1)
            elif parameter.dim() > 1 and "embed" not in key:
                parameter.mul_(6)
    return model, spec, [row.prompt for row in tiny.encoder(spec).all(tiny.examples(7))]


def test_answers_are_those_of_generate_whatever_ends_first(ready, graphs):
    model, spec, prompts = ready
    plain = tiny.generated(model, spec, prompts, {1}, 12, 0)
    assert ours(model, spec, prompts, {1}, 12) == plain
    said = sorted({token for row in plain for token in row})
    for stops in (set(said[:2]), set(said[-3:]), set(said)):
        expected = tiny.generated(model, spec, prompts, stops, 12, 0)
        assert ours(model, spec, prompts, stops, 12, batch_size=3) == expected


def test_it_is_compiled_for_a_shape_and_not_for_a_step(ready, graphs, monkeypatch):
    model, spec, prompts = ready
    ours(model, spec, prompts[:4], {1}, 10)
    once = len(graphs)
    assert once
    ours(model, spec, prompts[:3], {1}, 20)  # as many tokens at most, filled up to four rows
    assert len(graphs) == once
    monkeypatch.setattr(static, "ROOM", 96)
    ours(model, spec, prompts[:4], {1}, 10)
    assert len(graphs) == 2 * once


def test_no_ngram_comes_twice(ready, graphs):
    model, spec, prompts = ready
    found = ours(model, spec, prompts, {1}, 12, no_repeat_ngram_size=2)
    assert found == tiny.generated(model, spec, prompts, {1}, 12, 2)


def test_rows_are_filled_up_to_a_power_of_two(ready):
    model, spec, prompts = ready
    way = static.ByGraph(model, spec.tokenizer.pad_token_id)
    with way.ready():
        longest = sorted(prompts, key=len, reverse=True)
        logits, rows = way.read(longest[:5], 10)
        assert len(logits) == 5
        assert len(rows.mask) == len(rows.places) == 8
        before = rows.cache.layers[0].keys
        assert before.shape[0] == 8 and before.shape[2] % static.ROOM == 0
        rows.select([4, 0, 1, 2, 3])
        assert rows.cache.layers[0].keys is before
        rows.select([1, 2])
        assert len(rows.cache.layers[0].keys) == len(rows.mask) == 2
        assert all(int(layer.cumulative_length) == rows.length for layer in rows.cache.layers)


@pytest.mark.parametrize(
    ("fields", "kind", "family", "why"),
    [
        ({}, "classification", "causal", "decoder-only"),
        ({}, "generation", "seq2seq", "decoder-only"),
        ({"num_beams": 2}, "generation", "causal", "num_beams must be 1"),
        ({"engine": "vllm"}, "generation", "causal", "vLLM does so by itself"),
    ],
)
def test_what_would_not_be_compiled_is_refused(fields, kind, family, why):
    static.check_graphs(DecodeConfig(**fields), kind, family)
    static.check_graphs(DecodeConfig(torch_compile=True), "generation", "causal")
    with pytest.raises(ConfigError, match=rf"decode\.torch_compile: .*{why}.*set it to false"):
        static.check_graphs(DecodeConfig(torch_compile=True, **fields), kind, family)


@pytest.mark.slow
def test_a_real_compiler_answers_so_too(tiny_models):
    spec = tiny.spec(tiny_models("llama"))
    model = load(spec, (), 0).model
    prompts = [row.prompt for row in tiny.encoder(spec).all(tiny.examples(3))]
    torch._dynamo.reset()
    assert ours(model, spec, prompts, {1}, 6) == tiny.generated(model, spec, prompts, {1}, 6, 0)
