"""The fused training step gives what the plain one gives, and leaves no trace in the model."""

from __future__ import annotations

import functools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from peft import LoraConfig, get_peft_model
from torch import nn
from torch.nn import functional

import tiny
from loratory.methods.base import METHODS
from loratory.methods.lora import Lora
from loratory.tuning import head
from loratory.tuning.batch import IGNORE
from loratory.tuning.encode import Encoded
from loratory.tuning.fused import (
    accelerated,
    attention,
    decoder,
    dropout,
    gemm,
    lora,
    norm,
    products,
)
from loratory.tuning.loss import loss_sum, losses, packing, supervised_logits
from loratory.tuning.model import load
from loratory.tuning.packing import pack
from loratory.tuning.regularise import base_logits
from loratory.tuning.train import PLAIN
from loratory.tuning.trainer import objective
from tiny_run import Run

MODELS = ["llama", "gpt2", "t5", "bart", "bert", "distilbert"]


def attached(path, name, method=None, dtype=torch.float64):
    """A tiny model that is trained, without dropout, which draws anew at every call."""
    kept = "bfloat16" if dtype == torch.bfloat16 else "float32"
    spec = tiny.spec(path, classify=name.endswith("bert"), dtype=kept)
    for key in vars(spec.config):
        if "dropout" in key or key.endswith("_pdrop"):
            setattr(spec.config, key, 0.0)
    loaded = load(spec, ("negative", "positive"), 0)
    model = (method or Lora(r=3)).attach(loaded.model, spec.family, 1, loaded.heads)
    tiny.shaken(model, 5, 0.2)
    return spec, (model.double() if dtype == torch.float64 else model).train()


def learnt(model, batch):
    """The mean loss of a batch, and the gradient of every trained parameter."""
    model.zero_grad()
    total, count = loss_sum(model, batch)
    (total / count).backward()
    grads = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    return float((total / count).detach()), grads


def assert_alike(one, other, rtol=1e-4, atol=1e-6):
    """Of models in float64, whose loss and norms transformers computes in float32."""
    assert other[0] == pytest.approx(one[0], rel=1e-6)
    assert one[1].keys() == other[1].keys()
    for name, gradient in one[1].items():
        torch.testing.assert_close(other[1][name], gradient, rtol=rtol, atol=atol)


@pytest.mark.parametrize("name", MODELS)
def test_loss_and_gradients_are_those_of_peft(name, tiny_models):
    spec, model = attached(tiny_models(name), name)
    batch = tiny.collated(spec, model, tiny.rows(spec, 5))
    plain = learnt(model, batch)
    with accelerated(model, spec.family) as found:
        fused = learnt(model, batch)
        assert found.layers == sum(lora.can_fuse(m, "default") for m in model.modules()) > 0
    assert_alike(plain, fused)
    assert_alike(plain, learnt(model, batch), rtol=0, atol=0)  # and all is as it was


def test_layers_of_one_input_are_a_group(tiny_models):
    spec, model = attached(tiny_models("llama"), "llama")
    with accelerated(model, spec.family) as found:
        # In each of two blocks q, k and v are one, gate and up another; o and down stand alone.
        assert (found.layers, found.groups, found.norms) == (14, 4, 5)
        assert found.attention == (not torch.cuda.is_available())


def test_for_answers_only_lora_is_fused(tiny_models):
    """The base model answers by its own norms and attention, and so must the tuned one."""
    spec, model = attached(tiny_models("llama"), "llama")
    with accelerated(model, spec.family, training=False) as found:
        assert (found.layers, found.groups, found.norms, found.attention) == (14, 4, 0, False)
        assert model.get_base_model().config._attn_implementation == "sdpa"


