"""What may be said of a difference, and what may not."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loratory.codec import from_dict, to_dict
from loratory.errors import ConfigError, DataError
from loratory.evaluation.compare import compare, contrast
from loratory.evaluation.repeats import compare_seeds, contrast_seeds
from loratory.evaluation.verdict import MIN_ROWS, judge
from loratory.metrics.base import Array
from loratory.metrics.classification import Classification
from loratory.metrics.generation import Length
from loratory.metrics.ratio import ratio
from loratory.records import Comparison, Prediction
from loratory.report.wording import outcome


@dataclass(frozen=True)
class Mean:
    """The mean of rows that are numbers."""

    name: str = "mean"
    lower_is_better = frozenset[str]()
    descriptive = frozenset[str]()
    undefined: Any = ()

    def value_signature(self, value: str) -> str:
        return value

    def statistics(self, rows: list[float]) -> Array:
        return np.stack([np.ones(len(rows)), np.array(rows)], axis=1)

    def reduce(self, totals: Array) -> dict[str, Array]:
        return {self.name: ratio(totals[..., 1], totals[..., 0])}


class Error(Mean):
    lower_is_better = frozenset({"mean"})


def item(p: float = 0.01, low: float = 0.01, high: float = 0.05, **more: Any) -> Comparison:
    values = {
        "metric": "rougeL",
        "base": 0.3,
        "tuned": 0.33,
        "difference": 0.03,
        "n": 400,
        "signature": "s",
        "standard_error": 0.01,
    }
    return Comparison(**{**values, "p": p, "low": low, "high": high, **more})


def labelled(right: Array, n: int) -> list[Prediction]:
    return [Prediction(str(i), "", label=0, predicted=int(not right[i])) for i in range(n)]


@pytest.mark.parametrize(
    ("found", "verdict"),
    [
        (item(), "improved"),
        (item(lower_is_better=True), "worse"),
        (item(low=-0.05, high=-0.01), "worse"),
        (item(low=-0.05, high=-0.01, lower_is_better=True), "improved"),
        # Neither alone is enough: the p value, or the interval.
        (item(p=0.06, standard_error=0.005), "no evidence"),
        (item(low=-0.001, standard_error=0.005), "no evidence"),
        # 2.8 standard errors of 0.02 are 0.056, above 0.02, which is not ruled out either.
        (item(p=0.4, low=-0.02, high=0.06, standard_error=0.02), "test too small"),
        # As wide a test, but the interval rules 0.02 out: nothing that matters changed.
        (item(p=0.9, low=-0.017, high=0.018, standard_error=0.009), "no evidence"),
        # Nine rows are too few for anything.
        (item(n=9), "test too small"),
        (item(n=1, low=None, high=None, standard_error=None, p=1.0), "test too small"),
        # The same on every row.
        (item(p=1.0, low=0.0, high=0.0, standard_error=0.0), "no evidence"),
        (item(descriptive=True), None),
        (item(p=None, difference=None, low=None, high=None), None),
    ],
)
def test_one_comparison(found: Comparison, verdict: str | None) -> None:
    (judged,) = judge([found])
    assert judged.verdict == verdict
    assert judged.improved == (verdict == "improved") and judged.worsened == (verdict == "worse")
    assert from_dict(Comparison, to_dict(judged), "here") == judged


def test_values_judged_together_are_corrected_and_descriptions_are_not_counted() -> None:
    items = [item(p=p) for p in (0.01, 0.03, 0.04)] + [item(p=0.0001, descriptive=True)]
    judged = judge(items)
    assert [j.p_adjusted for j in judged] == [pytest.approx(x) for x in (0.03, 0.06, 0.06)] + [None]
    assert [j.verdict for j in judged] == ["improved", "test too small", "test too small", None]
    assert [j.family for j in judged] == [3, 3, 3, None]
    (alone,) = judge(judged[1:2])  # judged anew, as one
    assert (alone.verdict, alone.family) == ("improved", 1)
    assert alone.detectable < judged[1].detectable  # a family makes a test less able


def test_what_matters_is_in_the_unit_of_the_metric() -> None:
    (share,) = judge([item()])
    assert share.relevant == 0.02
    (own,) = judge([item(metric="perplexity", base=30.0, tuned=29.0, difference=-1.0)])
    assert own.relevant == pytest.approx(0.6)
    (wide,) = judge([item(p=0.4, low=-0.02, high=0.06)], relevant=0.1)
    assert (wide.verdict, wide.relevant) == ("no evidence", 0.1)
    with pytest.raises(ConfigError, match="relevant: 0 is not above 0"):
        judge([item()], relevant=0)


def test_rows_needed_are_enough() -> None:
    (small,) = judge([item(p=0.4, low=-0.02, high=0.06, standard_error=0.02)])
    assert small.rows_needed is not None and small.rows_needed > small.n
    error = 0.02 * (small.n / small.rows_needed) ** 0.5
    (more,) = judge([item(n=small.rows_needed, standard_error=error)])
    assert more.detectable == pytest.approx(0.02, rel=0.01)


def test_accuracy_is_tested_by_mcnemar_and_has_an_odds_ratio() -> None:
    right = np.random.default_rng(0).random((2, 200)) < np.array([[0.5], [0.65]])
    base, tuned = (labelled(side, 200) for side in right)
    by_name = {c.metric: c for c in compare(base, tuned, [Classification()])}
    accuracy = by_name["accuracy"]
    gained = int((right[1] & ~right[0]).sum())
    lost = int((right[0] & ~right[1]).sum())
    assert (accuracy.test, accuracy.effect_kind) == ("McNemar mid-p", "odds ratio")
    assert accuracy.effect == (gained + 0.5) / (lost + 0.5)
    assert by_name["macro_f1"].test == "approximate randomisation"
    assert by_name["macro_f1"].effect_kind == "standardised difference"
    assert accuracy.improved and accuracy.family == 7  # all but ece, which is undefined


def test_equal_systems_and_equal_scores_are_no_evidence() -> None:
    for base, tuned in (([0.3] * 30, [0.3] * 30), ([0.1, 0.9] * 15, [0.1, 0.9] * 15)):
        (found,) = contrast(Mean(), base, tuned)
        assert (found.verdict, found.p, found.low, found.high) == ("no evidence", 1.0, 0.0, 0.0)
        assert found.effect == 0 and found.detectable is None
    (one,) = contrast(Mean(), [0.1], [0.7])
    assert (one.verdict, one.low, one.standard_error) == ("test too small", None, None)


def test_wrong_answers_that_are_equally_right_do_not_show_equality() -> None:
    base = [Prediction(str(i), "", label=0, predicted=1) for i in range(50)]
    tuned = [dataclasses.replace(row, predicted=2) for row in base]
    found = compare(base, tuned, [Classification()])[0]
    assert found.metric == "accuracy" and found.difference == 0 and found.p == 1
    assert found.low == -found.high != 0 and found.verdict == "test too small"


def test_descriptions_get_no_verdict() -> None:
    base = [Prediction(str(i), "a") for i in range(20)]
    tuned = [Prediction(str(i), "a b c") for i in range(20)]
    assert {c.verdict for c in compare(base, tuned, [Length()])} == {None}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["mean", "accuracy"])
def test_systems_that_do_not_differ_come_out_significant_one_time_in_twenty(kind: str) -> None:
    generator = np.random.default_rng(11)
    significant = 0
    for seed in range(1000):
        if kind == "mean":
            base, tuned = generator.beta(2, 4, size=(2, 60))
        else:
            base, tuned = (generator.random((2, 100)) < 0.5).astype(float)
        (found,) = contrast(Mean(), list(base), list(tuned), resamples=200, trials=200, seed=seed)
        significant += found.improved or found.worsened
    assert 35 <= significant <= 65


ANSWERS = st.lists(
    st.tuples(st.integers(0, 2), st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=14
)


@given(ANSWERS)
@settings(max_examples=40, deadline=None)
def test_every_number_is_finite_or_none_whatever_the_answers(
    answers: list[tuple[int, int, int]],
) -> None:
    base, tuned = (
        [Prediction(str(i), "", label=row[0], predicted=row[side]) for i, row in enumerate(answers)]
        for side in (1, 2)
    )
    for found in compare(base, tuned, [Classification()], resamples=20, trials=20):
        for value in dataclasses.astuple(found):
            assert not isinstance(value, float) or math.isfinite(value)
        assert not found.improved or (found.n >= MIN_ROWS and found.difference)
        if found.low is not None and found.high is not None and found.difference is not None:
            assert found.low - 1e-9 <= found.difference <= found.high + 1e-9
        outcome(found)


def runs(seeds: int, gain: float, n: int = 60) -> list[tuple[list[float], list[float]]]:
    generator = np.random.default_rng(3)
    base = generator.normal(size=n)
    return [
        (list(base), list(base + gain + generator.normal(0, 0.2) + generator.normal(size=n)))
        for _ in range(seeds)
    ]


def test_seeds_that_scatter_widen_the_interval() -> None:
    several = runs(3, 0.5)
    (over,) = contrast_seeds(Mean(), several)
    (single,) = contrast(Mean(), *several[0])
    assert over.seeds == 3 and over.n == 60 and over.test == "Student's t over seeds and rows"
    assert over.low is not None and over.high is not None and over.degrees is not None
    assert over.difference == pytest.approx(
        np.mean([np.mean(after) - np.mean(before) for before, after in several])
    )
    assert over.standard_error != single.standard_error
    assert over.rows_needed is None and 2 < over.degrees < 59
    assert from_dict(Comparison, to_dict(over), "here") == over


def test_a_gain_of_every_seed_is_improved_and_one_of_a_single_seed_is_not() -> None:
    (found,) = contrast_seeds(Mean(), runs(3, 2.0))
    assert found.improved
    (found,) = contrast_seeds(Error(), runs(3, 2.0))
    assert found.worsened
    lucky = runs(3, 0.0)
    lucky[0] = (lucky[0][0], [value + 3 for value in lucky[0][1]])
    (found,) = contrast_seeds(Mean(), lucky)
    assert not found.improved and found.low is not None and found.low < 0
    assert contrast(Mean(), *lucky[0])[0].improved  # the one run by itself would be believed


def test_seeds_that_do_not_vary() -> None:
    same = [([0.5, 0.1] * 10, [0.5, 0.1] * 10)] * 3
    (found,) = contrast_seeds(Mean(), same)
    assert (found.p, found.low, found.high, found.verdict) == (1.0, 0.0, 0.0, "no evidence")
    (found,) = contrast_seeds(Mean(), [([0.25] * 20, [0.75] * 20)] * 3)
    assert found.improved and found.low == found.high == 0.5
    (found,) = contrast_seeds(Mean(), [([0.0] * 20, [1.0] * 20)] * 3)
    assert found.improved and found.low is not None and 0.5 < found.low < 1


def test_seeds_of_predictions() -> None:
    generator = np.random.default_rng(0)
    base = labelled(generator.random(80) < 0.4, 80)
    several = [(base, labelled(generator.random(80) < 0.8, 80)) for _ in range(3)]
    by_name = {c.metric: c for c in compare_seeds(several, [Classification()])}
    assert by_name["accuracy"].improved and by_name["accuracy"].family == 7
    assert by_name["ece"].difference is None and by_name["ece"].verdict is None
    assert by_name["ece"].reason == "not every prediction has probabilities"


def test_seeds_that_cannot_be_compared() -> None:
    rows = labelled(np.ones(12, dtype=bool), 12)
    with pytest.raises(DataError, match="seeds: 1 given, and a spread needs at least 2"):
        contrast_seeds(Mean(), runs(1, 0.0))
    with pytest.raises(DataError, match="not in seed number 2"):
        compare_seeds([(rows, rows), (rows[:-1], rows[:-1])], [Classification()])
    with pytest.raises(DataError, match="no rows to compare"):
        contrast_seeds(Mean(), [([], [])] * 2)
    with pytest.raises(ConfigError, match="confidence: 2 is not between"):
        contrast_seeds(Mean(), runs(2, 0.0), confidence=2)
