"""The gate: what passes, what does not, and that silence does not."""

from __future__ import annotations

import pytest

from loratory.errors import ConfigError
from loratory.evaluation.gate import bias_check, forgetting_check, gain_check, leakage_check
from loratory.records import Comparison, Finding


def comparison(metric="rougeLsum", difference=0.05, verdict="improved", **changes):
    values = {
        "metric": metric,
        "base": 0.2,
        "tuned": 0.2 + difference,
        "difference": difference,
        "low": difference - 0.01,
        "high": difference + 0.01,
        "n": 100,
        "signature": f"{metric}|v:1",
        "verdict": verdict,
    }
    return Comparison(**{**values, **changes})


def finding(question, verdict="no sign", **facts):
    return {question: Finding(question, verdict, (f"About {question}.",), facts=facts)}


@pytest.mark.parametrize(
    ("item", "least", "passed"),
    [
        (comparison(), 0, True),
        (comparison(), 5, True),
        (comparison(), 5.5, False),
        (comparison(verdict="no evidence"), 0, False),
        (comparison(verdict="test too small"), 0, False),
        (comparison(difference=-0.05, verdict="worse"), -10, False),
        (comparison("nll", -0.3, lower_is_better=True), 0.25, True),
        (comparison("nll", -0.3, lower_is_better=True), 0.35, False),
        (comparison(difference=0.05, verdict=None), 0, True),
    ],
)
def test_a_gain_must_be_a_finding_and_large_enough(item, least, passed):
    check = gain_check([item], item.metric, least)
    assert check.passed is passed and check.sentence.startswith(item.metric)


def test_an_undefined_gain_does_not_pass():
    item = comparison(verdict=None, reason="one class alone")
    item = Comparison(**{**vars(item), "difference": None, "low": None, "high": None})
    check = gain_check([item], "rougeLsum", 0)
    assert not check.passed and "one class alone" in check.sentence


@pytest.mark.parametrize("metric", ["words", "rougeLSum", ""])
def test_an_unknown_metric_is_one_sentence(metric):
    items = [comparison(), comparison("words", descriptive=True)]
    with pytest.raises(ConfigError, match=r"^--metric: unknown .*rougeLsum"):
        gain_check(items, metric, 0)


@pytest.mark.parametrize(
    ("facts", "most", "passed"),
    [
        ({"largest_accuracy_drop": 0.04, "largest_perplexity_rise": 0.01}, 5, True),
        ({"largest_accuracy_drop": 0.04, "largest_perplexity_rise": 0.06}, 5, False),
        ({"largest_accuracy_drop": 0.051, "largest_perplexity_rise": None}, 5, False),
        ({"largest_accuracy_drop": None, "largest_perplexity_rise": -0.2}, 0, True),
        ({"largest_accuracy_drop": None, "largest_perplexity_rise": None}, 100, False),
        ({}, 100, False),
    ],
)
def test_forgetting(facts, most, passed):
    assert forgetting_check(finding("forgetting", **facts), most).passed is passed


@pytest.mark.parametrize(("growth", "passed"), [(0.02, True), (0.031, False), (-0.1, True)])
def test_bias(growth, passed):
    assert bias_check(finding("bias", largest_growth=growth), 3).passed is passed


@pytest.mark.parametrize(
    ("verdict", "passed"),
    [("no sign", True), ("found", False), ("too little to tell", False), ("not measured", False)],
)
def test_leakage(verdict, passed):
    assert leakage_check(finding("leakage", verdict)).passed is passed


def test_what_nobody_measured_does_not_pass():
    for check in (forgetting_check({}, 100), bias_check({}, 100), leakage_check({})):
        assert not check.passed and "nobody looked" in check.sentence
    told = bias_check(finding("bias", "not measured"), 100)
    assert not told.passed and "About bias." in told.sentence
