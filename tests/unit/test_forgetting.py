"""The finding on forgetting: found when it is there, and never where it cannot be told."""

from __future__ import annotations

import dataclasses
import json
import math
from itertools import pairwise

import numpy as np
import pytest

from loratory.codec import dump, from_dict, to_dict
from loratory.errors import DataError
from loratory.evaluation.forgetting import forgetting, not_measured
from loratory.evaluation.forgetting.losses import ACCURACY_DROP, FEWEST, Loss, losses
from loratory.records import Finding, Judgement

LIGHT = {"resamples": 300, "trials": 500}


def texts(n: int, nats: float, seed: int, noise: float = 0.2) -> list[Judgement]:
    """Texts of 100 tokens; the same `seed` has the same texts, harder or easier by `nats`."""
    generator = np.random.default_rng(seed)
    own = 3.0 + generator.normal(0, 0.5, n)
    change = generator.normal(0, noise, n)
    return [
        Judgement(f"t{i}", (-100 * float(own[i] + nats + change[i] * (nats != 0)),), (100,), (450,))
        for i in range(n)
    ]


def choices(right: list[bool]) -> list[Judgement]:
    """Items of four options of one length; the first is right."""
    return [
        Judgement(
            f"c{i}",
            (-1.0 if hit else -9.0, -5.0, -6.0, -7.0),
            (1,) * 4,
            (1,) * 4,
            gold=0,
        )
        for i, hit in enumerate(right)
    ]


def hits(n: int, share: float) -> list[bool]:
    return [i < round(n * share) for i in range(n)]


def one(finding: Finding, metric: str) -> dict:
    return next(item for item in finding.facts["losses"] if item["metric"] == metric)


def test_a_real_loss_of_both_kinds_is_found():
    before, after = hits(300, 0.8), [hit and i % 4 > 0 for i, hit in enumerate(hits(300, 0.8))]
    probes = {
        "text": (texts(80, 0.0, 1), texts(80, 0.4, 1)),
        "choices": (choices(before), choices(after)),
    }
    found = forgetting(probes, **LIGHT)
    assert found.question == "forgetting" and found.verdict == "found"
    assert "has cost the model something" in found.sentences[0]
    assert "text and choices" in found.sentences[0]
    assert "remedy.kl_weight" in found.sentences[-1]
    assert one(found, "perplexity")["loss"] == pytest.approx(math.exp(0.4) - 1, abs=0.05)
    assert one(found, "accuracy")["loss"] == pytest.approx(0.2)
    assert found.facts["largest_accuracy_drop"] == pytest.approx(0.2)
    assert [table.title for table in found.tables] == ["text", "choices"]
    assert [c.metric for c in found.tables[0].comparisons] == ["perplexity", "bits_per_byte"]
    assert from_dict(Finding, json.loads(dump(to_dict(found))), "x") == found


def test_equal_models_show_no_sign():
    probes = {
        "text": (texts(80, 0.0, 1), texts(80, 0.0, 1)),
        "choices": (choices(hits(200, 0.6)), choices(hits(200, 0.6))),
    }
    found = forgetting(probes, **LIGHT)
    assert found.verdict == "no sign"
    assert found.sentences[0].startswith("No sign of forgetting")
    assert all("no change" in sentence for sentence in found.sentences[1:])
    assert "nan" not in " ".join(found.sentences).lower()


def test_a_gain_is_no_sign_of_forgetting():
    found = forgetting({"text": (texts(80, 0.0, 1), texts(80, -0.3, 1))}, **LIGHT)
    assert found.verdict == "no sign" and "better" in found.sentences[1]
    assert found.facts["largest_perplexity_rise"] < 0


@pytest.mark.parametrize("n", [1, 2, FEWEST - 1])
def test_a_handful_of_items_tells_nothing_however_bad(n):
    probes = {"text": (texts(n, 0.0, 1), texts(n, 2.0, 1))}
    found = forgetting(probes, **LIGHT)
    assert found.verdict == "too little to tell"
    assert f"With fewer than {FEWEST} items nothing is said" in found.sentences[1]


def test_a_small_test_says_how_many_items_would_do():
    before = hits(40, 0.7)
    after = [i >= 4 and (hit or i >= 37) for i, hit in enumerate(before)]  # 4 lost, 3 gained
    found = forgetting({"c": (choices(before), choices(after))}, **LIGHT)
    assert found.verdict == "too little to tell"
    loss = one(found, "accuracy")
    assert loss["detectable"] > ACCURACY_DROP and loss["items_needed"] > 40
    assert f"{loss['items_needed']:,} items" in found.sentences[1]


