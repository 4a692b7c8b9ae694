"""Own greedy decoding answers as transformers' generate does, at whatever batch and settings."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import DynamicCache

import tiny
from loratory.methods.lora import Lora
from loratory.tuning import follow, reading
from loratory.tuning import greedy as own
from loratory.tuning.fused import accelerated, layers
from loratory.tuning.model import load
from loratory.tuning.packing import pack

WAYS = ["laid out, tiles", "laid out", "llama", "gpt2"]


@pytest.fixture(scope="module", params=WAYS)
def ready(request, tiny_models):
    """A decoder whose answers hang on their prompts, and prompts of several lengths.

    The first are answered by their layers laid out, as for either kind of processor, the others by
    the model.
    """
    laid = request.param.startswith("laid out")
    spec = tiny.spec(tiny_models("llama" if laid else request.param))
    model = load(spec, (), 0).model
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            if parameter.dim() > 1 and "embed" not in key:
                parameter.mul_(6)
    encoder = tiny.encoder(spec)
    assert (layers.laid_out(model) is None) == (request.param == "gpt2")
    with pytest.MonkeyPatch.context() as patch:
        if not laid:
            patch.setattr(own, "laid_out", lambda _: None)
        patch.setattr(layers, "has_tiles", lambda: request.param.endswith("tiles"))
        yield model, spec, encoder, [row.prompt for row in encoder.all(tiny.examples(9))]


def ours(model, spec, prompts, stops, most, ngram, size=None):
    found = own.greedy(
        model,
        prompts,
        stops=stops,
        fill=spec.tokenizer.pad_token_id,
        max_new_tokens=most,
        no_repeat_ngram_size=ngram,
        batch_size=size or len(prompts),
    )
    return [said for _, said in sorted(found)]


@given(data=st.data(), ngram=st.sampled_from([0, 2, 3]), most=st.sampled_from([1, 2, 7, 20]))
@settings(max_examples=25, deadline=None)
def test_it_says_what_generate_says(ready, data, ngram, most):
    model, spec, _, prompts = ready
    chosen = data.draw(st.lists(st.sampled_from(prompts), min_size=1, max_size=5))
    plain = tiny.generated(model, spec, chosen, {1}, most, ngram)
    # Tokens that the model really says end its answers, so that some end early.
    said = sorted({token for row in plain for token in row})
    stops = set(data.draw(st.lists(st.sampled_from(said), min_size=1, max_size=3)))
    assert ours(model, spec, chosen, stops, most, ngram) == tiny.generated(
        model, spec, chosen, stops, most, ngram
    )


def test_rows_leave_as_their_answers_end(ready, monkeypatch):
    model, spec, _, prompts = ready
    plain = ours(model, spec, prompts, {spec.tokenizer.eos_token_id}, 20, 0)
    stops = {row[3] for row in plain[::2]}
    expected = ours(model, spec, prompts, stops, 20, 0)
    assert 1 < min(map(len, expected)) < 20 or len(set(map(len, expected))) > 1
    sizes = []
    for way in (follow.ByLayers, follow.ByModel):

        def noted(self, groups, asked, plain=way.follow):
            sizes.append(sum(map(len, asked)))
            return plain(self, groups, asked)

        monkeypatch.setattr(way, "follow", noted)
    assert ours(model, spec, prompts, stops, 20, 0) == expected
    assert len(prompts) >= sizes[0] and sizes == sorted(sizes, reverse=True)
    assert sizes[-1] < sizes[0]
    monkeypatch.setattr(own, "SHRINK", 1.0)  # only when all have ended
    assert ours(model, spec, prompts, stops, 20, 0) == expected


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_prompts_take_the_place_of_those_that_are_answered(ready, size):
    model, spec, _, prompts = ready
    plain = ours(model, spec, prompts, {spec.tokenizer.eos_token_id}, 12, 0)
    stops = {row[3] for row in plain[::2]}
    expected = tiny.generated(model, spec, prompts, stops, 12, 0)
    assert ours(model, spec, prompts, stops, 12, 0, size) == expected


def test_drafts_say_the_same_in_fewer_steps(ready, monkeypatch):
    model, spec, _, prompts = ready
    if not layers.laid_out(model) or own.laid_out(model) is None:
        pytest.skip("a model itself goes on by one token at a time")
    steps = []
    plain = follow.ByLayers.follow

    def noted(self, groups, asked):
        steps.append(max(len(row) for rows in asked for row in rows))
        return plain(self, groups, asked)

    monkeypatch.setattr(follow.ByLayers, "follow", noted)
    found = {}
    for most in (0, 1, own.DRAFT, 9):
        steps.clear()
        monkeypatch.setattr(own, "DRAFT", most)
        said = ours(model, spec, prompts, set(), 40, 0)
        found[most] = said, len(steps)
        assert max(steps) == 1 + most  # tiny models repeat themselves, and drafts are taken
    assert len({str(said) for said, _ in found.values()}) == 1
    counts = [count for _, count in found.values()]
    assert counts == sorted(counts, reverse=True) and counts[-1] < counts[0] == 39


def test_prompts_read_packed_are_answered_as_prompts_read_padded(ready, monkeypatch):
    model, spec, _, prompts = ready
    stops = {spec.tokenizer.eos_token_id}
    template = torch.arange(4, 24).tolist()
    alike = [[*template, *prompt[-9:]] for prompt in prompts]
    packed = []
    for module in (reading, layers):
        noted = lambda *x, **y: packed.append(pack(*x, **y)) or packed[-1]  # noqa: E731
        monkeypatch.setattr(module, "pack", noted)
    found = ours(model, spec, alike, stops, 12, 0)
    assert any(one is not None and one[0]["packed"].prefix >= 20 for one in packed)
    monkeypatch.setattr(own, "laid_out", lambda _: None)
    monkeypatch.setattr(own, "can_pack", lambda _: False)
    assert ours(model, spec, alike, stops, 12, 0) == found


def test_an_adapter_speaks_fused_as_it_does_plain(ready):
    model, spec, _, prompts = ready
    tuned = Lora(r=3).attach(load(spec, (), 0).model, spec.family, 1, ())
    tiny.shaken(tuned, 5, 0.5)
    tuned.eval()
    stops = {spec.tokenizer.eos_token_id}
    plain = ours(tuned, spec, prompts, stops, 12, 0)
    with accelerated(tuned, spec.family):
        assert ours(tuned, spec, prompts, stops, 12, 0) == plain
    assert plain != ours(model, spec, prompts, stops, 12, 0)


def test_room_holds_what_a_growing_cache_holds():
    torch.manual_seed(0)
    first = torch.randn(2, 3, 2, 4, 5)  # keys and values of three rows
    wide = torch.zeros(2, 3, 2, 7, 5)
    wide[..., :4, :] = first
    room, grown = reading.Room(*wide, length=4), DynamicCache()
    grown.update(*first, 0)
    for i in range(3):
        states = torch.randn(2, 2 if i else 3, 2, 1, 5)
        found, expected = room.update(*states), grown.update(*states, 0)
        assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))
        assert room.get_seq_length() == grown.get_seq_length() == 5 + i
        if not i:
            for cache in (room, grown):
                cache.batch_select_indices(torch.tensor([2, 0]))


def test_prompts_are_read_in_parts_of_like_length(ready, monkeypatch):
    model, spec, _, prompts = ready
    stops = {spec.tokenizer.eos_token_id}
    expected = ours(model, spec, prompts, stops, 12, 0)
    for read in (1, max(map(len, prompts)), 10**6):
        monkeypatch.setattr(reading, "READ", read)
        longest_first = sorted(prompts, key=len, reverse=True)
        parts = list(reading._parts(longest_first))
        assert [prompt for part in parts for prompt in part] == longest_first
        assert len(parts) == {1: len(prompts), 10**6: 1}.get(read, len(parts))
        assert ours(model, spec, prompts, stops, 12, 0) == expected
        monkeypatch.setattr(follow.ByLayers, "tokens", read)
        assert ours(model, spec, prompts, stops, 12, 0) == expected


def test_models_that_keep_more_than_keys_and_values_are_left_to_transformers(tiny_models):
    model = load(tiny.spec(tiny_models("llama")), (), 0).model
    assert own.can_decode(model)
    model.config.layer_types = ["sliding_attention", "full_attention"]
    model.config.sliding_window = 8
    assert not own.can_decode(model)


def test_rows_at_once_are_those_whose_keys_and_values_fit(tiny_models, monkeypatch):
    model = load(tiny.spec(tiny_models("llama")), (), 0).model
    a_row = 2 * 2 * model.config.num_key_value_heads * 8 * 4 * 50  # 2 layers, float32, 50 tokens
    for bytes_, rows in ((10 * a_row, 10), (10 * a_row - 1, 9), (1, 1)):
        monkeypatch.setattr(own, "CACHE_BYTES", bytes_)
        assert own.most_rows(model, 50) == rows
