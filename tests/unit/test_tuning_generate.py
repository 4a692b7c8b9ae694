"""Generation: a batch answers as its rows would alone, by the recipe's settings and no others."""

from __future__ import annotations

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import GenerationConfig

import tiny
from crossed import crossed, few
from loratory.config import DecodeConfig
from loratory.progress import Silent
from loratory.records import Example
from loratory.tuning import greedy
from loratory.tuning.batch import sorted_batches
from loratory.tuning.generate import generate
from loratory.tuning.model import load
from loratory.tuning.predict import predict

FAMILIES = ["llama", "gpt2", "t5", "bart"]


@pytest.fixture
def ready(tiny_models):
    """Return a function: a model's name to the model, sharpened, its encoder and prompts."""

    def make(name: str):
        spec = tiny.spec(tiny_models(name))
        model = load(spec, (), 0).model
        encoder = tiny.encoder(spec)
        with torch.no_grad():
            # Random weights repeat one token; larger ones make the answer hang on the prompt.
            for key, parameter in model.named_parameters():
                if parameter.dim() > 1 and "embed" not in key and "shared" not in key:
                    parameter.mul_(6)
        return model, encoder, [row.prompt for row in encoder.all(tiny.examples(7))]

    return make


def answers(model, encoder, prompts, **changes):
    settings = {
        "max_new_tokens": 12,
        "num_beams": 1,
        "no_repeat_ngram_size": 0,
        "batch_size": 4,
        **changes,
    }
    found = {x.row: x for x in generate(model, encoder, prompts, **settings)}
    assert sorted(found) == list(range(len(prompts)))
    return [found[i] for i in range(len(prompts))]


def by_hand(model, encoder, prompt, limit, first=None):
    """Greedy decoding with a full forward pass a token, no cache, no padding.

    `first` is a forced first token, as BART has one.
    """
    ids = list(prompt)
    said: list[int] = []
    start = model.config.decoder_start_token_id if encoder.spec.family == "seq2seq" else None
    while len(said) < limit:
        with torch.no_grad():
            if start is None:
                logits = model(torch.tensor([ids + said])).logits
            else:
                logits = model(
                    input_ids=torch.tensor([ids]), decoder_input_ids=torch.tensor([[start, *said]])
                ).logits
        token = int(logits[0, -1].argmax())
        if not said and first is not None:
            token = first
        if token in encoder.stop_ids:
            return said, True
        said.append(token)
    return said, False


@pytest.mark.parametrize("name", few(FAMILIES, ("llama", "bart")))
def test_a_mixed_batch_answers_as_its_rows_alone(name, ready):
    model, encoder, prompts = ready(name)
    first = model.generation_config.forced_bos_token_id
    assert (first is None) == (name != "bart")
    expected = [by_hand(model, encoder, prompt, 12, first) for prompt in prompts]
    assert len({tuple(ids) for ids, _ in expected}) > 1, "answers must hang on the prompt"
    for batch_size in (1, 3, 7):
        found = answers(model, encoder, prompts, batch_size=batch_size)
        for answer, (ids, finished) in zip(found, expected, strict=True):
            text = encoder.tokenizer.decode(ids, skip_special_tokens=True).strip()
            assert answer.text == text
            assert (answer.new_tokens, answer.finished) == (len(ids) + finished, finished)


@pytest.mark.parametrize("name", FAMILIES)
def test_generation_stops_at_the_end_token(name, ready, monkeypatch):
    """A head whose third step says the end token: two tokens, then the end, then silence."""
    monkeypatch.setattr(greedy, "can_pack", lambda _: False)  # found out by steps that would count
    monkeypatch.setattr(greedy, "laid_out", lambda _: None)  # layers know nothing of hooks
    model, encoder, prompts = ready(name)
    end = encoder.tokenizer.eos_token_id
    steps = {"n": 0}
    word = encoder.tokenizer("cat", add_special_tokens=False)["input_ids"][-1]

    def speak(module, args, output):
        steps["n"] += 1
        output.logits[:] = 0
        output.logits[..., end if steps["n"] >= 3 else word] = 1
        return output

    model.register_forward_hook(speak)
    found = answers(model, encoder, prompts, batch_size=len(prompts))
    # BART's first token is forced, whatever the head says, and is special.
    said = encoder.tokenizer.decode([word] * (1 if name == "bart" else 2)).strip()
    assert {(x.text, x.new_tokens, x.finished) for x in found} == {(said, 3, True)}
    assert steps["n"] == 3


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("limit", [1, 5])
def test_the_limit_is_kept_and_told(name, limit, ready):
    model, encoder, prompts = ready(name)
    end = list(encoder.stop_ids)

    def never_end(module, args, output):
        output.logits[..., end] = -1e9
        return output

    model.register_forward_hook(never_end)
    for answer in answers(model, encoder, prompts, max_new_tokens=limit):
        assert (answer.new_tokens, answer.finished) == (limit, False)


@crossed(name=["llama", "t5"], adapted=[False, True])
def test_a_models_own_decoding_settings_do_not_leak_in(name, adapted, ready):
    plain, encoder, prompts = ready(name)
    expected = answers(plain, encoder, prompts)
    model, _, _ = ready(name)
    own = model.generation_config
    model.generation_config = GenerationConfig(
        decoder_start_token_id=own.decoder_start_token_id,
        do_sample=True,
        temperature=5.0,
        top_k=0,
        num_beams=3,
        repetition_penalty=9.0,
        length_penalty=-4.0,
        min_new_tokens=9,
        max_length=3,
        suppress_tokens=prompts[0][:3],
        no_repeat_ngram_size=1,
        num_return_sequences=1,
    )
    if adapted:
        model = get_peft_model(model, LoraConfig(r=2, target_modules="all-linear")).eval()
    assert answers(model, encoder, prompts) == expected


def test_beams_and_repeats_are_the_recipes(ready):
    model, encoder, prompts = ready("llama")
    greedy = [x.text for x in answers(model, encoder, prompts)]
    beams = [x.text for x in answers(model, encoder, prompts, num_beams=4)]
    assert beams != greedy
    no_repeats = answers(model, encoder, prompts, no_repeat_ngram_size=1, max_new_tokens=30)
    assert [x.text for x in no_repeats] != greedy


@pytest.mark.parametrize(("name", "start"), [("t5", "<pad>"), ("bart", "<s>")])
def test_an_encoder_decoders_start_is_no_part_of_the_answer(name, start, ready):
    model, encoder, prompts = ready(name)
    for answer in answers(model, encoder, prompts):
        assert start not in answer.text and "</s>" not in answer.text


def test_batches_are_of_like_length_the_longest_first():
    assert sorted_batches([3, 9, 1, 9, 5], 2) == [[1, 3], [4, 0], [2]]
    assert sorted_batches([], 4) == []


def test_predictions_come_in_order_with_their_facts(ready):
    model, encoder, _ = ready("llama")
    encoder.max_prompt, encoder.max_target = 110, 6
    rows = [*tiny.examples(5), Example("long", "a cat sat " * 80, ("a cat",))]
    found = predict(model, encoder, rows, DecodeConfig(batch_size=4), Silent(), "predict")
    assert [x.id for x in found] == [row.id for row in rows]
    assert [x.references for x in found] == [row.references for row in rows]
    encoded = encoder.all(rows)
    assert [x.prompt_tokens for x in found] == [len(row.prompt) for row in encoded]
    assert [x.cut_tokens for x in found] == [row.cut_prompt for row in encoded]
    assert found[-1].cut_tokens > 0
    assert all(x.new_tokens <= 6 for x in found)
