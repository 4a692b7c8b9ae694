"""Approximate randomisation: exact cases, ties, seeds, blocks, and what a p value promises."""

import itertools
import math
import tracemalloc
from fractions import Fraction

import numpy as np
import pytest

from loratory.errors import ConfigError, DataError
from loratory.metrics import randomisation as module
from loratory.metrics.base import Array
from loratory.metrics.classification import Classification
from loratory.metrics.randomisation import randomisation, swaps
from loratory.records import Prediction
from measured import mean, rows


def by_fractions(base: list[Fraction], tuned: list[Fraction]) -> Fraction:
    """The exact p value of a difference of means, by trying every swap in exact arithmetic."""
    changes = [new - old for old, new in zip(base, tuned, strict=True)]
    seen = abs(sum(changes))
    signs = list(itertools.product((1, -1), repeat=len(changes)))
    far = sum(abs(sum(s * c for s, c in zip(sign, changes, strict=True))) >= seen for sign in signs)
    return Fraction(far, len(signs))


def test_three_rows_on_paper() -> None:
    # Differences 1, 2, 3 sum to 6; of the eight signs only +++ and --- reach that.
    assert randomisation(rows(0, 0, 0), rows(1, 2, 3), mean)["mean"] == 2 / 8
    # 1, 2, -3 sum to 0, which every swap reaches; 1, 2, -1 to 2, which only ++- +-+ and their
    # mirrors --+ -+- ... do: |±1 ±2 ±1| is 4, 2, 2, 0 and again, and 6 of 8 are at least 2.
    assert randomisation(rows(0, 0, 3), rows(1, 2, 0), mean)["mean"] == 1
    assert randomisation(rows(0, 0, 1), rows(1, 2, 0), mean)["mean"] == 6 / 8


def test_equal_systems_have_p_1() -> None:
    data = rows(*np.random.default_rng(0).normal(size=101))
    both = np.concatenate([data, data])  # halves of one array are aligned differently
    assert randomisation(both[:101], both[101:], mean)["mean"] == 1


def test_rows_on_which_the_systems_agree_change_nothing() -> None:
    same = tuple(np.random.default_rng(1).normal(size=500))
    assert randomisation(rows(0, 0, 0, *same), rows(1, 2, 3, *same), mean)["mean"] == 2 / 8


def test_a_value_whose_columns_agree_has_p_1_beside_one_that_moves() -> None:
    base = np.column_stack([np.ones(40), *np.random.default_rng(0).normal(size=(2, 40))])
    tuned = base + np.array([0, 5, 0])
    found = randomisation(base, tuned, lambda t: {"moved": t[..., 1], "kept": t[..., 2]})
    assert found == {"moved": 1 / 10_001, "kept": 1}


@pytest.mark.parametrize("seed", range(12))
def test_ties_are_those_of_exact_arithmetic(seed: int) -> None:
    """Thirds, fifths and sevenths tie often, and never in floating point."""
    draw = np.random.default_rng(seed)
    n = 9
    base, tuned = (
        [Fraction(int(a), int(b)) for a, b in zip(*pair, strict=True)]
        for pair in (
            (draw.integers(0, 4, n), draw.choice([3, 5, 7], n)),
            (draw.integers(0, 4, n), draw.choice([3, 5, 7], n)),
        )
    )
    found = randomisation(rows(*map(float, base)), rows(*map(float, tuned)), mean)["mean"]
    assert found == float(by_fractions(base, tuned))


def test_a_tie_that_rounding_parts() -> None:
    # 0.1 + 0.2 > 0.3 in floating point: without care the swap that gives -0.6 would not count.
    base, tuned = rows(0, 0, 0.0), rows(0.1, 0.2, 0.3)
    expected = by_fractions([Fraction(0)] * 3, [Fraction(1, 10), Fraction(2, 10), Fraction(3, 10)])
    assert randomisation(base, tuned, mean)["mean"] == float(expected) == 2 / 8
    base, tuned = rows(0, 0, 0.3, 0.0), rows(0.1, 0.2, 0, 0.3)
    half = [Fraction(x, 10) for x in (0, 0, 3, 0)], [Fraction(x, 10) for x in (1, 2, 0, 3)]
    assert randomisation(base, tuned, mean)["mean"] == float(by_fractions(*half))


