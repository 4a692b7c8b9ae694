"""Overfitting: a rise, a gap and repeated targets are told; noise, few rows and ties are not."""

from __future__ import annotations

import dataclasses
import json
import random

import numpy as np
import pytest

from loratory.codec import from_dict, to_dict
from loratory.errors import DataError
from loratory.evaluation.overfitting import RowLosses, overfitting, read_losses
from loratory.evaluation.overfitting.copies import copied_share, memorised, sequences
from loratory.methods.full import Full
from loratory.metrics.shingles import compared_words
from loratory.records import Example, Finding, Prediction
from tiny_run import Run


def losses(step, validation, training, rows=40, noise=0.05, seed=0):
    """Rows of ten tokens each whose losses lie about the given means."""
    draw = np.random.default_rng(seed)  # the same rows are hard at every step
    spread = [draw.normal(0, 0.3, rows), draw.normal(0, 0.3, rows)]
    draw = np.random.default_rng([seed, step])
    found = []
    for mean, hard in zip((validation, training), spread, strict=True):
        values = mean + (hard - hard.mean()) + draw.normal(0, noise, rows)
        found += [tuple((10 * values).tolist()), (10,) * rows]
    return RowLosses(step, *found)


def test_a_rise_beyond_noise_is_overfitting():
    curve = [losses(10, 2.5, 2.4), losses(20, 2.0, 1.9), losses(30, 2.2, 1.7), losses(40, 2.6, 1.6)]
    finding = overfitting(curve, 20)
    assert finding.verdict == "found" and finding.question == "overfitting"
    assert "Validation loss fell to 1.9" in finding.sentences[0]
    assert "at step 20 and was 2.5" in finding.sentences[0]
    assert "The adapter kept is that of step 20, before the rise." in finding.sentences[0]
    rise = finding.tables[0].comparisons[0]
    assert rise.low > 0 and rise.n == 40 and rise.lower_is_better
    assert [point["step"] for point in finding.facts["curve"]] == [10, 20, 30, 40]
    assert from_dict(Finding, json.loads(json.dumps(to_dict(finding))), "here") == finding


def test_what_was_kept_by_another_measure_is_told():
    curve = [losses(10, 2.0, 1.9), losses(20, 3.0, 1.9)]
    assert "that of step 20, not of the lowest loss" in " ".join(overfitting(curve, 20).sentences)


@pytest.mark.parametrize(
    ("last", "noise", "says"),
    [
        (2.005, 0.2, "no more than noise"),
        (2.04, 0.01, "less than 5% of it"),  # far from noise, and of no consequence
        (1.9, 0.05, "Longer training may lower it further"),
    ],
)
def test_a_sound_course_is_no_sign(last, noise, says):
    curve = [
        losses(i, mean, mean - 0.1, noise=noise) for i, mean in ((1, 2.5), (2, 2.0), (3, last))
    ]
    finding = overfitting(curve, 2)
    assert finding.verdict == "no sign"
    assert any(says in sentence for sentence in finding.sentences)


def test_a_gap_without_a_rise_is_overfitting_too():
    curve = [losses(1, 2.0, 1.9), losses(2, 1.5, 0.3)]
    finding = overfitting(curve, 2)
    assert finding.verdict == "found"
    assert "learnt them by heart" in finding.sentences[0]
    gap = finding.tables[0].comparisons[0]
    assert gap.difference == pytest.approx(1.2, abs=0.05) and gap.low > 0
    # As a multiple it is larger here, but it is next to nothing.
    assert overfitting([losses(1, 2.0, 1.9), losses(2, 0.35, 0.28)], 2).verdict == "no sign"


def test_the_gaps_interval_holds_the_true_gap():
    """400 draws of two sets of rows whose means differ by 0.5: 95% of the intervals hold it."""
    draw = np.random.default_rng(0)
    inside = 0
    for number in range(400):
        rows = [draw.normal(mean, 0.4, 40).tolist() for mean in (2.5, 2.0)]
        one = RowLosses(1, tuple(rows[0]), (1,) * 40, tuple(rows[1]), (1,) * 40)
        finding = overfitting([one], 1, resamples=300, seed=number)
        gap = finding.tables[0].comparisons[0]
        inside += gap.low <= 0.5 <= gap.high
    # 95% less what a percentile bootstrap of 40 rows lacks; three standard errors are 3.3%.
    assert 0.90 <= inside / 400 <= 0.98


def test_few_rows_few_validations_and_none():
    few = overfitting([losses(1, 2.0, 1.0, rows=4), losses(2, 4.0, 0.1, rows=4)], 1)
    assert few.verdict == "too little to tell"
    assert "takes at least 10" in few.sentences[0] and few.tables == ()
    once = overfitting([losses(1, 2.0, 1.9)], 1)
    assert any("There was one validation" in sentence for sentence in once.sentences)


