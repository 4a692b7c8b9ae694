"""Label-word likelihoods against one full forward pass a prompt and answer."""

from __future__ import annotations

import math

import pytest
import torch

import tiny
from crossed import few
from loratory.config import DecodeConfig
from loratory.methods.lora import Lora
from loratory.progress import Silent
from loratory.tasks.classification import Classification
from loratory.tuning import likelihood
from loratory.tuning.fused.layers import Layers
from loratory.tuning.likelihood import Query, loglikelihoods
from loratory.tuning.model import load
from loratory.tuning.predict import predict

# Of one token and of many; the last is the beginning of another.
LABELS = ("negative", "a", "positive quick brown fox", "the", "the lazy dog")


def naive(model, spec, prompt, answer) -> float:
    """Sum log p of the answer, token after token."""
    with torch.no_grad():
        if spec.family == "seq2seq":
            start = model.config.decoder_start_token_id
            logits = model(
                input_ids=torch.tensor([prompt]),
                decoder_input_ids=torch.tensor([[start, *answer[:-1]]]),
            ).logits[0]
        else:
            logits = model(torch.tensor([prompt + answer[:-1]])).logits[0, len(prompt) - 1 :]
    chances = logits.double().log_softmax(-1)
    return sum(float(chances[i, token]) for i, token in enumerate(answer))


@pytest.mark.parametrize("name", few(["llama", "gpt2", "t5", "bart"], ("llama", "t5")))
def test_log_likelihoods_are_those_of_full_forward_passes(name, tiny_models):
    spec = tiny.spec(tiny_models(name), classify=True)
    model = load(spec, (), 0).model
    encoder = tiny.encoder(spec, Classification(labels=LABELS))
    examples = tiny.examples(6, labels=True)
    prompts = [row.prompt for row in encoder.all(examples)]
    answers = [encoder.choices(example) for example in examples]
    assert len({len(prompt) for prompt in prompts}) > 2
    assert len({len(answer) for answer in answers[0]}) > 2
    expected = [
        [naive(model, spec, prompt, answer) for answer in choices]
        for prompt, choices in zip(prompts, answers, strict=True)
    ]
    for batch_size in (1, 4, 6):
        asked = [Query(*pair) for pair in zip(prompts, answers, strict=True)]
        found = dict(loglikelihoods(model, spec, asked, batch_size))
        for i, values in enumerate(expected):
            assert [x.loglikelihood for x in found[i]] == pytest.approx(values, abs=1e-4)


@pytest.mark.parametrize("adapted", [False, True])
def test_layers_laid_out_find_what_the_model_does(adapted, tiny_models, monkeypatch):
    spec = tiny.spec(tiny_models("llama"), classify=True)
    model = load(spec, (), 0).model
    if adapted:
        model = Lora(r=3).attach(model, spec.family, 1, ())
        tiny.shaken(model, 5, 0.5)
        model.eval()
    encoder = tiny.encoder(spec, Classification(labels=LABELS))
    examples = tiny.examples(6, labels=True)
    asked = [
        Query(row.prompt, encoder.choices(example))
        for row, example in zip(encoder.all(examples), examples, strict=True)
    ]
    asked += [Query([5], [[6], [7, 8]]), Query(asked[0].context, [[9, 4], [3]])]
    judged = []
    judge = Layers.judge
    monkeypatch.setattr(
        Layers, "judge", lambda self, *given: judged.append(given[0]) or judge(self, *given)
    )
    plain = dict(loglikelihoods(model, spec, asked, 4))
    assert not judged  # so few tokens do not pay
    monkeypatch.setattr(likelihood, "MANY", 0)
    laid = dict(loglikelihoods(model, spec, asked, 4))
    assert len(judged) > 1
    assert sum(map(len, judged)) < sum(one.length for one in asked)  # what they begin with, once
    for i, found in plain.items():
        assert [x.greedy for x in laid[i]] == [x.greedy for x in found]
        expected = [x.loglikelihood for x in found]
        assert [x.loglikelihood for x in laid[i]] == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_a_decoder_that_takes_no_trees_answers_from_a_repeated_cache(name, tiny_models):
    spec = tiny.spec(tiny_models(name), classify=True)
    model = load(spec, (), 0).model
    encoder = tiny.encoder(spec, Classification(labels=LABELS))
    examples = tiny.examples(6, labels=True)
    asked = [
        Query(row.prompt, encoder.choices(example))
        for row, example in zip(encoder.all(examples), examples, strict=True)
    ]
    assert likelihood._takes_trees(model)
    trees = dict(loglikelihoods(model, spec, asked, 4))
    model.set_attn_implementation("eager")  # its masks are other ones
    assert not likelihood._takes_trees(model)
    caches = dict(loglikelihoods(model, spec, asked, 4))
    for i, found in trees.items():
        assert [x.greedy for x in caches[i]] == [x.greedy for x in found]
        expected = [x.loglikelihood for x in found]
        assert [x.loglikelihood for x in caches[i]] == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("name", ["llama", "gpt2", "t5", "bert", "distilbert", "llama with head"])
def test_probabilities_sum_to_one_and_point_at_the_class(name, tiny_models):
    head = name in ("bert", "distilbert", "llama with head")
    family = "classifier" if head else "auto"
    spec = tiny.spec(tiny_models(name.split()[0]), classify=True, family=family)
    model = load(spec, LABELS, 0).model
    encoder = tiny.encoder(spec, Classification(labels=LABELS))
    examples = tiny.examples(5, labels=True)
    found = predict(model, encoder, examples, DecodeConfig(batch_size=2), Silent(), "predict")
    assert [x.id for x in found] == [example.id for example in examples]
    for prediction, example in zip(found, examples, strict=True):
        assert math.isclose(sum(prediction.probabilities), 1, abs_tol=1e-12)
        assert len(prediction.probabilities) == len(LABELS)
        best = max(prediction.probabilities)
        assert prediction.probabilities.index(best) == prediction.predicted
        assert prediction.text == LABELS[prediction.predicted]
        assert prediction.label == example.label
    # Neither batch size nor order changes an answer.
    again = predict(model, encoder, examples[::-1], DecodeConfig(batch_size=5), Silent(), "p")
    for one, two in zip(found, again[::-1], strict=True):
        assert one.probabilities == pytest.approx(two.probabilities, abs=1e-5)
