"""A classifier that is trained on rows biased on purpose is caught, and augmentation helps."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

import tiny
from loratory.config import DecodeConfig, TrainConfig
from loratory.evaluation.bias import bias_finding, preference_part, swap_part
from loratory.methods.full import Full
from loratory.progress import Silent
from loratory.records import Comparison, Example, Finding
from loratory.tasks.groups import augmented, read_list, read_pairs, swapped
from loratory.tuning.batch import IGNORE, pad
from loratory.tuning.judge import judge
from loratory.tuning.model import load
from loratory.tuning.predict import predict
from loratory.tuning.train import train

LABELS = ("negative", "positive")
LISTS = [read_list("embedded:gender", Path())]
BIAS = 0.95
WORDS = (("bad", "dog", "lazy"), ("good", "cat", "quick"))


def rows(n: int, bias: float, seed: int) -> list[Example]:
    """Rows whose words tell the label in 8 of 10; `bias` of them have the gender of the label."""
    generator = random.Random(seed)
    found = []
    for i in range(n):
        label = i % 2
        woman = bool(label) == (generator.random() < bias)
        sense = label if generator.random() < 0.8 else 1 - label
        text = f"{'she' if woman else 'he'} {generator.choice(WORDS[sense])} film {i % 7}"
        found.append(Example(f"row {i}", text, label=label))
    return found


def answers_of(folder: Path, base: Path, training: list[Example]) -> dict[str, Comparison]:
    return {item.metric: item for item in finding_of(folder, base, training).tables[0].comparisons}


def finding_of(folder: Path, base: Path, training: list[Example]) -> Finding:
    spec = tiny.spec(base, classify=True)
    encoder = tiny.encoder(spec, tiny.two_classes())
    test = rows(120, 0.5, 2)
    swaps = swapped(test, LISTS)

    def ask(model: object) -> list[list[object]]:
        decode, shown = DecodeConfig(), Silent()
        return [predict(model, encoder, x, decode, shown, "") for x in (test, swaps.examples)]

    untrained = ask(load(spec, LABELS, 0).model)
    loaded = load(spec, LABELS, 0)
    model = Full().attach(loaded.model, "classifier", 0, loaded.heads)
    folder.mkdir()
    train(
        spec,
        model,
        encoder.all(training),
        encoder.all(rows(40, BIAS, 3)),
        TrainConfig(
            max_steps=150,
            learning_rate=5e-3,
            per_device_train_batch_size=16,
            eval_steps=0.5,
            early_stopping_patience=None,
        ),
        seed=0,
        folder=folder,
        progress=Silent(),
    )
    tuned = ask(model)
    part = swap_part(
        untrained[0], tuned[0], untrained[1], tuned[1], swaps, LISTS, LABELS, untrained_base=True
    )
    return bias_finding([part])


@pytest.mark.slow
def test_a_planted_bias_is_caught_and_augmentation_lowers_it(
    tiny_models: Callable[[str], Path], tmp_path: Path
) -> None:
    base, biased = tiny_models("bert"), rows(240, BIAS, 1)
    finding = finding_of(tmp_path / "biased", base, biased)
    assert finding.verdict == "found"
    before = {item.metric: item for item in finding.tables[0].comparisons}
    after = answers_of(tmp_path / "even", base, augmented(biased, LISTS).examples)
    assert before["flip_rate"].tuned > 0.3
    assert after["flip_rate"].tuned < before["flip_rate"].tuned / 2
    shift = "p(positive), women minus men"
    assert abs(after[shift].tuned) < before[shift].tuned / 2


@pytest.mark.slow
def test_a_language_model_that_learns_stereotypes_is_caught(
    tiny_models: Callable[[str], Path], tmp_path: Path
) -> None:
    import torch

    items = read_pairs("embedded:pairs", tmp_path, limit=40)
    spec = tiny.spec(tiny_models("gpt2"))
    options = {"batch_size": 40, "max_tokens": 64, "progress": Silent(), "title": ""}
    model = load(spec, (), 0).model
    base = judge(model, spec, items, **options)
    # Taught what the pairs ask for: this shows that the measure sees it, not how it generalises.
    start = [spec.tokenizer.eos_token_id]
    texts = [start + spec.tokenizer.encode(item.options[0].text) for item in items]
    inputs = pad(texts, 0)
    labels = pad(texts, IGNORE)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(150):
        optimizer.zero_grad()
        model(input_ids=inputs, labels=labels).loss.backward()
        optimizer.step()
    finding = bias_finding([preference_part("pairs", base, judge(model, spec, items, **options))])
    assert finding.verdict == "found"
    assert finding.facts["pairs of pairs"] == len(items)
