"""The bootstrap: seeds, blocks, undefined values, small test sets, bounded memory."""

import math
import tracemalloc

import numpy as np
import pytest

from loratory.errors import ConfigError, DataError
from loratory.metrics import resample
from loratory.metrics.base import Array
from loratory.metrics.resample import bootstrap, paired_bootstrap, weights
from measured import mean, rows


def normal(n: int, seed: int = 0) -> Array:
    return rows(*np.random.default_rng(seed).normal(size=n))


def test_one_seed_one_interval() -> None:
    data = normal(30)
    first = bootstrap(data, mean, seed=3)
    assert bootstrap(data, mean, seed=3) == first != bootstrap(data, mean, seed=4)


def test_draws_are_whole_and_do_not_depend_on_the_block() -> None:
    whole = np.concatenate(list(weights(7, 20, seed=1, block=20)))
    pieces = np.concatenate(list(weights(7, 20, seed=1, block=3)))
    np.testing.assert_array_equal(whole, pieces)
    assert (whole.sum(axis=1) == 7).all() and whole.shape == (20, 7)


def test_every_row_is_drawn_equally_often() -> None:
    drawn = np.concatenate(list(weights(5, 20_000, seed=0, block=1000)))
    # Binomial(5, 1/5): mean 1, variance 0.8; 20,000 draws put the mean within 0.03.
    np.testing.assert_allclose(drawn.mean(axis=0), 1, atol=0.03)
    np.testing.assert_allclose(drawn.var(axis=0), 0.8, atol=0.05)


def test_width_is_that_of_the_normal_approximation() -> None:
    low, high = bootstrap(normal(2000), mean, resamples=2000)["mean"]
    assert high - low == pytest.approx(2 * 1.96 / math.sqrt(2000), rel=0.1)


def test_coverage() -> None:
    """Nine in ten intervals hold the truth; 300 data sets put the share within 0.06."""
    covered = 0
    for seed in range(300):
        low, high = bootstrap(normal(60, seed), mean, resamples=200, confidence=0.9)["mean"]
        covered += low <= 0 <= high
    assert 0.83 < covered / 300 < 0.95


def test_confidence_widens() -> None:
    data = normal(50)
    narrow, wide = (bootstrap(data, mean, confidence=c)["mean"] for c in (0.5, 0.99))
    assert wide.low < narrow.low < narrow.high < wide.high


def test_pairing_uses_the_same_rows_for_both() -> None:
    base = normal(100)
    tuned = base + np.array([0, 0.25])
    low, high = paired_bootstrap(base, tuned, mean)["mean"]
    assert low == pytest.approx(0.25) and high == pytest.approx(0.25)


def test_identical_systems_differ_by_exactly_zero() -> None:
    base = normal(101)
    both = np.concatenate([base, base])  # halves of one array are aligned differently
    assert paired_bootstrap(both[:101], both[101:], mean)["mean"] == (0, 0)


def test_a_shared_column_differs_by_exactly_zero() -> None:
    base = np.column_stack([np.ones(77), *normal(77).T])
    tuned = base.copy()
    tuned[:, 1] += 1
    two = paired_bootstrap(base, tuned, lambda t: {"moved": t[..., 1], "kept": t[..., 2]})
    assert two["kept"] == (0, 0) and two["moved"].low > 0


def test_one_row_has_no_width() -> None:
    assert bootstrap(rows(0.3), mean)["mean"] == (0.3, 0.3)


def test_no_rows_are_refused() -> None:
    with pytest.raises(DataError, match="no rows"):
        bootstrap(np.zeros((0, 2)), mean)


@pytest.mark.parametrize(
    ("resamples", "confidence", "problems"),
    [(0, 0.95, 1), (10, 0, 1), (10, 1, 1), (10, math.nan, 1), (-1, 2, 2)],
)
def test_settings_out_of_range(resamples: int, confidence: float, problems: int) -> None:
    with pytest.raises(ConfigError) as caught:
        bootstrap(rows(1), mean, resamples=resamples, confidence=confidence)
    assert len(caught.value.problems) == problems


def test_draws_where_a_value_is_undefined_are_left_out() -> None:
    # Only one of three rows counts: (2/3)^3 of the draws have nothing to divide by.
    data = np.array([(1, 0.5), (0, 0), (0, 0)])
    assert bootstrap(data, mean)["mean"] == (0.5, 0.5)


def test_a_value_undefined_over_all_rows_has_no_interval() -> None:
    interval = bootstrap(np.zeros((4, 2)), mean)["mean"]
    assert math.isnan(interval.low) and math.isnan(interval.high)
    difference = paired_bootstrap(rows(1, 2), np.zeros((2, 2)), mean)["mean"]
    assert math.isnan(difference.low)


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resample, "_CELLS", 1 << 16)
    tall, wide = normal(20_000), np.ones((10, 30_000))
    tracemalloc.start()
    bootstrap(tall, mean, resamples=100)
    bootstrap(wide, mean, resamples=100)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # All draws at once would be 16 MB for the one and 24 MB for the other.
    assert peak < 5e6