def test_no_change_among_few_items_does_not_rule_a_loss_out():
    """The bootstrap would give [0, 0]; of 40 items none changes at a true share of 8% too."""
    (few, few_tuned), (many, many_tuned) = (
        (rows, [dataclasses.replace(r, loglikelihoods=(*r.loglikelihoods[:3], -8.0)) for r in rows])
        for rows in (choices(hits(40, 0.6)), choices(hits(400, 0.6)))
    )
    assert forgetting({"c": (few, few_tuned)}, **LIGHT).verdict == "too little to tell"
    assert forgetting({"c": (few, few)}, **LIGHT).verdict == "no sign"  # one and the same model
    found = forgetting({"c": (many, many_tuned)}, **LIGHT)
    assert found.verdict == "no sign"
    assert 0 < one(found, "accuracy")["high"] < ACCURACY_DROP


def test_a_base_model_at_chance_has_nothing_to_lose():
    probes = {
        "text": (texts(80, 0.0, 1), texts(80, 0.0, 1)),
        "c": (choices(hits(200, 0.25)), choices(hits(200, 0.25))),
    }
    found = forgetting(probes, **LIGHT)
    assert found.verdict == "no sign"  # of the text alone
    assert "no better than chance here (25%)" in found.sentences[2]
    alone = forgetting({"c": probes["c"]}, **LIGHT)
    assert alone.verdict == "too little to tell"
    assert alone.facts["largest_accuracy_drop"] is None
    never = [Judgement(f"l{i}", (-5.0,), (1,), (4,), greedy=False) for i in range(50)]
    found = forgetting({"l": (never, never)}, **LIGHT)
    assert any("next to none of them right" in sentence for sentence in found.sentences)


def test_a_model_that_is_wholly_lost_gives_finite_numbers():
    lost = [dataclasses.replace(item, loglikelihoods=(-9e4,)) for item in texts(50, 0.0, 1)]
    found = forgetting({"text": (texts(50, 0.0, 1), lost)}, **LIGHT)
    assert found.verdict == "found"
    dump(to_dict(found))  # refuses what is not finite
    assert max(map(len, found.sentences)) < 600


def test_an_insignificant_loss_beyond_the_size_is_not_found():
    """Holm: with many numbers, one that is just significant by itself does not count."""
    # 10 items lost, 2 gained of 120: 6.7 points, p about 0.04.
    before = [i >= 2 for i in range(120)]
    after = [hit if i >= 12 else not hit for i, hit in enumerate(before)]
    single = choices(before), choices(after)
    (loss, _) = _losses({"a": single})
    assert 0.01 < loss.p < 0.1 and loss.value > ACCURACY_DROP
    many = {f"p{i}": single if not i else (single[0], single[0]) for i in range(6)}
    assert _losses(many)[0].p > loss.p
    assert _losses(many)[0].verdict != "found"


def _losses(probes) -> list[Loss]:
    return losses(probes, forgetting(probes, **LIGHT).tables, resamples=300)


def test_false_alarms_stay_under_their_rate():
    """Two models that differ by chance alone: at most 5% of findings, over both kinds of probe."""
    generator = np.random.default_rng(5)
    alarms = 0
    for _ in range(60):
        flips = generator.random(100) < 0.3
        before = generator.random(100) < 0.6
        after = np.where(flips, generator.random(100) < 0.6, before)
        noise = generator.normal(0, 0.25, (2, 60))
        both = [
            [Judgement(f"{i}", (-50 * float(3 + x),), (50,), (200,)) for i, x in enumerate(side)]
            for side in noise
        ]
        probes = {"c": (choices(list(before)), choices(list(after))), "t": (both[0], both[1])}
        verdict = forgetting(probes, resamples=200, trials=300).verdict
        alarms += verdict == "found"
    assert alarms <= 6  # of 60 at 5% or less: more than 6 comes less than once in 20 tries


def test_more_items_never_need_more_to_detect():
    detectable = [
        _losses({"t": (texts(n, 0.0, 3), texts(n, 0.02, 3))})[0].detectable for n in (30, 120, 480)
    ]
    assert all(late < early for early, late in pairwise(detectable))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda rows: rows[:-1], "the base model judged 30 items, the tuned one 29"),
        (lambda rows: rows[::-1], "item 't0' of one is 't29' of the other"),
        (
            lambda rows: [dataclasses.replace(rows[0], tokens=(99,)), *rows[1:]],
            "item 't0' has other options, or other tokens",
        ),
    ],
)
def test_judgements_of_other_items_are_refused(change, said):
    rows = texts(30, 0.0, 1)
    with pytest.raises(DataError, match=f"text: .*{said}"):
        forgetting({"text": (rows, change(rows))}, **LIGHT)


def test_what_is_not_measured_says_why():
    found = not_measured("the model has a classification head.")
    assert found.verdict == "not measured"
    assert found.sentences == ("Forgetting was not measured: the model has a classification head.",)
    assert forgetting({}).verdict == "not measured"
    with pytest.raises(DataError, match="text: no judgements"):
        forgetting({"text": ([], [])})
