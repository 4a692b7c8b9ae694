"""Bottleneck adapters and Compacter: the papers' formulas, and peft's ways of using them."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from peft import get_peft_model_state_dict
from torch import nn
from torch.nn import functional

import tiny
from crossed import crossed
from loratory.errors import ModelError
from loratory.methods.base import METHODS
from loratory.methods.bottleneck import bottleneck_of, multiple_below
from loratory.methods.compacter import Compacter
from loratory.methods.houlsby import Houlsby
from loratory.methods.parallel import Parallel
from loratory.methods.pfeiffer import Pfeiffer
from loratory.tuning.adapter import save_adapter
from loratory.tuning.adapters import HoulsbyConfig, ParallelConfig
from loratory.tuning.adapters.compacter import kronecker_sum
from tiny_method import On

OURS = ("houlsby", "pfeiffer", "parallel", "compacter")
# Adapters a model of two layers gets, an encoder-decoder of two and two.
ADAPTERS = {
    "houlsby": {"causal": 4, "seq2seq": 10, "classifier": 4},
    "pfeiffer": {"causal": 2, "seq2seq": 4, "classifier": 2},
    "parallel": {"causal": 2, "seq2seq": 4, "classifier": 2},
    "compacter": {"causal": 4, "seq2seq": 10, "classifier": 4},
}
every_method = pytest.mark.parametrize("name", OURS)
every_pair = crossed(name=OURS, model_name=list(tiny.BUILDERS))


@every_pair
def test_the_count_is_the_formula_s(name, model_name, tiny_models):
    on = On(METHODS.get(name)(), tiny_models(model_name))
    adapters = ADAPTERS[name][on.spec.family]
    assert on.count() == METHODS.get(name)().count([32] * adapters)


def test_the_formulas_worked_out_by_hand():
    # 2dm + m + d with d = 768, m = 48; Compacter 3 (d + m) with m = 24, and 4 cubed once.
    assert Houlsby().count([768]) == 2 * 768 * 48 + 48 + 768 == 74_544
    assert Parallel(reduction_factor=3).count([768, 768]) == 2 * (2 * 768 * 256 + 256 + 768)
    assert Compacter().count([768] * 24) == 24 * 3 * (768 + 24) + 64 == 57_088
    assert Compacter(phm_rank=2).count([768]) == 5 * (768 + 24) + 64


@given(width=st.integers(1, 5000), factor=st.floats(1, 100), n=st.integers(1, 16))
def test_a_bottleneck_is_never_empty_nor_wider_than_its_layer(width, factor, n):
    assert 1 <= bottleneck_of(width, factor) <= width
    inner = multiple_below(width, factor, n)
    assert inner % n == 0 and n <= inner <= max(n, width)


@every_pair
def test_switched_off_it_is_the_base_model_bit_for_bit(name, model_name, tiny_models):
    on = On(METHODS.get(name)(), tiny_models(model_name)).move()
    assert not torch.allclose(on.logits(), on.base, atol=1e-3)
    with on.model.disable_adapter():
        assert torch.equal(on.logits(), on.base)
    assert not torch.allclose(on.logits(), on.base, atol=1e-3)
    unloaded = on.model.unload()
    if not on.heads:  # those are trained whole, and stay
        assert torch.equal(on.logits(unloaded), on.base)


@every_pair
def test_gradients_flow_to_the_adapter_and_nowhere_else(name, model_name, tiny_models):
    # Not relu: of its two units in a model this narrow both may be off for every input.
    on = On(METHODS.get(name)(non_linearity="tanh"), tiny_models(model_name)).move()
    on.model.eval()(**on.batch).logits.square().sum().backward()
    for key, parameter in on.model.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad.abs().sum() > 0, key
        else:
            assert parameter.grad is None, key
    assert all(f"{name}_" in key for key in on.of_the_method())


@crossed(name=OURS, model_name=["llama", "bart"])
def test_two_adapters_on_one_model_are_switched_between(name, model_name, tiny_models, tmp_path):
    """The second is another run's, under another name."""
    first = On(METHODS.get(name)(), tiny_models(model_name)).move()
    second = On(METHODS.get(name)(), tiny_models(model_name), seed=3).move(0.2)
    save_adapter(second.model, second.spec, tmp_path)
    one, two = first.logits(), second.logits()
    assert not torch.allclose(one, two, atol=1e-3)
    first.model.load_adapter(str(tmp_path / "adapter"), "other")
    assert torch.equal(first.logits(), one)
    assert not any(".other" in key for key in first.trained())
    first.model.set_adapter("other")
    assert torch.equal(first.logits(), two)
    assert all(".default" not in key for key in first.trained())
    first.model.set_adapter("default")
    assert torch.equal(first.logits(), one)
    first.model.delete_adapter("other")
    assert torch.equal(first.logits(), one)


