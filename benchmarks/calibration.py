"""Do verdicts and intervals keep their promise, on small test sets too?

    python benchmarks/calibration.py [--comparisons 1000] [--rows 10 30 100]

Draws test sets from a large population of answers of two systems, judges each, and counts.
Without a difference (each row's two answers swapped by the toss of a coin) 5 in 100 verdicts may
be "improved" or "worse"; with the difference of the population, 95 in 100 intervals must hold it.
Then the same over three seeds. Writes `benchmarks/results/calibration.json` and `calibration.md`.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from loratory.evaluation.compare import contrast
from loratory.evaluation.repeats import contrast_seeds
from loratory.evaluation.verdict import MIN_ROWS, judge
from loratory.metrics.array import Array
from loratory.metrics.bleu import Bleu
from loratory.metrics.classification import Classification
from loratory.metrics.ratio import ratio
from loratory.metrics.rouge import Rouge
from loratory.records import Comparison, Prediction

RESULTS = Path(__file__).parent / "results"
POPULATION = 20_000
TRIALS = 1000
COLUMNS = ("significant", "small_p", "null_coverage", "coverage")
SHOWN = {
    "rouge1": "ROUGE-1, a mean",
    "bleu": "BLEU, a ratio of sums",
    "accuracy": "accuracy",
    "macro_f1": "macro F1, five uneven classes",
    "ece": "calibration error",
    "perplexity": "perplexity, exp of a ratio",
    "sparse": "mean, nine rows in ten alike",
    "skewed": "mean, lognormal differences",
}


@dataclass(frozen=True)
class Rows:
    """A metric whose rows were computed before: a population is scored once."""

    of: Any
    lower_is_better = frozenset[str]()
    descriptive = frozenset[str]()
    undefined: Any = ()

    def value_signature(self, value: str) -> str:
        """Return the value's name."""
        return value

    def statistics(self, rows: list[Array]) -> Array:
        """Return the rows as they are."""
        return np.array(rows)

    def reduce(self, totals: Array) -> dict[str, Array]:
        """Return those values that are looked at."""
        return {k: v for k, v in self.of(totals).items() if k in SHOWN or k == "mean"}