def test_layers_that_come_to_share_an_input_only_once_are_right_all_the_same(tiny_models):
    """What a group found for one input is not given for another."""
    spec, model = attached(tiny_models("llama"), "llama")
    block = model.get_base_model().model.layers[0].self_attn
    first, second = torch.randn(2, 2, 4, 32, dtype=torch.float64)
    expected = [block.q_proj(first), block.k_proj(second), block.v_proj(first)]
    with accelerated(model, spec.family):
        found = [block.q_proj(first), block.k_proj(second), block.v_proj(first)]
        again = block.k_proj(second)
    for one, other in zip([*expected, expected[1]], [*found, again], strict=True):
        torch.testing.assert_close(other, one)


def test_a_switched_off_adapter_is_the_base_model(tiny_models):
    spec, model = attached(tiny_models("llama"), "llama")
    batch = tiny.collated(spec, model, tiny.rows(spec, 3))
    expected = base_logits(model, batch)
    with accelerated(model, spec.family):
        torch.testing.assert_close(base_logits(model, batch), expected)


@pytest.mark.parametrize(
    "method",
    [
        Lora(r=2, use_dora=True),
        Lora(r=2, lora_dropout=0.1),
        Lora(r=2, init_lora_weights="pissa"),
        METHODS.get("ia3")(),
        METHODS.get("full")(),
    ],
    ids=["DoRA", "dropout", "PiSSA", "IA3", "full"],
)
def test_what_is_not_plain_lora_is_left_alone(method, tiny_models):
    spec, model = attached(tiny_models("llama"), "llama", method)
    batch = tiny.collated(spec, model, tiny.rows(spec, 3))
    model.eval()  # dropout draws
    plain = learnt(model, batch)
    with accelerated(model, spec.family) as found:
        assert found.layers == 0
        assert_alike(plain, learnt(model, batch), rtol=1e-3, atol=1e-5)  # PiSSA's start cancels


@pytest.mark.parametrize("name", ["llama", "gpt2", "bert"])
def test_a_training_takes_the_same_course(name, tiny_models, tmp_path):
    losses = {}
    for fused in (False, True):
        run = Run(tiny_models(name), tmp_path / str(fused), name == "bert", dtype="float32")
        run.train(fused=fused, num_train_epochs=4.0, early_stopping_patience=None)
        losses[fused] = [entry["loss"] for entry in run.log() if "loss" in entry]
    assert len(losses[True]) == 20 and losses[True][0] > losses[True][-1]
    assert losses[True] == pytest.approx(losses[False], abs=1e-5)


def test_with_recomputed_activations_too(tiny_models, tmp_path):
    losses = {}
    for settings_ in ({"fused": False}, {"activation_checkpointing": True}):
        run = Run(tiny_models("llama"), tmp_path / str(len(losses)), dtype="float32")
        run.train(**settings_)
        losses[len(losses)] = [entry["loss"] for entry in run.log() if "loss" in entry]
    assert losses[1] == pytest.approx(losses[0], abs=1e-5)


def test_eight_batches_of_one_row_are_one_of_eight(tiny_models, tmp_path):
    losses = []
    for size, accumulated in ((8, 1), (1, 8)):
        run = Run(tiny_models("llama"), tmp_path / str(size), dtype="float32")
        run.train(per_device_train_batch_size=size, gradient_accumulation_steps=accumulated)
        losses.append([entry["loss"] for entry in run.log() if "loss" in entry])
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)


def test_in_half_precision_it_is_as_near_to_the_truth(tiny_models):
    """Both round; neither is further from float32 than the other by more than its own error."""
    spec, exact = attached(tiny_models("llama"), "llama", dtype=torch.float32)
    batch = tiny.collated(spec, exact, tiny.rows(spec, 8))
    truth = learnt(exact, batch)
    spec, model = attached(tiny_models("llama"), "llama", dtype=torch.bfloat16)
    away = []
    for fused in (False, True):
        if fused:
            with accelerated(model, spec.family):
                found = learnt(model, batch)
        else:
            found = learnt(model, batch)
        assert all(gradient.dtype == torch.float32 for gradient in found[1].values())
        off = [torch.dist(found[1][n], g) / g.norm() for n, g in truth[1].items() if g.norm() > 0]
        away.append((abs(found[0] - truth[0]), float(torch.stack(off).mean())))
    assert away[1][0] < 2 * away[0][0] + 2e-3
    assert away[1][1] < 2 * away[0][1]