@every_method
def test_the_file_holds_the_adapter_once_and_nothing_else(name, tiny_models):
    on = On(METHODS.get(name)(), tiny_models("llama"))
    state = get_peft_model_state_dict(on.model)
    assert sum(tensor.numel() for tensor in state.values()) == METHODS.get(name)().count(
        [32] * ADAPTERS[name]["causal"]
    )
    assert not any("default" in key or "base_layer" in key for key in state)


@every_method
def test_recomputed_activations_give_the_same_gradients(name, tiny_models):
    plain = On(METHODS.get(name)(), tiny_models("llama")).move()
    again = On(METHODS.get(name)(), tiny_models("llama")).move()
    again.model.activation_checkpointing_enable({"use_reentrant": False})
    for on in (plain, again):
        on.model.train()(**on.batch, use_cache=False).logits.square().sum().backward()
    expected = plain.trained()
    for key, parameter in again.trained().items():
        torch.testing.assert_close(parameter.grad, expected[key].grad)


@every_method
def test_a_copy_of_the_model_stands_alone(name, tiny_models):
    on = On(METHODS.get(name)(), tiny_models("llama")).move()
    expected, twin = on.logits(), copy.deepcopy(on.model)
    with torch.no_grad():
        for parameter in on.of_the_method().values():
            parameter.zero_()
    assert torch.equal(on.logits(twin), expected)
    assert torch.equal(on.logits(), on.base)


@every_method
def test_merging_is_refused_in_words(name, tiny_models):
    on = On(METHODS.get(name)(), tiny_models("llama")).move()
    expected = on.logits()
    for merge in (on.model.merge_adapter, on.model.merge_and_unload):
        with pytest.raises(ModelError, match="non-linearity inside"):
            merge()
    assert torch.equal(on.logits(), expected)


def of(model, path, method="houlsby"):
    layer = model.base_model.model.get_submodule(path)
    return (
        layer.base_layer,
        getattr(layer, f"{method}_down").default,
        getattr(layer, f"{method}_up").default,
        layer,
    )


def test_houlsby_adds_to_the_output_of_a_sub_layer(tiny_models):
    on = On(Houlsby(), tiny_models("llama")).move()
    for part in ("self_attn.o_proj", "mlp.down_proj"):
        base, down, up, layer = of(on.model, f"model.layers.1.{part}")
        x = torch.randn(3, base.in_features)
        h = base(x)
        expected = h + functional.gelu(h @ down.weight.T + down.bias) @ up.weight.T + up.bias
        torch.testing.assert_close(layer(x), expected)


def test_pfeiffer_stands_around_the_norm_that_ends_a_layer_of_bert(tiny_models):
    on = On(Pfeiffer(), tiny_models("bert")).move()
    norm, down, up, layer = of(on.model, "bert.encoder.layer.1.output.LayerNorm", "pfeiffer")
    s = torch.randn(3, 32)
    expected = norm(s + up(torch.relu(down(norm(s)))))
    torch.testing.assert_close(layer(s), expected)


def test_pfeiffer_stands_behind_a_layer_of_llama(tiny_models):
    on = On(Pfeiffer(), tiny_models("llama")).move()
    block, down, up, layer = of(on.model, "model.layers.1", "pfeiffer")
    given = []
    block.register_forward_hook(lambda module, args, out: given.append(out))
    layer.register_forward_hook(lambda module, args, out: given.append(out))
    on.logits()
    h, adapted = given
    torch.testing.assert_close(adapted, h + up(torch.relu(down(h))))
    assert layer.self_attn is block.self_attn  # asked for what the layer itself has


def test_pfeiffer_behind_named_layers_adds_to_their_output(tiny_models):
    on = On(Pfeiffer(target_modules=("down_proj",)), tiny_models("llama")).move()
    base, down, up, layer = of(on.model, "model.layers.0.mlp.down_proj", "pfeiffer")
    x = torch.randn(3, 64)
    torch.testing.assert_close(layer(x), base(x) + up(torch.relu(down(base(x)))))


@pytest.mark.parametrize(
    ("model_name", "whole", "last"),
    [
        ("llama", "model.layers.1.mlp", "model.layers.1.mlp.down_proj"),
        ("gpt2", "transformer.h.1.mlp", "transformer.h.1.mlp.c_proj"),
        (
            "t5",
            "decoder.block.1.layer.2.DenseReluDense",
            "decoder.block.1.layer.2.DenseReluDense.wo",
        ),
    ],
)
def test_parallel_adds_four_times_its_update_of_the_sub_layers_input(
    model_name, whole, last, tiny_models
):
    on = On(Parallel(), tiny_models(model_name)).move()
    on.model.eval()
    _, down, up, _ = of(on.model, last, "parallel")
    forward = on.model.base_model.model.get_submodule(whole)
    x = torch.randn(2, 3, 32)
    with on.model.disable_adapter():
        base = forward(x)
    torch.testing.assert_close(forward(x), base + 4 * up(torch.relu(down(x))))