@pytest.mark.parametrize("curve", [[], [losses(1, 2.0, 1.9)]])
def test_a_run_that_kept_no_losses_is_not_measured(curve):
    none = overfitting(curve, 3)
    assert none.verdict == "not measured" and none.tables == ()
    assert none.sentences[0].startswith("The losses of step 3, whose state was kept, are missing")


def test_losses_that_do_not_belong_together_are_refused():
    with pytest.raises(DataError, match="different rows"):
        overfitting([losses(1, 2.0, 2.0), losses(2, 2.0, 2.0, rows=30)], 1)


# What answers repeat.

DRAW = random.Random(0)
WORDS = [f"w{i}" for i in range(500)]


def text(count):
    return " ".join(DRAW.choices(WORDS, k=count))


TRAIN = [Example(f"t{i}", text(30), references=(text(20),)) for i in range(30)]


def answers(texts, source="", prompt=""):
    return [
        Prediction(f"r{i}", said, references=(f"reference {i}",), source=source, prompt=prompt)
        for i, said in enumerate(texts)
    ]


def test_answers_that_repeat_targets_are_counted_beside_the_base_models():
    copies = [f"and so, {row.references[0].upper()}!" for row in TRAIN[:12]]
    base, tuned = answers([text(20) for _ in range(30)]), answers([*copies, *[text(20)] * 18])
    found = memorised(TRAIN, base, tuned)
    assert found.verdict == "found"
    assert (found.facts["base"], found.facts["tuned"]) == (0, 12)
    assert found.facts["tuned_rows"] == [f"r{i}" for i in range(12)]
    assert found.sentence.startswith("12 of 30 answers of the tuned model repeat training targets")
    assert found.table.comparisons[0].difference == pytest.approx(0.4)
    # A base model that says the same words has not learnt them here.
    assert memorised(TRAIN, tuned, tuned).verdict == "no sign"
    # Nor is it memory where people, in the references, repeat them as often.
    said = [dataclasses.replace(row, references=(row.text,)) for row in tuned]
    plain = [
        dataclasses.replace(old, references=new.references)
        for old, new in zip(base, said, strict=True)
    ]
    common = memorised(TRAIN, plain, said)
    assert (common.verdict, common.facts["references"]) == ("no sign", 12)
    finding = overfitting([losses(1, 2.0, 1.9), losses(2, 1.9, 1.8)], 2, found)
    assert finding.verdict == "found" and finding.sentences[0] == found.sentence
    assert finding.tables[-1] == found.table


TARGET = "one two three four five six seven eight nine ten"


@pytest.mark.parametrize(
    ("answer", "own", "share"),
    [
        (TARGET, [], 1.0),
        ("One, two; THREE four five six seven eight!", [], 1.0),  # exactly eight words
        ("one two three four five six seven", [], 0.0),  # one too few
        (f"{TARGET} a b c d e f g h i j", [], 0.5),
        (TARGET, [f"it says {TARGET} here"], 0.0),  # copied from its own source
        # Of its three sequences the first is in its source: the first word is no copy.
        (TARGET, ["one two three four five six seven eight"], 0.9),
        ("two one four three six five eight seven", [], 0.0),
        ("", [], 0.0),
    ],
)
def test_what_counts_as_a_copy(answer, own, share):
    targets = frozenset(sequences(compared_words(TARGET)))
    assert copied_share(answer, targets, own) == pytest.approx(share)


def test_where_repeating_tells_nothing():
    short = [Example(f"t{i}", text(9), label=i % 2) for i in range(20)]
    both = answers([text(12) for _ in range(20)])
    assert memorised(short, both, both).verdict == "not measured"
    assert memorised(TRAIN, both[:5], both[:5]).verdict == "too little to tell"
    brief = answers(["yes"] * 20)
    assert "No answer has 8 words" in memorised(TRAIN, brief, brief).sentence
    with pytest.raises(DataError, match="not in tuned"):
        memorised(TRAIN, both, both[:-1])


@pytest.mark.parametrize("deliberate", [True, False])
def test_a_real_training_that_overfits_is_flagged_and_a_sound_one_is_not(
    deliberate, tiny_models, tmp_path
):
    """Four rows, a high rate and many epochs; or one pass at a low rate, over twelve."""
    run = Run(tiny_models("llama"), tmp_path / "run", method=Full())
    rows = [*run.rows, *run.validation]
    run.rows, run.validation = rows[: 4 if deliberate else 12], rows[12:]
    rate, steps = (2e-2, 30) if deliberate else (1e-4, 9)
    done = run.train(
        learning_rate=rate,
        max_steps=steps,
        eval_steps=steps // 3,
        lr_scheduler_type="constant",
        early_stopping_patience=None,
    )
    assert read_losses(tmp_path) == []
    finding = overfitting(read_losses(run.folder), done.best_step)
    assert finding.verdict == ("found" if deliberate else "no sign"), finding.sentences
