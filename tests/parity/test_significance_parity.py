"""The tests scipy and statsmodels have as well, on the same numbers."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from loratory.metrics.base import Array
from loratory.metrics.paired import paired_interval
from loratory.metrics.randomisation import randomisation
from loratory.metrics.ratio import ratio
from loratory.metrics.significance import detectable, holm, mcnemar, rows_needed
from loratory.metrics.student import student_p, student_quantile

COUNTS = list(itertools.product((0, 1, 4, 17, 60, 400), repeat=2))


def mean(totals: Array) -> dict[str, Array]:
    return {"mean": ratio(totals[..., 1], totals[..., 0])}


def rows(values: Array) -> Array:
    return np.stack([np.ones(len(values)), values], axis=1)


@pytest.mark.parametrize(("gained", "lost"), COUNTS)
def test_exact_mcnemar_is_scipys_binomial_test(gained: int, lost: int) -> None:
    total = gained + lost
    expected = stats.binomtest(gained, total).pvalue if total else 1.0
    assert mcnemar(gained, lost, mid=False) == pytest.approx(expected, rel=1e-9)
    if gained != lost:
        half = stats.binom.pmf(gained, total, 0.5)
        assert mcnemar(gained, lost) == pytest.approx(expected - half, rel=1e-9)


@pytest.mark.parametrize(("gained", "lost"), COUNTS)
def test_exact_mcnemar_is_statsmodels(gained: int, lost: int) -> None:
    tables = pytest.importorskip("statsmodels.stats.contingency_tables")
    found = tables.mcnemar([[9, gained], [lost, 9]], exact=True)
    assert mcnemar(gained, lost, mid=False) == pytest.approx(min(1, found.pvalue), rel=1e-9)


def test_holm_is_statsmodels() -> None:
    multitest = pytest.importorskip("statsmodels.stats.multitest")
    generator = np.random.default_rng(0)
    for size in (1, 2, 7, 30):
        p = generator.random(size) ** 3
        p[: size // 3] = p[0]  # ties
        expected = multitest.multipletests(p, method="holm")[1]
        np.testing.assert_allclose(holm(p.tolist()), expected, rtol=1e-12)


@pytest.mark.parametrize("n", [10, 30, 200])
@pytest.mark.parametrize("level", [0.05, 0.05 / 8])
def test_the_detectable_difference_has_statsmodels_power(n: int, level: float) -> None:
    power = pytest.importorskip("statsmodels.stats.power")
    smallest = detectable(1 / math.sqrt(n), n - 1, level=level)
    found = power.TTestPower().power(smallest, n, level)
    # Ours shifts Student's t; the exact power is of the noncentral one, and parts most from it on
    # ten rows at a low level: 0.777.
    assert found == pytest.approx(0.8, abs=0.025 if n == 10 else 0.01)
    exact = power.TTestPower().solve_power(effect_size=0.2, alpha=level, power=0.8)
    # From a test of this size it is foreseen within a fifth.
    assert rows_needed(n, smallest, 0.2) == pytest.approx(exact, rel=0.2 if n > 10 else 0.8)


@pytest.mark.parametrize("n", [6, 13])
def test_all_swaps_are_scipys_permutation_test(n: int) -> None:
    generator = np.random.default_rng(n)
    base = generator.normal(size=n)
    tuned = base + generator.normal(0.4, 1, size=n)
    expected = stats.permutation_test(
        (tuned, base),
        lambda a, b, axis: (a - b).mean(axis=axis),
        permutation_type="samples",
        n_resamples=np.inf,
        vectorized=True,
    ).pvalue
    found = randomisation(rows(base), rows(tuned), mean, trials=1 << 14)["mean"]
    assert found == pytest.approx(expected, rel=1e-12)


def test_drawn_swaps_are_near_scipys() -> None:
    generator = np.random.default_rng(0)
    base = generator.normal(size=80)
    tuned = base + generator.normal(0.2, 1, size=80)
    expected = stats.permutation_test(
        (tuned, base),
        lambda a, b, axis: (a - b).mean(axis=axis),
        permutation_type="samples",
        n_resamples=10_000,
        vectorized=True,
        rng=np.random.default_rng(1),
    ).pvalue
    assert randomisation(rows(base), rows(tuned), mean)["mean"] == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize("method", ["BCa", "percentile"])
def test_intervals_of_many_rows_are_scipys(method: str) -> None:
    """Bootstraps of every kind meet as rows grow; on few they part, which is why ours is this."""
    generator = np.random.default_rng(0)
    base = generator.beta(2, 5, size=800)
    change = generator.normal(0.02, 0.1, size=800)
    expected = stats.bootstrap(
        (change,), np.mean, method=method, n_resamples=4000, rng=np.random.default_rng(1)
    ).confidence_interval
    found = paired_interval(rows(base), rows(base + change), mean, resamples=4000)["mean"]
    width = expected.high - expected.low
    assert found.low == pytest.approx(expected.low, abs=0.05 * width)
    assert found.high == pytest.approx(expected.high, abs=0.05 * width)
    assert found.standard_error == pytest.approx(stats.sem(change), rel=1e-9)


@pytest.mark.parametrize("degrees", [1, 2, 2.7, 9, 2209])
def test_student_is_scipys(degrees: float) -> None:
    for value in (0.0, 0.1, 1.0, 3.0, 40.0):
        expected = 2 * stats.t.sf(value, degrees)
        assert student_p(value, degrees) == pytest.approx(expected, rel=1e-9, abs=1e-300)
    for probability in (0.5, 0.8, 0.975, 0.9999999):
        expected = stats.t.ppf(probability, degrees)
        assert student_quantile(probability, degrees) == pytest.approx(expected, rel=1e-8, abs=1e-9)