def test_parallel_watches_the_feed_forward_once_for_all_its_adapters(tiny_models):
    on = On(Parallel(), tiny_models("llama")).move()
    on.model.add_adapter("other", ParallelConfig(task_type="CAUSAL_LM", scaling=1.0))
    on.logits()
    gates = [m for k, m in on.model.named_modules() if k.endswith("gate_proj")]
    assert [len(gate._forward_pre_hooks) for gate in gates] == [1, 1]
    on.model.unload()
    assert [len(gate._forward_pre_hooks) for gate in gates] == [0, 0]


def test_a_sum_of_kronecker_products_is_what_torch_kron_gives():
    torch.manual_seed(0)
    rule, left, right = torch.randn(3, 3, 3), torch.randn(3, 5, 2), torch.randn(3, 2, 4)
    expected = sum(torch.kron(a, s @ t) for a, s, t in zip(rule, left, right, strict=True))
    torch.testing.assert_close(kronecker_sum(rule, left, right), expected)
    assert expected.shape == (15, 12)


def test_compacters_slow_weights_are_one_parameter_of_the_model(tiny_models):
    on = On(Compacter(), tiny_models("t5")).move()
    slow = [key for key in on.trained() if "rule" in key]
    assert slow == ["base_model.compacter_rule.default"]
    before = on.logits()
    with torch.no_grad():
        on.trained()[slow[0]].mul_(2)
    assert not torch.allclose(on.logits(), before, atol=1e-3)


def test_compacters_slow_weights_follow_the_switches(tiny_models):
    on = On(Compacter(), tiny_models("llama"))
    rule = on.model.base_model.compacter_rule.default
    with on.model.disable_adapter():
        assert not rule.requires_grad
    assert rule.requires_grad
    on.model.set_requires_grad("default", False)
    assert not rule.requires_grad and not on.trained()
    on.model.set_requires_grad("default")
    assert rule.requires_grad


@pytest.mark.parametrize(
    ("method", "field"),
    [
        (Houlsby(reduction_factor=0.5), "reduction_factor"),
        (Pfeiffer(reduction_factor=float("nan")), "reduction_factor"),
        (Parallel(scaling=0.0), "scaling"),
        (Parallel(target_modules=()), "target_modules"),
        (Compacter(phm_dim=0), "phm_dim"),
        (Compacter(phm_rank=0), "phm_rank"),
        (Compacter(reduction_factor=float("inf")), "reduction_factor"),
    ],
)
def test_problems_name_the_field(method, field):
    (problem,) = method.problems()
    assert problem.startswith(f"{field}: ")


def test_a_shared_matrix_that_does_not_divide_the_width_is_refused(tiny_models):
    with pytest.raises(ModelError, match=r"^method\.phm_dim: 5 does not divide .* 32\."):
        On(Compacter(phm_dim=5), tiny_models("llama"))


def test_parallel_takes_only_feed_forward_outputs(tiny_models):
    with pytest.raises(ModelError, match=r"^method\.target_modules: q_proj matches no"):
        On(Parallel(target_modules=("q_proj",)), tiny_models("llama"))
    on = On(Parallel(target_modules=("1.mlp.down_proj",)), tiny_models("llama"))
    assert {key.split(".parallel_")[0] for key in on.trained()} == {
        "base_model.model.model.layers.1.mlp.down_proj"
    }


def test_adapters_of_the_same_kind_are_applied_one_after_the_other(tiny_models):
    on = On(Houlsby(), tiny_models("llama")).move()
    on.model.add_adapter("more", HoulsbyConfig(task_type="CAUSAL_LM"))
    on.model.base_model.set_adapter(["default", "more"])
    on.move()
    base, down, up, layer = of(on.model, "model.layers.0.self_attn.o_proj")
    x = torch.randn(2, 32)
    h = base(x) + up(functional.gelu(down(base(x))))
    expected = h + layer.houlsby_up.more(functional.gelu(layer.houlsby_down.more(h)))
    torch.testing.assert_close(layer(x), expected)


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 4), st.integers(1, 4), st.integers(1, 4), st.integers(1, 3))
def test_the_product_never_needs_more_than_its_parts(n, a, b, rank):
    made = kronecker_sum(torch.ones(n, n, n), torch.ones(n, a, rank), torch.ones(n, rank, b))
    assert torch.equal(made, torch.full((n * a, n * b), float(n * rank)))


def test_an_activation_is_looked_up_by_its_name():
    from loratory.tuning.adapters.bottleneck import BottleneckLayer

    layer = BottleneckLayer(nn.Linear(4, 8), "houlsby_", 8)
    layer.update_layer("default", HoulsbyConfig(non_linearity="tanh", reduction_factor=2))
    nn.init.ones_(layer.up.default.weight)
    h = torch.randn(2, 8)
    expected = torch.tanh(layer.down.default(h)).sum(-1, keepdim=True).expand(2, 8)
    torch.testing.assert_close(layer.update("default", h), expected)
