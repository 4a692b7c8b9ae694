"""What several seeds allow to be said."""

import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from loratory.errors import DataError
from loratory.evaluation.seeds import leaders, pareto, spread
from loratory.metrics.student import student_quantile


@pytest.mark.parametrize("degrees", [1, 2, 3, 16, 16.5, 10_000])
@pytest.mark.parametrize("probability", [0.5, 0.6, 0.95, 0.975, 0.9999])
def test_quantiles_are_scipys(probability: float, degrees: float) -> None:
    expected = stats.t.ppf(probability, degrees)
    assert student_quantile(probability, degrees) == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_spread() -> None:
    assert spread([1.0, 2.0, 6.0]) == (3.0, statistics.stdev([1, 2, 6]), 3)
    assert spread([1.0]) == (1.0, None, 1)
    with pytest.raises(DataError):
        spread([])


def test_leaders_by_hand() -> None:
    # Pooled sd 0.1 with 4 degrees; t(0.9875, 4) = 3.4954, reach 3.4954 * 0.1 * sqrt(2/3) = 0.2854.
    systems = {"a": [1.0, 1.1, 1.2], "b": [0.8, 0.9, 1.0], "c": [0.0, 0.1, 0.2]}
    assert leaders({name: systems[name] for name in "abc"}) == ["a", "b"]
    assert leaders({"a": systems["a"], "c": systems["c"]}) == ["a"]
    assert leaders(systems, lower_is_better=True) == ["c"]


def test_one_seed_parts_nothing() -> None:
    assert leaders({"a": [1.0], "b": [2.0]}) == ["b", "a"]
    assert leaders({"a": [1.0]}) == ["a"]


def test_seeds_without_noise_part_everything() -> None:
    assert leaders({"a": [1.0, 1.0], "b": [1.0, 1.0], "c": [0.9, 0.9]}) == ["a", "b"]


def test_equal_systems_are_parted_no_oftener_than_said() -> None:
    generator = np.random.default_rng(0)
    draws = generator.normal(size=(400, 6, 3))
    # The best of six equal systems, chosen after the fact: the correction has to hold.
    wrong = [
        len(leaders({str(i): row.tolist() for i, row in enumerate(draw)})) == 1 for draw in draws
    ]
    assert np.mean(wrong) < 0.05


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=8))
def test_pareto(points: list[tuple[int, int]]) -> None:
    named = {str(i): point for i, point in enumerate(points)}
    front = pareto(named)
    assert front
    for name, point in named.items():
        beaten = any(
            other != point and all(a <= b for a, b in zip(other, point, strict=True))
            for other in points
        )
        assert (name in front) != beaten