def texts(generator: np.random.Generator) -> Iterator[tuple[Prediction, Prediction]]:
    """Yield two systems' answers to the same made-up references of 5 to 25 words."""
    words = np.array([f"w{i}" for i in range(300)])
    for number in range(POPULATION // 4):
        reference = generator.choice(words, generator.integers(5, 26))
        hard = generator.beta(4, 3)
        pair = []
        for kept in (hard, hard * 0.92):
            mask = generator.random(len(reference)) < kept
            answer = np.where(mask, generator.choice(words, len(reference)), reference)
            text = " ".join(answer[: len(answer) - generator.integers(0, 4)])
            pair.append(Prediction(str(number), text, (" ".join(reference),)))
        yield pair[0], pair[1]


def classes(generator: np.random.Generator) -> Iterator[tuple[Prediction, Prediction]]:
    """Yield two classifiers' answers over five classes, the rarest one row in twenty."""
    for number in range(POPULATION):
        label = int(generator.choice(5, p=[0.05, 0.2, 0.3, 0.35, 0.1]))
        logits = generator.normal(size=5) + 1.2 * np.eye(5)[label]
        pair = []
        for gain in (0.0, 0.25):
            own = np.exp(logits + gain * np.eye(5)[label] + 0.5 * generator.normal(size=5))
            shares = own / own.sum()
            pair.append(
                Prediction(
                    str(number),
                    "",
                    label=label,
                    predicted=int(shares.argmax()),
                    probabilities=tuple(shares.tolist()),
                )
            )
        yield pair[0], pair[1]


def populations(seed: int) -> dict[str, tuple[Rows, Array, Array]]:
    """Return each population's metric, and its rows under both systems."""
    generator = np.random.default_rng(seed)
    found = {}
    written, guessed = list(texts(generator)), list(classes(generator))
    for name, metric, pairs in (
        ("rouge", Rouge(types=("rouge1",)), written),
        ("bleu", Bleu(), written),
        ("classification", Classification(), guessed),
    ):
        rows = metric.statistics([side for pair in zip(*pairs, strict=True) for side in pair])
        found[name] = (Rows(metric.reduce), rows[: len(pairs)], rows[len(pairs) :])
    n = POPULATION
    tokens = generator.integers(20, 400, n).astype(float)
    hard = generator.normal(3, 0.6, n)
    before, after = (
        np.stack([tokens, tokens * (hard + shift + 0.15 * generator.normal(size=n))], axis=1)
        for shift in (0, -0.03)
    )
    perplexity = Rows(lambda totals: {"perplexity": np.exp(ratio(totals[..., 1], totals[..., 0]))})
    found["text"] = (perplexity, before, after)
    common = generator.normal(size=n)
    moved = (generator.random(n) < 0.1) * generator.normal(0.3, 1, n)
    heavy = np.exp(generator.normal(size=n))
    for name, change in (("sparse", moved), ("skewed", heavy)):
        base = np.stack([np.ones(n), common], axis=1)
        found[name] = (Rows(_mean(name)), base, base + np.stack([np.zeros(n), change], axis=1))
    return found


def _mean(name: str) -> Any:
    return lambda totals: {name: ratio(totals[..., 1], totals[..., 0])}


def one_run(
    population: tuple[Rows, Array, Array], n: int, comparisons: int, seed: int
) -> dict[str, dict[str, float]]:
    """Return what came of judging so many test sets of n rows, by value.

    `significant`, `small_p` and `null_coverage` are without a difference, `coverage` with the
    population's; `family` has the share of families of which any value was significant.
    """
    metric, base, tuned = population
    true = {
        name: float(value - metric.reduce(base.sum(axis=0))[name])
        for name, value in metric.reduce(tuned.sum(axis=0)).items()
    }
    generator = np.random.default_rng([seed, n])
    tallies: dict[str, dict[str, list[bool]]] = {}
    for number in range(comparisons):
        rows = generator.integers(0, len(base), n)
        coin = generator.random(n)[:, None] < 0.5
        old, new = base[rows], tuned[rows]
        null = contrast(
            metric,
            list(np.where(coin, new, old)),
            list(np.where(coin, old, new)),
            trials=TRIALS,
            seed=number,
        )
        real = contrast(metric, list(old), list(new), trials=1, seed=number)
        if len(null) > 1:
            _note(tallies, "family", "significant", any(_significant(item) for item in null))
        for item in null:
            _note(tallies, item.metric, "significant", _significant(judge([item])[0]))
            _note(tallies, item.metric, "small_p", item.p is not None and item.p <= 0.05)
            _note(tallies, item.metric, "null_coverage", _holds(item, 0.0))
        for item in real:
            _note(tallies, item.metric, "coverage", _holds(item, true[item.metric]))
    return _shares(tallies)


def seeds_run(
    seeds: int, n: int, of_seeds: float, comparisons: int, seed: int
) -> dict[str, dict[str, float]]:
    """Return the same for a mean over several seeds of which none is better than the base.

    Args:
        seeds: trainings of each recipe.
        n: rows.
        of_seeds: variance that the seeds give the mean, as a share of that of the rows.
        comparisons: how many.
        seed: of the draws.
    """
    metric = Rows(_mean("mean"))
    generator = np.random.default_rng([seed, n, seeds, int(100 * of_seeds)])
    tallies: dict[str, dict[str, list[bool]]] = {}
    for _ in range(comparisons):
        base = np.stack([np.ones(n), generator.normal(size=n)], axis=1)
        shared = generator.normal(size=n)
        runs = []
        for _ in range(seeds):
            luck = generator.normal() * np.sqrt(of_seeds * seeds / n)
            change = luck + shared + generator.normal(size=n)
            runs.append((list(base), list(base + np.stack([np.zeros(n), change], axis=1))))
        (item,) = contrast_seeds(metric, runs)
        _note(tallies, "mean", "significant", _significant(item))
        _note(tallies, "mean", "null_coverage", _holds(item, 0.0))
        single = [contrast(metric, *runs[0], trials=1)[0]]
        _note(tallies, "mean", "one_seed_coverage", _holds(single[0], 0.0))
    return _shares(tallies)


def _significant(item: Comparison) -> bool:
    return item.improved or item.worsened


def _holds(item: Comparison, value: float) -> bool:
    if item.low is None or item.high is None:
        return False
    return bool(item.low - 1e-12 <= value <= item.high + 1e-12)


def _note(tallies: dict[str, dict[str, list[bool]]], value: str, kind: str, found: bool) -> None:
    tallies.setdefault(value, {}).setdefault(kind, []).append(found)


def _shares(tallies: Mapping[str, Mapping[str, Sequence[bool]]]) -> dict[str, dict[str, float]]:
    return {
        value: {kind: float(np.mean(found)) for kind, found in kinds.items()}
        for value, kinds in tallies.items()
    }


def table(found: Sequence[Mapping[str, Any]], seeds: Sequence[Mapping[str, Any]]) -> str:
    """Return the results as Markdown."""
    lines = [
        "| value | rows | verdict without a difference | p ≤ 0.05 | interval holds 0 | interval "
        "holds the true difference |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    ordered = [row for value in SHOWN for row in found if row["value"] == value]
    for row in ordered:
        shown = [f"{100 * row[k]:.1f}%" for k in COLUMNS]
        lines.append(f"| {SHOWN[row['value']]} | {row['rows']} | {' | '.join(shown)} |")
    lines += ["", "Any of the three values of classification, judged together by Holm:", ""]
    lines += ["| rows | any significant without a difference |", "|---:|---:|"]
    lines += [
        f"| {row['rows']} | {100 * row['significant']:.1f}% |"
        for row in found
        if row["value"] == "family"
    ]
    lines += [
        "",
        "Over seeds, of a recipe that is no better than its base:",
        "",
        "| seeds | rows | variance of seeds / of rows | significant | interval holds 0 | interval "
        "of one seed, over rows alone, holds 0 |",
        "|---:|---:|---:|---:|---:|---:|",
    ]
    for row in seeds:
        shown = [
            f"{100 * row[k]:.1f}%" for k in ("significant", "null_coverage", "one_seed_coverage")
        ]
        lines.append(
            f"| {row['seeds']} | {row['rows']} | {row['of_seeds']:g} | {' | '.join(shown)} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Simulate, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--comparisons", type=int, default=1000)
    parser.add_argument("--rows", type=int, nargs="+", default=[10, 30, 100])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=RESULTS)
    chosen = parser.parse_args()
    start = time.perf_counter()
    found, seeds = [], []
    for name, population in populations(chosen.seed).items():
        for n in chosen.rows:
            shares = one_run(population, n, chosen.comparisons, chosen.seed)
            found += [{"value": value, "rows": n, **row} for value, row in shares.items()]
            print(f"{time.perf_counter() - start:6.0f} s  {name} n={n} {shares}", flush=True)
    for count in (2, 3, 5):
        for n in (30, 100):
            for of_seeds in (0.0, 1.0, 20.0):
                (row,) = seeds_run(count, n, of_seeds, chosen.comparisons, chosen.seed).values()
                seeds.append({"seeds": count, "rows": n, "of_seeds": of_seeds, **row})
                print(f"{time.perf_counter() - start:6.0f} s  {seeds[-1]}", flush=True)
    about = {
        "comparisons": chosen.comparisons,
        "trials": TRIALS,
        "seed": chosen.seed,
        "fewest_rows": MIN_ROWS,
        "python": platform.python_version(),
        "numpy": np.__version__,
    }
    data = json.dumps({"about": about, "one_run": found, "seeds": seeds}, indent=1) + "\n"
    (chosen.out / "calibration.json").write_text(data, encoding="utf-8")
    known = 196 * (0.05 * 0.95 / chosen.comparisons) ** 0.5
    sizes = " ".join(map(str, chosen.rows))
    head = (
        "# Calibration of verdicts\n\n"
        f"Printed by `python benchmarks/calibration.py --rows {sizes}`. Each line is "
        f"{chosen.comparisons:,} simulated test sets, {TRIALS:,} swaps and 1,000 bootstrap draws "
        f"each; a share of 5% is then known to ±{known:.1f} points. "
        f"Promised are 5% and 95%. Below {MIN_ROWS} rows nothing is called improved or worse.\n\n"
    )
    body = head + table(found, seeds)
    (chosen.out / "calibration.md").write_text(body, encoding="utf-8")
    print(body)


if __name__ == "__main__":
    main()