@pytest.mark.parametrize("lays", [False, True])
def test_the_lowest_layers_ask_for_no_gradient_of_their_input(lays, tiny_models, monkeypatch):
    spec, model = attached(tiny_models("llama"), "llama")
    q = model.get_base_model().model.layers[0].self_attn.q_proj
    asked = []
    if not lays:
        monkeypatch.setattr(decoder, "can_lay", lambda *_: False)
    with accelerated(model, spec.family) as acc:
        assert acc.laid == lays
        function = decoder._Function if lays else lora._FusedLora
        real = function.backward

        def noted(ctx, *gradients):
            asked.append(ctx.needs_input_grad[0])
            return real(ctx, *gradients)

        monkeypatch.setattr(function, "backward", staticmethod(noted))
        learnt(model, tiny.collated(spec, model, tiny.rows(spec, 2)))
    assert asked.count(False) == 1 and not asked[-1]  # q, k and v of the first block
    assert q.lora_A["default"].weight.grad is not None


def test_a_layer_with_a_hook_on_its_base_is_left_alone():
    model = get_peft_model(
        nn.Sequential(nn.Linear(4, 4)), LoraConfig(target_modules=["0"])
    ).base_model.model
    assert lora.can_fuse(model[0], "default")
    model[0].base_layer.register_forward_hook(lambda *_: None)
    assert not lora.can_fuse(model[0], "default")


@given(
    rows=st.integers(1, 3),
    groups=st.integers(1, 3),
    times=st.integers(1, 3),
    length=st.integers(1, 9),
    width=st.sampled_from([2, 4, 8]),
    kind=st.sampled_from(["none", "causal", "true", "added"]),
    block=st.sampled_from([1, 100, 300, 2**20]),
    queries=st.sampled_from([2, 3, 100]),
    kept=st.sampled_from([0, 2, 100]),
)
@settings(max_examples=100, deadline=None)
def test_attention_is_torch_s(rows, groups, times, length, width, kind, block, queries, kept):
    generator = torch.Generator().manual_seed(rows * 100 + length)
    q, k, v, back = (
        torch.randn(rows, n, length, width, generator=generator, dtype=torch.float64)
        for n in (groups * times, groups, groups, groups * times)
    )
    mask = torch.rand(rows, 1, length, length, generator=generator, dtype=torch.float64)
    mask = {"true": (mask > 0.4) | torch.eye(length, dtype=bool), "added": mask}.get(kind)
    found = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(products, "BLOCK_BYTES", block)
        patch.setattr(products, "BLOCKS", ((4, 100), (100, queries)))
        patch.setattr(products, "KEPT", kept)
        for ours in (False, True):
            a, b, c = (x.clone().requires_grad_() for x in (q, k, v))
            if ours:
                out = attention.attention(a, b, c, mask=mask, causal=kind == "causal")
            else:
                out = functional.scaled_dot_product_attention(
                    a, b, c, attn_mask=mask, is_causal=kind == "causal", enable_gqa=True
                )
            out.backward(back)
            found.append((out.detach(), a.grad, b.grad, c.grad))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(other, one)


def test_no_more_than_a_block_of_scores_is_formed_at_a_time():
    q, k = torch.empty(4, 3, 1000, 8), torch.empty(4, 1000, 8)
    blocks = list(products._blocks(q, k, causal=True))
    assert [stop for _, stop, _ in blocks] == [start for start, *_ in blocks[1:]] + [1000]
    assert all(seen == stop for _, stop, seen in blocks)
    largest = max((stop - start) * seen for start, stop, seen in blocks) * 4 * 3 * 4
    assert len(blocks) > 1 and largest <= products.BLOCK_BYTES + 4 * 3 * 4 * 1000


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_rms_norm_is_transformers_own(dtype):
    from transformers.models.llama.modeling_llama import LlamaRMSNorm

    torch.manual_seed(0)
    module = LlamaRMSNorm(24).to(dtype).requires_grad_(False)
    module.weight.copy_(torch.randn(24))
    x, back = (torch.randn(2, 5, 24).to(dtype) for _ in range(2))
    found = []
    for ours in (False, True):
        a = x.clone().requires_grad_()
        if ours:
            assert norm.can_fuse(module)
            undo = norm.put_in(module)
        module(a).backward(back)
        found.append((module(a).detach(), a.grad))
    undo()
    assert "forward" not in vars(module)
    exact = {
        torch.float32: {"rtol": 1e-5, "atol": 1e-6},
        torch.bfloat16: {"rtol": 0.02, "atol": 0.02},
    }
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(other, one, **exact[dtype])


