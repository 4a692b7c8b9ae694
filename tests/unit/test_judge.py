"""Judgements of probes, held to token-by-token sums, to transformers' loss and to arithmetic."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch

import tiny
from crossed import crossed
from loratory.errors import DataError, ModelError
from loratory.metrics.likelihood import (
    ChoiceAccuracy,
    ContinuationAccuracy,
    Perplexity,
    metric_of,
)
from loratory.progress import Silent
from loratory.records import Judgement
from loratory.tasks.probes import load_probes
from loratory.tasks.probes.base import Item, Option
from loratory.tuning.judge import judge
from loratory.tuning.likelihood import Query, loglikelihoods
from loratory.tuning.model import load
from tiny_run import Run

WORDS = tiny.CORPUS.split()


def choices(n: int) -> list[Item]:
    """Questions of unequal length, with 2 to 4 options of unequal length."""
    return [
        Item(
            f"choice {i}",
            tuple(
                Option(
                    " ".join(WORDS[i : i + 3 + 2 * (i % 4)]), f" {' '.join(WORDS[k : k + size])}"
                )
                for k, size in zip(range(i, i + 2 + i % 3), (1, 4, 2, 6), strict=False)
            ),
            gold=i % 2,
        )
        for i in range(n)
    ]


def mixed() -> list[Item]:
    gap = (Option("a cat sat on the", " mat."), Option("the quick brown", " mat."))
    return [
        *choices(7),
        Item("gap", gap, gold=1),
        Item("cloze", (Option("the quick brown fox jumps over the", " lazy dog"),), greedy=True),
        Item("text", (Option("", tiny.CORPUS),)),
        Item("short text", (Option("", "a cat"),)),
    ]


def judged(model, spec, items, batch_size=4, max_tokens=64):
    return judge(
        model,
        spec,
        items,
        batch_size=batch_size,
        max_tokens=max_tokens,
        progress=Silent(),
        title="judge",
    )


def values(judgements) -> np.ndarray:
    return np.concatenate([item.loglikelihoods for item in judgements])


def naive(model, spec, option: Option, max_tokens: int) -> tuple[float, int, bool]:
    """Sum log p of an option, one forward pass for it alone."""
    tok = spec.tokenizer
    if spec.family == "seq2seq":
        first = tok.eos_token_id if tok.bos_token_id is None else tok.bos_token_id
        context = tok(option.context)["input_ids"] if option.context else [first]
        text = option.text.strip()
        ids = tok(text, add_special_tokens=False)["input_ids"]
    else:
        context = tok(option.context)["input_ids"] or [tok.bos_token_id or tok.eos_token_id]
        ids = tok(option.context + option.text)["input_ids"][len(context) :]
        if not option.context:
            context = [tok.bos_token_id]
            ids = tok(option.text, add_special_tokens=False)["input_ids"][:max_tokens]
    with torch.no_grad():
        if spec.family == "seq2seq":
            ids = ids if option.context else ids[:max_tokens]
            start = model.config.decoder_start_token_id
            logits = model(
                input_ids=torch.tensor([context]),
                decoder_input_ids=torch.tensor([[start, *ids[:-1]]]),
            ).logits[0]
        else:
            logits = model(torch.tensor([context + ids[:-1]])).logits[0, len(context) - 1 :]
    chances = logits.double().log_softmax(-1)
    total = sum(float(chances[i, token]) for i, token in enumerate(ids))
    return total, len(ids), logits.argmax(-1).tolist() == ids


@crossed(name=["llama", "gpt2", "t5", "bart"], batch_size=[1, 4, 16])
def test_likelihoods_are_those_of_one_forward_pass_each(name, batch_size, tiny_models):
    spec = tiny.spec(tiny_models(name))
    model = load(spec, (), 0).model
    items = mixed()
    found = judged(model, spec, items, batch_size)
    assert [item.id for item in found] == [item.id for item in items]
    for item, judgement in zip(items, found, strict=True):
        expected = [naive(model, spec, option, 64) for option in item.options]
        assert judgement.loglikelihoods == pytest.approx(
            [nats for nats, _, _ in expected], abs=1e-4
        )
        assert judgement.tokens == tuple(count for _, count, _ in expected)
        assert judgement.greedy == (expected[0][2] if item.greedy else None)
        assert judgement.gold == item.gold
        if not item.plain:
            assert judgement.characters == tuple(len(o.text.strip()) for o in item.options)


def test_a_tokenizer_that_puts_a_first_token_keeps_it(tiny_models, tmp_path):
    spec = tiny.spec(tiny_models("llama"))
    spec = dataclasses.replace(spec, tokenizer=tiny.tokenizer(bos=True))
    model = load(spec, (), 0).model
    for item, judgement in zip(choices(3), judged(model, spec, choices(3)), strict=True):
        expected = [naive(model, spec, option, 64)[0] for option in item.options]
        assert judgement.loglikelihoods == pytest.approx(expected, abs=1e-4)
    text = Item("text", (Option("", "the lazy dog"),))
    ids = spec.tokenizer("the lazy dog")["input_ids"]  # <s> first
    with torch.no_grad():
        loss = model(torch.tensor([ids]), labels=torch.tensor([ids])).loss
    (found,) = judged(model, spec, [text])
    assert -found.loglikelihoods[0] / found.tokens[0] == pytest.approx(float(loss), abs=1e-5)


def test_perplexity_is_that_of_transformers_own_loss(tiny_models):
    spec = tiny.spec(tiny_models("llama"))
    model = load(spec, (), 0).model
    texts = [tiny.CORPUS, "the quick brown fox", "naïve café, 3 €"]
    found = judged(model, spec, [Item(str(i), (Option("", t),)) for i, t in enumerate(texts)])
    nats, count, size = 0.0, 0, 0
    for text in texts:
        ids = spec.tokenizer(text)["input_ids"][:64]
        row = torch.tensor([[spec.tokenizer.bos_token_id, *ids]])
        with torch.no_grad():
            nats += float(model(row, labels=row).loss) * len(ids)  # a mean over the next tokens
        count += len(ids)
        size += len(spec.tokenizer.decode(ids).encode())
    values = Perplexity().reduce(Perplexity().statistics(found).sum(axis=0))
    assert values["perplexity"] == pytest.approx(math.exp(nats / count), rel=1e-5)
    assert values["bits_per_byte"] == pytest.approx(nats / size / math.log(2), rel=1e-5)


def test_texts_are_cut_and_their_bytes_with_them(tiny_models):
    spec = tiny.spec(tiny_models("llama"))
    model = load(spec, (), 0).model
    item = Item("text", (Option("", tiny.CORPUS),))
    (found,) = judged(model, spec, [item], max_tokens=5)
    ids = spec.tokenizer(tiny.CORPUS)["input_ids"][:5]
    assert found.tokens == (5,)
    assert found.characters == (len(spec.tokenizer.decode(ids)),)


def test_a_context_beyond_the_models_places_loses_its_beginning(tiny_models):
    spec = tiny.spec(tiny_models("gpt2"))
    model = load(spec, (), 0).model
    long = " ".join(WORDS * 60)
    ids = spec.tokenizer(long + " dog")["input_ids"]
    assert len(ids) > spec.positions
    item = Item("long", (Option(long, " dog"), Option(long, " cat")), gold=0)
    (found,) = judged(model, spec, [item])
    target = spec.tokenizer(" dog")["input_ids"]
    kept = ids[-spec.positions - 1 :]
    with torch.no_grad():
        chances = model(torch.tensor([kept[:-1]])).logits[0].double().log_softmax(-1)
    expected = sum(float(chances[-len(target) + i, t]) for i, t in enumerate(target))
    # The options share the shorter of the contexts, so they lose no more than a token or two.
    assert found.loglikelihoods[0] == pytest.approx(expected, abs=0.05)
    with pytest.raises(ModelError, match=r"huge: option 1 has .* tokens, and .* 1 to 1024"):
        judged(model, spec, [Item("huge", (Option("a", f" {long}"),), greedy=True)])


def test_it_agrees_with_the_likelihood_of_label_words(tiny_models):
    """The tokens are those of `Encoder`, less the end token, which no raw text has."""
    spec = tiny.spec(tiny_models("gpt2"))
    model = load(spec, (), 0).model
    item = choices(4)[3]
    contexts = spec.tokenizer(item.options[0].context)["input_ids"]
    answers = [spec.tokenizer(option.text)["input_ids"] for option in item.options]
    ((_, expected),) = loglikelihoods(model, spec, [Query(contexts, answers)], 1)
    (found,) = judged(model, spec, [item])
    assert found.loglikelihoods == pytest.approx([x.loglikelihood for x in expected], abs=1e-4)


@pytest.mark.parametrize("method", ["lora", "prompt"])
def test_an_adapter_is_heard_and_at_its_start_changes_nothing(method, tiny_models, tmp_path):
    from loratory.methods.lora import Lora
    from loratory.methods.prompt_tuning import PromptTuning

    chosen = Lora(r=2) if method == "lora" else PromptTuning(num_virtual_tokens=3)
    run = Run(tiny_models("llama"), tmp_path, method=chosen)
    items = choices(4)
    base = values(judged(load(run.spec, (), 0).model, run.spec, items))
    if method == "lora":
        start = values(judged(run.model, run.spec, items))
        assert start == pytest.approx(base, abs=1e-5)
    tiny.shaken(run.model, 3, 0.3)
    moved = judged(run.model, run.spec, items)
    assert np.abs(values(moved) - base).max() > 0.1
    with run.model.disable_adapter():
        assert values(judged(run.model, run.spec, items)) == pytest.approx(base, abs=1e-5)
    # One by one gives the same with an adapter too.
    again = judged(run.model, run.spec, items, batch_size=1)
    for one, two in zip(moved, again, strict=True):
        assert one.loglikelihoods == pytest.approx(two.loglikelihoods, abs=1e-4)


def test_a_head_is_refused_and_so_is_what_is_not_a_number(tiny_models):
    spec = tiny.spec(tiny_models("bert"), classify=True)
    model = load(spec, ("a", "b"), 0).model
    with pytest.raises(ModelError, match="a classification head gives no likelihood of texts"):
        judged(model, spec, choices(1))
    spec = tiny.spec(tiny_models("llama"))
    model = load(spec, (), 0).model
    with torch.no_grad():
        next(model.parameters()).fill_(math.nan)
    with pytest.raises(ModelError, match=r"choice 0: .* not a number"):
        judged(model, spec, choices(1))


def made(nats, tokens=None, characters=None, **fields) -> Judgement:
    ones = (1,) * len(nats)
    return Judgement("x", tuple(nats), tokens or ones, characters or ones, **fields)


@pytest.mark.parametrize(
    ("row", "raw", "by_length"),
    [
        (made([-2.0, -3.0], characters=(2, 6), gold=1), 0, 1),  # -1.0 against -0.5 a character
        (made([-2.0, -3.0], characters=(2, 6), gold=0), 1, 0),
        (made([-2.0, -2.0], characters=(3, 3), gold=0), 1, 1),  # a tie: the first
        (made([-2.0, -2.0], characters=(3, 3), gold=1), 0, 0),
        (made([-1.0, -2.0], characters=(0, 4), gold=1), 0, 1),  # an option without characters
    ],
)
def test_choices_are_ranked_as_they_are_and_for_their_length(row, raw, by_length):
    assert ChoiceAccuracy().statistics([row]).tolist() == [[1, raw, by_length]]


def test_the_metrics_are_what_their_definitions_say():
    texts = [made([-6.0], (3,), (12,)), made([-2.0], (1,), (4,))]
    found = Perplexity().reduce(Perplexity().statistics(texts).sum(axis=0))
    assert found["perplexity"] == pytest.approx(math.exp(8 / 4))
    assert found["bits_per_byte"] == pytest.approx(8 / 16 / math.log(2))
    lost = [made([-6.0], (3,), greedy=False), made([-2.0], (2,), greedy=True)]
    found = ContinuationAccuracy().reduce(ContinuationAccuracy().statistics(lost).sum(axis=0))
    assert found["accuracy"] == 0.5
    assert found["perplexity"] == pytest.approx(math.exp(8 / 2))  # of items, not of tokens
    huge = Perplexity().reduce(np.array([1e9, 1.0, 1.0]))
    assert np.isfinite(huge["perplexity"])


def test_the_metric_goes_by_what_the_judgements_hold():
    assert isinstance(metric_of([made([-1.0])]), Perplexity)
    assert isinstance(metric_of([made([-1.0], greedy=False)]), ContinuationAccuracy)
    assert isinstance(metric_of([made([-1.0, -2.0], gold=0)]), ChoiceAccuracy)
    with pytest.raises(DataError, match="items are of several kinds"):
        metric_of([made([-1.0]), made([-1.0], gold=0)])
    with pytest.raises(DataError, match="at least one item"):
        metric_of([])


@pytest.mark.slow
def test_a_real_model_is_well_above_chance_on_the_embedded_probes():
    spec = tiny.spec("embedded:smollm2-135m", dtype="bfloat16")
    model = load(spec, (), 0).model
    probes = load_probes(["embedded:text", "embedded:choices"], 60, 0)
    values = {}
    for items in probes.values():
        found = judged(model, spec, items, 8, 128)
        metric = metric_of(found)
        values |= metric.reduce(metric.statistics(found).sum(axis=0))
    assert 0.4 < values["accuracy"] < 0.8  # 0.25 is chance
    assert 10 < values["perplexity"] < 50