@pytest.mark.parametrize("n", [2, 5, 11])
def test_it_is_scipys_permutation_test(n: int) -> None:
    stats = pytest.importorskip("scipy.stats")
    draw = np.random.default_rng(n)
    base, tuned = draw.random(n), draw.random(n)
    theirs = stats.permutation_test(
        (base, tuned),
        lambda x, y, axis: np.mean(y, axis=axis) - np.mean(x, axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=np.inf,
    )
    assert randomisation(rows(*base), rows(*tuned), mean)["mean"] == theirs.pvalue


def test_drawn_swaps_come_near_to_all_of_them() -> None:
    draw = np.random.default_rng(4)
    base, tuned = draw.random(13), draw.random(13) + 0.2
    exact = randomisation(rows(*base), rows(*tuned), mean, trials=1 << 13)["mean"]
    drawn = randomisation(rows(*base), rows(*tuned), mean, trials=(1 << 13) - 1)["mean"]
    # Binomial: three standard deviations at 8191 trials.
    assert drawn != exact
    assert drawn == pytest.approx(exact, abs=3 * math.sqrt(exact * (1 - exact) / 8191))


def test_the_smallest_p_value_is_one_in_trials_and_one() -> None:
    draw = np.random.default_rng(0).random(200)
    found = randomisation(rows(*draw), rows(*draw + 0.3), mean, trials=999)
    assert found["mean"] == 1 / 1000


def test_one_seed_one_p_value_and_no_other_of_another_block(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    draw = np.random.default_rng(0)
    base, tuned = rows(*draw.random(150)), rows(*draw.random(150))
    first = randomisation(base, tuned, mean, trials=2000, seed=3)
    assert randomisation(base, tuned, mean, trials=2000, seed=3) == first
    assert randomisation(base, tuned, mean, trials=2000, seed=4) != first
    for cells in (1, 1000, 150 * 7):
        monkeypatch.setattr(module, "_CELLS", cells)
        assert randomisation(base, tuned, mean, trials=2000, seed=3) == first


@pytest.mark.parametrize(("n", "trials"), [(3, 100), (7, 128), (7, 127), (64, 30), (130, 30)])
def test_swaps_do_not_depend_on_the_block(n: int, trials: int) -> None:
    whole = np.concatenate(list(swaps(n, trials, 1, 1000)))
    for block in (1, 3, 29):
        np.testing.assert_array_equal(np.concatenate(list(swaps(n, trials, 1, block))), whole)
    assert whole.shape == (min(trials, 2**n), n) and set(np.unique(whole)) == {0, 1}
    if 2**n <= trials:
        assert len({tuple(row) for row in whole}) == 2**n and not whole[0].any()


def test_every_row_is_swapped_half_of_the_time_and_for_itself() -> None:
    drawn = np.concatenate(list(swaps(100, 4000, 0, 1000)))
    # Four standard deviations of a mean of 4000 tosses, and of a correlation of two of them.
    np.testing.assert_allclose(drawn.mean(axis=0), 0.5, atol=4 * 0.5 / math.sqrt(4000))
    together = np.corrcoef(drawn.T) - np.eye(100)
    assert np.abs(together).max() < 5 / math.sqrt(4000)


@pytest.mark.parametrize("kind", ["normal", "skewed", "ratio"])
def test_five_in_a_hundred_equal_systems_are_called_different(kind: str) -> None:
    """Of 1000 comparisons of systems that do not differ; 0.02 is three standard deviations."""
    draw = np.random.default_rng(7)

    def system(hard: Array) -> Array:
        n = len(hard)
        if kind == "normal":
            return np.column_stack([np.ones(n), hard + draw.normal(size=n)])
        if kind == "skewed":
            return np.column_stack([np.ones(n), hard * draw.exponential(size=n) ** 2])
        size = draw.integers(1, 9, n)  # words right of words, as in a ratio of sums
        return np.column_stack([size, draw.binomial(size, 0.2 + 0.6 * hard)])

    found = []
    for i in range(1000):
        hard = draw.random(25)
        p = randomisation(system(hard), system(hard), mean, trials=199, seed=i)["mean"]
        found.append(p)
    assert np.mean(np.array(found) <= 0.05) == pytest.approx(0.05, abs=0.02)
    assert np.mean(np.array(found) <= 0.5) == pytest.approx(0.5, abs=0.05)


def test_a_planted_difference_is_found() -> None:
    """A gain of half a standard deviation on 60 rows: power 0.97 by the normal approximation."""
    draw, found = np.random.default_rng(8), []
    for i in range(200):
        hard = draw.normal(size=60) * 3
        base = rows(*hard + draw.normal(size=60) * math.sqrt(0.5))
        tuned = rows(*hard + draw.normal(size=60) * math.sqrt(0.5) + 0.5)
        found.append(randomisation(base, tuned, mean, trials=199, seed=i)["mean"])
    assert np.mean(np.array(found) <= 0.05) > 0.92


def test_a_value_that_is_no_mean() -> None:
    """Macro F1, against trying every swap with the metric itself."""
    draw = np.random.default_rng(2)
    n, metric = 8, Classification(classes=3)
    truth, old, new = draw.integers(0, 3, (3, n))

    def f1(guesses: list[int]) -> float:
        answers = [
            Prediction(str(i), "", label=int(t), predicted=int(g))
            for i, (t, g) in enumerate(zip(truth, guesses, strict=True))
        ]
        return float(metric.reduce(metric.statistics(answers).sum(axis=0))["macro_f1"])

    seen = abs(f1(list(new)) - f1(list(old)))
    pairs = list(zip(old, new, strict=True))
    all_swaps = list(itertools.product((False, True), repeat=n))
    far = sum(
        abs(
            f1([p[not s] for p, s in zip(pairs, swap, strict=True)])
            - f1([p[s] for p, s in zip(pairs, swap, strict=True)])
        )
        >= seen - 1e-12
        for swap in all_swaps
    )
    answers = [
        [
            Prediction(str(i), "", label=int(t), predicted=int(g))
            for i, (t, g) in enumerate(zip(truth, guesses, strict=True))
        ]
        for guesses in (old, new)
    ]
    found = randomisation(*map(metric.statistics, answers), metric.reduce)
    assert found["macro_f1"] == far / len(all_swaps)
    assert math.isnan(found["ece"])  # there are no probabilities


def test_trials_where_a_value_is_undefined_are_left_out() -> None:
    # Each system answers one row of two. Swapping one row alone gives one of them both answers
    # and the other none: undefined. What is left are the systems as they are, and exchanged.
    base, tuned = np.array([(1, 0.5), (0, 0)]), np.array([(0, 0), (1, 0.7)])
    assert randomisation(base, tuned, mean)["mean"] == 1
    assert math.isnan(randomisation(base, np.zeros((2, 2)), mean)["mean"])


def test_what_is_refused() -> None:
    with pytest.raises(ConfigError, match="trials: 0 swaps give no p value"):
        randomisation(rows(1), rows(2), mean, trials=0)
    with pytest.raises(DataError, match="no rows to swap"):
        randomisation(np.zeros((0, 2)), np.zeros((0, 2)), mean)


def test_columns_of_any_size_keep_their_p_value() -> None:
    draw = np.random.default_rng(3)
    base, tuned = draw.random(12), draw.random(12)
    expected = randomisation(rows(*base), rows(*tuned), mean)["mean"]
    for size in (1e-300, 1e-12, 1e12, 1e280):
        scaled = randomisation(rows(*base * size), rows(*tuned * size), mean)["mean"]
        assert scaled == expected, size


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_CELLS", 1 << 16)
    draw = np.random.default_rng(0)
    base, tuned = rows(*draw.random(20_000)), rows(*draw.random(20_000))
    tracemalloc.start()
    randomisation(base, tuned, mean, trials=100)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # All swaps at once would be 16 MB; the rows themselves are 0.3 MB, held a few times.
    assert peak < 5e6