def test_a_norm_that_only_sounds_like_it_is_left_alone():
    class OneMoreRMSNorm(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight, self.eps = nn.Parameter(torch.ones(8), requires_grad=False), 1e-6

        def forward(self, x):
            scale = torch.rsqrt(x.float().square().mean(-1, keepdim=True) + self.eps)
            return (x * scale * (1 + self.weight)).to(x.dtype)  # as Gemma has it

    assert not norm.can_fuse(OneMoreRMSNorm())
    trained = OneMoreRMSNorm()
    trained.weight.requires_grad_(True)
    assert not norm.can_fuse(trained)


def learning(spec, model, rows):
    """What a step is to lower for a batch, and the gradient of every trained parameter."""
    model.zero_grad()
    objective(model, tiny.collated(spec, model, rows), PLAIN, None, 0).backward()
    return {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


def templated(spec, prefix, lengths, seed=0):
    """Rows whose prompts begin with the same tokens."""
    generator = torch.Generator().manual_seed(seed)

    def drawn(n):
        return torch.randint(4, spec.config.vocab_size, (n,), generator=generator).tolist()

    start = drawn(prefix)
    return [
        Encoded(str(i), start + drawn(prompt), drawn(answer), None, 0, 0)
        for i, (prompt, answer) in enumerate(lengths)
    ]


@pytest.fixture(scope="module", params=["llama", "gpt2"])
def tiny_decoder(request, tiny_models):
    """A tiny decoder with an adapter, and what it computes with when it is accelerated."""
    return attached(tiny_models(request.param), request.param)


@settings(max_examples=12, deadline=None)
@given(
    prefix=st.integers(0, 9),
    lengths=st.lists(st.tuples(st.integers(1, 7), st.integers(1, 5)), min_size=1, max_size=5),
    seed=st.integers(0, 99),
)
def test_packed_rows_give_the_losses_of_padded_ones(tiny_decoder, prefix, lengths, seed):
    """Order, padding, a common beginning: each target's loss is its own, and so is its gradient."""
    spec, model = tiny_decoder
    rows = templated(spec, prefix, lengths, seed)
    batch = tiny.collated(spec, model, rows)
    plain, (logits, _) = losses(model, batch), supervised_logits(model, batch)
    with accelerated(model, spec.family) as found, packing(model, most=1.0):
        assert found.packing and found.head and found.laid == (spec.config.model_type == "llama")
        with packing(model, most=-1.0):  # fused, and padded
            padded = learning(spec, model, rows)
        torch.testing.assert_close(losses(model, batch), plain, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(supervised_logits(model, batch)[0], logits, rtol=1e-4, atol=1e-5)
        for key, gradient in learning(spec, model, rows).items():
            torch.testing.assert_close(gradient, padded[key], rtol=1e-7, atol=1e-9)


def test_what_rows_begin_with_is_read_once(tiny_models):
    spec, model = attached(tiny_models("llama"), "llama")
    rows = templated(spec, 6, [(3, 2), (1, 4), (5, 1)])
    batch = tiny.collated(spec, model, rows)
    inputs, keep = pack(batch["input_ids"], batch["labels"] != IGNORE)
    # Each row's last token is a target only; 6 in common, and 4, 4 and 5 of each row's own.
    assert inputs["input_ids"].shape == keep.shape == (1, 6 + 4 + 4 + 5)
    assert inputs["packed"].prefix == 6
    assert inputs["position_ids"][0].tolist() == [*range(10), *range(6, 10), *range(6, 11)]
    assert int(keep.sum()) == 2 + 4 + 1
    given_ids = inputs["input_ids"][0][inputs["packed"].places]
    for row, ids in zip(rows, given_ids.tolist(), strict=True):
        whole = row.prompt + row.answer[:-1]
        assert ids[: len(whole)] == whole


def test_a_batch_that_packing_hardly_shortens_is_left_as_it_is(tiny_models):
    spec, model = attached(tiny_models("llama"), "llama")
    batch = tiny.collated(spec, model, templated(spec, 0, [(5, 3), (5, 3)]))
    assert pack(batch["input_ids"], batch["labels"] != IGNORE) is None


def test_rows_that_are_equal_throughout_keep_a_token_of_their_own(tiny_models):
    spec, model = attached(tiny_models("llama"), "llama")
    row = Encoded("0", [5, 6, 7, 8], [9], None, 0, 0)
    batch = tiny.collated(spec, model, [row, row])
    plain = losses(model, batch)
    with accelerated(model, spec.family):
        torch.testing.assert_close(losses(model, batch), plain, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("change", ["window", "alora"])
def test_rows_are_not_packed_where_that_would_be_wrong(change, tiny_models):
    spec, model = attached(tiny_models("llama"), "llama")
    inner = model.get_base_model()
    for layer in inner.model.layers:
        if change == "window":
            plain = layer.self_attn.forward
            layer.self_attn.forward = functools.partial(plain, sliding_window=4)
    if change == "alora":
        model.peft_config["default"].alora_invocation_tokens = [1]
    with accelerated(model, spec.family) as found:
        assert not found.packing and found.layers


def test_a_model_that_caps_its_logits_keeps_its_head(tiny_models):
    spec, model = attached(tiny_models("llama"), "llama")
    batch = tiny.collated(spec, model, tiny.rows(spec, 3))
    handle = model.get_base_model().register_forward_hook(
        lambda _m, _a, out: setattr(out, "logits", torch.tanh(out.logits)) or out
    )
    plain = losses(model, batch)
    with accelerated(model, spec.family) as found:
        assert not found.head
        torch.testing.assert_close(losses(model, batch), plain, rtol=1e-5, atol=1e-6)
    handle.remove()
    assert "forward" not in vars(model.get_output_embeddings())


def test_losses_from_states_do_not_hang_on_the_size_of_a_block(monkeypatch):
    generator = torch.Generator().manual_seed(0)
    states = torch.randn(7, 5, generator=generator, dtype=torch.float64, requires_grad=True)
    targets = torch.tensor([0, 3, 1, 1, 10, 4, 2])
    layer = nn.Linear(5, 11).double().requires_grad_(False)
    weights = torch.rand(7, generator=generator, dtype=torch.float64)
    expected = functional.cross_entropy(layer(states), targets, reduction="none")
    (of_expected,) = torch.autograd.grad((expected * weights).sum(), states)
    for rows in (1, 3, 7, 50):
        monkeypatch.setattr(head, "BLOCK_BYTES", rows * 4 * 11)
        found = head.head_losses(states, layer, targets)
        torch.testing.assert_close(found, expected)
        (of_found,) = torch.autograd.grad((found * weights).sum(), states)
        torch.testing.assert_close(of_found, of_expected)
    assert not head.can_fuse(nn.Linear(5, 11)) and head.can_fuse(layer)


@pytest.mark.parametrize("tokens", [512, 513, 704, 705, 831, 832, 1151, 1152])
def test_a_product_in_parts_is_the_product(tokens, monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    monkeypatch.setattr(gemm, "has_tiles", lambda: True)
    monkeypatch.setattr(gemm, "DEEP", 63)
    monkeypatch.setattr(gemm, "LONG", 64)
    generator = torch.Generator().manual_seed(tokens)
    x = torch.randn(tokens, 64, generator=generator).bfloat16()
    weight = torch.randn(64, 576, generator=generator).bfloat16()
    torch.testing.assert_close(gemm.product(x, weight), x @ weight, rtol=2e-2, atol=5e-2)
    start = torch.ones(tokens, 576).bfloat16()
    found = gemm.product(x, weight, start.clone(), add=True)
    torch.testing.assert_close(found, start + x @ weight, rtol=2e-2, atol=1e-1)
    out = torch.full_like(start, torch.nan)
    assert gemm.product(x, weight, out) is out
    torch.testing.assert_close(out, x @ weight, rtol=2e-2, atol=5e-2)


@pytest.mark.parametrize("kept", [0, 10**6])
@pytest.mark.parametrize("causal", [True, False])
def test_attention_that_drops_out_is_that_of_what_is_left(causal, kept, monkeypatch):
    """The places that drop out are drawn in blocks, and are the same in the backward pass."""
    monkeypatch.setattr(products, "KEPT", kept)
    monkeypatch.setattr(products, "BLOCK_BYTES", 2 * 2 * 7 * 7 * 8 // 3)
    drawn = []
    draw = dropout.kept_places
    monkeypatch.setattr(products, "kept_places", lambda *x: drawn.append(draw(*x)) or drawn[-1])
    generator = torch.Generator().manual_seed(0)
    q, k, v = (
        torch.randn(2, 2, 7, 4, generator=generator, dtype=torch.float64, requires_grad=True)
        for _ in range(3)
    )
    found = attention.attention(q, k, v, causal=causal, dropout=0.4)
    scores = q @ k.transpose(2, 3) / 2
    if causal:
        scores = scores.masked_fill(torch.ones(7, 7).triu(1).bool(), -torch.inf)
    assert len(drawn) > 1
    whole = torch.zeros(4, 7, 7, dtype=torch.float64)
    start = 0
    for part in drawn:
        whole[:, start : start + part.shape[1], : part.shape[2]] = part
        start += part.shape[1]
    left = scores.softmax(dim=-1) * whole.view(2, 2, 7, 7) / 0.6
    expected = left @ v
    torch.testing.assert_close(found, expected)
    upstream = torch.randn(found.shape, generator=generator, dtype=torch.float64)
    for one, other in zip(
        torch.autograd.grad(found, (q, k, v), upstream),
        torch.autograd.grad(expected, (q, k, v), upstream),
        strict=True,
    ):
        torch.testing.assert_close(one, other)


def test_places_drop_out_with_the_chance_asked_for():
    torch.manual_seed(0)
    for share in (0.1, 0.5, 0.93):
        for like in (torch.empty(0), torch.empty(0).bfloat16()):
            kept = dropout.kept_places((3, 1001, 333), share, like)
            assert kept.shape == (3, 1001, 333) and kept.dtype == like.dtype
            assert set(kept.unique().tolist()) == {0.0, 1.0}
            drawn = 1 - kept.double()
            assert float(drawn.mean()) == pytest.approx(share, abs=0.002)
            # Neighbours are drawn together, and hang on each other no more than others.
            flat = drawn.flatten()[: 999_999 // 4 * 4].view(-1, 4)
            for i in range(3):
                both = float((flat[:, i] * flat[:, i + 1]).mean())
                assert both == pytest.approx(share**2, abs=0.003)


@pytest.mark.parametrize("name", ["bert", "gpt2", "t5"])
def test_dropout_draws_while_training_and_is_torchs_again_afterwards(name, tiny_models):
    spec = tiny.spec(tiny_models(name), classify=name == "bert")
    loaded = load(spec, ("negative", "positive"), 0)
    model = Lora(r=3).attach(loaded.model, spec.family, 1, loaded.heads)
    plain = [m for m in model.modules() if type(m) is nn.Dropout and m.p]
    with accelerated(model, spec.family) as found:
        assert found.dropouts == len(plain) > 0
        module, x = plain[0].train(), torch.randn(50, 40, requires_grad=True)
        torch.manual_seed(3)
        once = module(x)
        torch.manual_seed(3)
        assert torch.equal(once, module(x))  # a seed settles it
        assert not torch.equal(once, module(x))
        left = once != 0
        assert 0 < float((~left).double().mean()) < 3 * module.p
        torch.testing.assert_close(once[left], x[left] / (1 - module.p))
        (gradient,) = torch.autograd.grad(once.sum(), x)
        torch.testing.assert_close(gradient, left / (1 - module.p))
        assert torch.equal(module.eval()(x), x)
    assert all("forward" not in vars(module) for module in plain)


def test_a_product_by_a_reordered_weight_is_the_product(monkeypatch):
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(48, 40, generator=generator).bfloat16()
    for tiles in (True, False):
        monkeypatch.setattr(gemm, "has_tiles", lambda tiles=tiles: tiles)
        few = torch.ops.mkldnn._is_mkldnn_bf16_supported()
        assert gemm.reorders(weight, few=True) == few
        assert gemm.reorders(weight, few=False) == (few and not tiles)
        assert not gemm.reorders(weight.float(), few=True)
        assert not gemm.reorders(weight.to("meta"), few=True)
    if not few:
        pytest.skip("this processor knows no products of bfloat16")
    for whole in (weight, weight.T):
        there = gemm.reordered(whole)
        for rows in (1, 7, 700):
            x = torch.randn(rows, whole.shape[1], generator=generator).bfloat16()
            add = torch.randn(rows, len(whole), generator=generator).bfloat16()
            exact, before = x.float() @ whole.float().T, add.clone()
            found = gemm.reordered_product(x, there), gemm.reordered_product(x, there, add)
            torch.testing.assert_close(found[0].float(), exact, rtol=1e-2, atol=5e-2)
            torch.testing.assert_close(found[1].float(), exact + add, rtol=1e-2, atol=5e-2)
            assert torch.equal(add, before)


def test_rows_and_tokens_are_made_even_where_that_adds_little():
    for length, even in ((31, 32), (29, 29), (32, 32), (150, 160), (130, 130)):
        ids = torch.arange(2 * length).view(2, length)
        keep = torch.zeros_like(ids, dtype=torch.bool)
        keep[0, -1], keep[1, length // 2] = True, True
        inputs, kept = pack(ids, keep, 1.0, asked_only=True)
        plain, expected = pack(ids, keep, 1.0)
        layout, asked = inputs["packed"], expected[0].nonzero()[:, 0]
        assert layout.places.shape == (2, even)
        real = length + length // 2 + 1
        assert plain["input_ids"].shape == (1, real)
        # Padding is there for that: so much, and no more.
        count = min(-(-real // 32) * 32, 2 * even)
        assert inputs["input_ids"].shape == (1, count)
        assert torch.equal(inputs["input_ids"][kept], plain["input_ids"][expected])
        assert torch.equal(inputs["position_ids"][kept], plain["position_ids"][expected])
        assert len(layout.asked) == 32 and len(set(layout.asked.tolist())) == 32
        assert torch.equal(layout.asked[: len(asked)], kept[0].nonzero()[:, 0])
        assert plain["packed"].asked is None
        for row, many in ((0, length), (1, length // 2 + 1)):
            at = layout.places[row, :many]
            assert torch.equal(inputs["input_ids"][0][at], ids[row, :many])
            assert torch.equal(inputs["position_ids"][0][at], torch.arange(many))


def test_where_there_is_no_padding_none_is_made():
    ids = torch.arange(2 * 29).view(2, 29)
    keep = torch.zeros_like(ids, dtype=torch.bool)
    keep[:, -1] = True
    inputs, kept = pack(ids, keep, 1.0, asked_only=True)
    assert inputs["input_ids"].shape == (1, 58) and int(kept.sum()) == 2
    keep[:] = True
    assert len(pack(ids, keep, 1.0, asked_only=True)[0]["packed"].asked) == 58
