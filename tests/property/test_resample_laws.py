"""What holds for the bootstrap and the randomisation test of any numbers."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from loratory.metrics.randomisation import randomisation
from loratory.metrics.resample import bootstrap, paired_bootstrap
from measured import mean, rows

values = st.floats(0, 1)
several = st.lists(st.tuples(values, values), min_size=1, max_size=20)


@settings(deadline=None)
@given(several)
def test_interval_lies_within_the_data_and_around_the_mean(
    pairs: list[tuple[float, float]],
) -> None:
    data = [value for value, _ in pairs]
    low, high = bootstrap(rows(*data), mean)["mean"]
    assert min(data) - 1e-12 <= low <= np.mean(data) + 1e-12
    assert np.mean(data) - 1e-12 <= high <= max(data) + 1e-12


@settings(deadline=None)
@given(several)
def test_a_system_does_not_differ_from_itself(pairs: list[tuple[float, float]]) -> None:
    data = rows(*(value for value, _ in pairs))
    assert paired_bootstrap(data, data.copy(), mean)["mean"] == (0, 0)


@settings(deadline=None)
@given(several)
def test_swapping_the_systems_turns_the_interval_round(pairs: list[tuple[float, float]]) -> None:
    base, tuned = (rows(*(pair[i] for pair in pairs)) for i in (0, 1))
    there = paired_bootstrap(base, tuned, mean)["mean"]
    back = paired_bootstrap(tuned, base, mean)["mean"]
    np.testing.assert_allclose(there, (-back.high, -back.low), atol=1e-12)


@settings(deadline=None)
@given(several)
def test_a_system_against_itself_has_p_1(pairs: list[tuple[float, float]]) -> None:
    data = rows(*(value for value, _ in pairs))
    assert randomisation(data, data.copy(), mean)["mean"] == 1


@settings(deadline=None)
@given(several, st.integers(1, 3000))
def test_p_does_not_depend_on_which_system_is_first(
    pairs: list[tuple[float, float]], trials: int
) -> None:
    base, tuned = (rows(*(pair[i] for pair in pairs)) for i in (0, 1))
    there = randomisation(base, tuned, mean, trials=trials)["mean"]
    assert there == randomisation(tuned, base, mean, trials=trials)["mean"]
    assert 0 < there <= 1


@settings(deadline=None)
@given(several)
def test_p_of_all_swaps_does_not_depend_on_the_order_of_rows(
    pairs: list[tuple[float, float]],
) -> None:
    base, tuned = (rows(*(pair[i] for pair in pairs[:10])) for i in (0, 1))
    found = randomisation(base, tuned, mean)["mean"]
    assert randomisation(base[::-1], tuned[::-1], mean)["mean"] == found
    assert found >= 2 / 2 ** len(base) or found == 1
