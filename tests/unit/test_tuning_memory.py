"""The memory that is expected: counted on tensors without storage, equal to what is in use."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch

import tiny
from loratory.config import TrainConfig
from loratory.config.remedy import RemedyConfig
from loratory.methods.base import METHODS, TrainingHooks
from loratory.methods.lora import Lora
from loratory.records import Example
from loratory.tuning.fused import accelerated
from loratory.tuning.heap import environment, share
from loratory.tuning.loss import packing
from loratory.tuning.memory import (
    base_weights,
    expected_memory,
    largest,
    peak_bytes,
    rehearse,
    resident_bytes,
)
from loratory.tuning.model import empty, heads_of, load
from loratory.tuning.regularise import remedies_of
from loratory.tuning.rehearsal import Shape, _tracked, answer, rehearsed, train_step
from loratory.tuning.replay import encode_texts
from loratory.tuning.trainer import objective

SMALL = Shape(rows=2, prompt=64, answer=8, supervised=16)


def attached(spec, method=None):
    model = empty(spec, ("a", "b"))
    heads = heads_of(model) if spec.family == "classifier" else ()
    base = base_weights(model, spec, heads)
    return (method or Lora()).attach(model, spec.family, 0, heads), base


def expect(model, spec, train, rows, base, **remedies):
    """Rehearse and estimate, as one."""
    found = rehearse(model, spec, train, rows, base, **remedies)
    return found.account, expected_memory(found, spec, train, base)


def held(spec, shape, method=None):
    model, _ = attached(spec, method)
    with rehearsed(model, "cpu") as ready:
        return train_step(ready, spec.family, shape)


@pytest.mark.parametrize("name", ["gpt2", "t5", "bert"])
def test_activations_grow_with_rows_and_tokens(name, tiny_models):
    spec = tiny.spec(tiny_models(name), classify=name == "bert")
    small = held(spec, SMALL)
    longer = held(spec, Shape(2, 128, 16, 16))
    more = held(spec, Shape(4, 64, 8, 32))
    assert min(longer.activations, more.activations) > 1.5 * small.activations
    assert small.total == small.activations + small.logits + small.gradients


def test_logits_grow_with_supervised_tokens_alone(tiny_models):
    spec = tiny.spec(tiny_models("llama"))
    few, many = (held(spec, Shape(2, 64, 8, n)) for n in (16, 64))
    assert many.logits > few.logits
    # What the head reads are the states of the supervised positions; the body's are the same.
    width = spec.config.hidden_size
    assert many.activations - few.activations <= 4 * 48 * (width + 1) + 8 * 48


@pytest.mark.parametrize("name", ["gpt2", "t5", "bert", "distilbert"])
def test_it_is_what_a_real_step_holds(name, tiny_models):
    """The same step on real tensors makes the same storages, byte for byte."""
    assert real(name, tiny_models) == held(spec_of(name, tiny_models), SMALL)


TEXT = "the quick brown fox jumps over a lazy dog and sits on the mat"


@pytest.mark.parametrize(("name", "fused"), [("gpt2", False), ("gpt2", True), ("t5", False)])
@pytest.mark.parametrize(
    "remedy",
    [
        RemedyConfig(),
        RemedyConfig(kl_weight=1.0),
        RemedyConfig(replay_share=1.0),
        RemedyConfig(kl_weight=1.0, replay_share=0.5),
    ],
    ids=["none", "KL", "replay", "both"],
)
def test_remedies_are_counted_as_training_has_them(name, fused, remedy, tiny_models):
    """What the loss of training holds, remedies included, against what was expected of it."""
    spec = tiny.spec(tiny_models(name))
    rows = rows_of(spec, 1) * 4
    train = TrainConfig(per_device_train_batch_size=4, fused=fused)
    texts = encode_texts(spec, [TEXT] * 4, remedy.replay_tokens) if remedy.replays else []
    model, base = attached(spec)
    expected = expect(model, spec, train, rows, base, remedy=remedy, texts=texts)[1]
    model = Lora().attach(load(spec, (), 0).model, spec.family, 0)
    batch = tiny.collated(spec, model, rows)
    remedies = remedies_of(remedy, model, spec, [TEXT] * 4, train, seed=0)
    model.train()
    # Expected is what rows without anything in common take.
    with (
        accelerated(model, spec.family, wanted=fused),
        packing(model, most=-1.0) if fused and spec.family == "causal" else nullcontext(),
        _tracked(model) as tracker,
    ):
        objective(model, batch, TrainingHooks(), remedies, 0).backward()
    told = expected.activations + expected.logits + expected.gradients
    assert told == pytest.approx(tracker.peak, rel=0.12)


def test_starts_that_l2_keeps_are_counted(tiny_models):
    spec = tiny.spec(tiny_models("llama"))
    found = []
    for remedy in (RemedyConfig(), RemedyConfig(l2_weight=0.1)):
        model, base = attached(spec, METHODS.get("full")())
        found.append(expect(model, spec, TrainConfig(), rows_of(spec), base, remedy=remedy)[1])
    assert found[1].weights - found[0].weights == base.stored


@pytest.mark.parametrize("name", ["llama", "bart"])
def test_it_may_count_a_mask_that_a_real_step_leaves_out(name, tiny_models):
    """Whether a mask hides anything, transformers asks the numbers; without them it makes one."""
    step, rehearsal = real(name, tiny_models), held(spec_of(name, tiny_models), SMALL)
    assert step.activations <= rehearsal.activations < 1.2 * step.activations
    assert step.logits == rehearsal.logits


def spec_of(name, tiny_models):
    return tiny.spec(tiny_models(name), classify=name.endswith("bert"))


def real(name, tiny_models):
    spec = spec_of(name, tiny_models)
    loaded = load(spec, ("a", "b"), 0)
    model = Lora().attach(loaded.model, spec.family, 0, loaded.heads)
    return train_step(model, spec.family, SMALL)


@pytest.mark.parametrize("method", sorted(METHODS.names()))
def test_every_method_can_be_rehearsed(method, tiny_models):
    cls = METHODS.get(method)
    spec = tiny.spec(tiny_models("llama" if "causal" in cls.families else "bert"), classify=True)
    try:
        model, _ = attached(spec, cls())
    except Exception as error:  # its defaults may be too large for so small a model
        pytest.skip(str(error))
    with rehearsed(model, "cpu") as ready:
        assert train_step(ready, spec.family, SMALL).activations > 0


def rows_of(spec, n=12):
    return tiny.encoder(spec).all(tiny.examples(n))


def test_the_parts_make_up_the_whole(tiny_models):
    spec = tiny.spec(tiny_models("llama"))
    model, base = attached(spec)
    rows = rows_of(spec)
    counted, memory = expect(model, spec, TrainConfig(), rows, base)
    added = 4 * counted.trainable
    assert base.parameters == counted.parameters and base.stored == base.plain
    assert memory.weights == base.stored + added
    assert memory.optimizer == 2 * added
    if not torch.cuda.is_available():
        assert memory.heap == int(share() * (memory.activations + memory.logits))
        assert memory.runtime > 50 * 2**20 and memory.loading > memory.runtime + memory.weights
    parts = [getattr(memory, name) for name in vars(memory) if name != "loading"]
    assert memory.training == sum(parts) and memory.peak == max(memory.training, memory.loading)


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU's memory is not in the heap")
def test_without_its_caches_less_of_the_heap_is_expected(tiny_models, monkeypatch):
    spec = tiny.spec(tiny_models("llama"))
    found = []
    for value in ("", environment({})["GLIBC_TUNABLES"]):
        monkeypatch.setenv("GLIBC_TUNABLES", value)
        model, base = attached(spec)
        memory = expect(model, spec, TrainConfig(), rows_of(spec), base)[1]
        found.append(memory.heap / (memory.activations + memory.logits))
    assert 0 < found[1] < found[0] < 1


def test_recomputed_activations_take_less(tiny_models):
    spec = tiny.spec(tiny_models("llama"))
    found = []
    for on in (False, True):
        model, base = attached(spec)
        config = TrainConfig(activation_checkpointing=on)
        found.append(expect(model, spec, config, rows_of(spec), base)[1].activations)
    assert found[1] < found[0] / 2


def test_accumulated_gradients_are_there_when_the_next_pass_begins(tiny_models):
    spec = tiny.spec(tiny_models("llama"))
    model, base = attached(spec)
    config = TrainConfig(gradient_accumulation_steps=2)
    counted, memory = expect(model, spec, config, rows_of(spec), base)
    assert memory.gradients == 4 * counted.trainable


def test_a_model_that_needs_numbers_has_no_estimate(tiny_models, monkeypatch):
    spec = tiny.spec(tiny_models("llama"))
    model, base = attached(spec)
    monkeypatch.setattr(
        "loratory.tuning.memory.train_step", lambda *_: (_ for _ in ()).throw(RuntimeError("no"))
    )
    counted, memory = expect(model, spec, TrainConfig(), rows_of(spec), base)
    assert memory is None and counted.trainable > 0


def test_half_the_precision_takes_less(tiny_models):
    full, half = (
        held(tiny.spec(tiny_models("llama"), dtype=dtype), SMALL)
        for dtype in ("float32", "bfloat16")
    )
    assert half.activations < full.activations


def test_a_key_value_cache_grows_with_what_is_written(tiny_models):
    spec = tiny.spec(tiny_models("llama"))
    model, _ = attached(spec)
    with rehearsed(model, "cpu") as ready:
        short, long = (answer(ready, "causal", SMALL, new) for new in (8, 64))
        forward = answer(ready, "causal", SMALL, 0)
    config = spec.config
    a_token = 2 * config.num_hidden_layers * config.num_key_value_heads * config.head_dim * 4
    # Two rows, 64 tokens of prompt and the new ones, keys and values in float32.
    assert short.activations == pytest.approx(2 * 72 * a_token, rel=0.05)
    assert long.activations == pytest.approx(2 * 128 * a_token, rel=0.05)
    assert forward.activations == 0 < forward.total


def test_the_largest_batch(tiny_models):
    spec = tiny.spec(tiny_models("llama"))
    long = Example(id="long", source="a cat sat on the mat. " * 20, references=("a cat",))
    rows = [*rows_of(spec), *tiny.encoder(spec).all([long])]
    shape = largest(rows, 4)
    assert shape.rows == 4 and shape.prompt == len(rows[-1].prompt)
    assert shape.whole == max(row.length for row in rows) - 1
    assert shape.supervised >= max(len(row.answer) for row in rows)
    assert largest(rows[:2], 4).rows == 2
    assert largest(rows, 4, 2 * rows[-1].length).rows == 2
    assert largest(rows, 4, 1).rows == 1


def test_a_batch_of_fewer_tokens_is_expected_to_hold_less(tiny_models):
    spec = tiny.spec(tiny_models("llama"))
    rows = rows_of(spec)
    longest = max(row.length for row in rows)
    found = []
    for tokens in (None, 2 * longest):
        config = TrainConfig(per_device_train_batch_size=4, per_device_train_batch_tokens=tokens)
        model, weights = attached(spec)
        held = rehearse(model, spec, config, rows, weights).held
        found.append(held.activations)
    assert found[1] == pytest.approx(found[0] / 2, rel=0.2)


@pytest.mark.skipif(torch.cuda.is_available(), reason="counts the GPU's memory where there is one")
def test_the_peak_is_in_bytes():
    assert 50 * 2**20 < resident_bytes() <= peak_bytes() + 2**20 < 2**40
