"""What the trials of a sweep say: means over seeds, costs, and who leads."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import fmean

from loratory.errors import DataError, suggest
from loratory.evaluation.seeds import Spread, leaders, pareto, spread
from loratory.report import wording
from loratory.sweep.folder import Sweep, Trial

__all__ = ["Row", "Summary", "summary"]


@dataclass(frozen=True)
class Row:
    """One method."""

    method: str
    quality: Spread
    """The tuned models' value over seeds."""
    trainable: int
    adapter_bytes: int
    train_seconds: float
    """Mean over seeds."""
    peak_bytes: int
    """The most of any seed."""
    pareto: bool
    """No other method is as good in quality, parameters, time and memory, and better in one."""
    learning_rate: float | None
    """The one that was chosen; None where the recipe's served all."""
    leads: bool
    """Best by its mean, or not parted from the best by seed noise."""


@dataclass(frozen=True)
class Summary:
    """A sweep read out."""

    metric: str
    base: float | None
    """The base model's value, mean over the trials."""
    rows: tuple[Row, ...]
    """Best mean first."""
    refused: dict[str, str]
    """Methods without a result, and why."""
    failed: dict[str, str]
    """Trials that were run and have no result yet, by name, and why."""
    at_once: int
    """Most trials with a result that ran at the same time."""
    sentence: str
    """Who leads, in words."""

    def markdown(self) -> str:
        """Return the table and the sentence."""
        name = wording.metric_name(self.metric)
        lines = [
            f"| method | {name} | trainable | adapter | training | peak memory | |",
            "|---|---:|---:|---:|---:|---:|---|",
        ]
        for row in self.rows:
            marks = [*(["leads"] if row.leads else []), *(["Pareto"] if row.pareto else [])]
            method = row.method
            if row.learning_rate is not None:
                method += f" (learning rate {row.learning_rate:g})"
            lines.append(
                f"| {method} | {quality(row.quality, self.metric)} | {row.trainable:,} "
                f"| {wording.size(row.adapter_bytes)} | {row.train_seconds:.0f} s "
                f"| {wording.size(row.peak_bytes)} | {', '.join(marks)} |"
            )
        base = "" if self.base is None else f"Base model: {wording.score(self.base, self.metric)}. "
        lines += ["", f"{base}{self.sentence}"]
        if self.at_once > 1:
            lines.append(
                f"Up to {self.at_once} trials ran at once: their seconds, on which Pareto marks "
                "rest, were measured beside other trials."
            )
        lines += [f"{method} has no result: {why}" for method, why in self.refused.items()]
        lines += [f"{trial} failed: {why}" for trial, why in self.failed.items()]
        return "\n".join(lines) + "\n"


def quality(found: Spread, metric: str) -> str:
    """Return `34.8 ± 0.6 (3)`: mean, standard deviation and number of seeds."""
    mean = wording.score(found.mean, metric)
    if found.sd is None:
        return f"{mean} (1 seed)"
    return f"{mean} ± {wording.score(found.sd, metric)} ({found.n})"


def summary(sweep: Sweep, metric: str = "") -> Summary:
    """Read out a sweep by one metric.

    Args:
        sweep: with trials that are done.
        metric: one of those its runs computed that have a better direction; empty for the one
            that speaks for a run.

    Raises:
        DataError: no trial has this metric.
    """
    metric = metric or str(sweep.facts.get("headline", ""))
    lower_is_better = sweep.directions.get(metric, False)
    done: dict[str, list[Trial]] = {}
    for trial in sweep.counted():
        if metric in trial.values and metric in sweep.directions:
            done.setdefault(trial.method, []).append(trial)
    if not done:
        problems = sorted({t.problem or t.fault for t in sweep.trials} - {""})
        if not sweep.directions and problems:
            raise DataError(f"{sweep.folder}: no trial has a result: {' '.join(problems)}")
        raise DataError(f"--metric: no trial has '{metric}'. {suggest(metric, sweep.directions)}")
    values = {method: [t.values[metric] for t in trials] for method, trials in done.items()}
    first = leaders(values, lower_is_better=lower_is_better)
    sign = 1 if lower_is_better else -1
    costs = {
        method: (
            sign * fmean(values[method]),
            float(trials[0].trainable),
            fmean(t.train_seconds for t in trials),
            float(max(t.peak_bytes for t in trials)),
        )
        for method, trials in done.items()
    }
    front = pareto(costs)
    rows = [
        Row(
            method=method,
            quality=spread(values[method]),
            trainable=trials[0].trainable,
            adapter_bytes=trials[0].adapter_bytes,
            train_seconds=costs[method][2],
            peak_bytes=int(costs[method][3]),
            pareto=method in front,
            learning_rate=trials[0].learning_rate,
            leads=method in first,
        )
        for method, trials in done.items()
    ]
    rows.sort(key=lambda row: sign * row.quality.mean)
    base = [
        trial.base[metric] for trials in done.values() for trial in trials if metric in trial.base
    ]
    refused = {t.method: t.problem for t in sweep.trials if t.problem and t.method not in done}
    return Summary(
        metric=metric,
        base=fmean(base) if base else None,
        rows=tuple(rows),
        refused=refused,
        failed={trial.name: trial.fault for trial in sweep.trials if trial.fault},
        at_once=at_once(sweep.trials),
        sentence=_sentence(first, rows, metric),
    )


def at_once(trials: Iterable[Trial]) -> int:
    """Return the most trials that ran at the same time; one that ended as another began did not.

    Args:
        trials: of which those count whose process has a known beginning and end.
    """
    timed = [trial for trial in trials if trial.ended > trial.began]
    return max(
        (sum(other.began <= trial.began < other.ended for other in timed) for trial in timed),
        default=0,
    )


def _sentence(first: list[str], rows: list[Row], metric: str) -> str:
    name = wording.metric_name(metric)
    if len(rows) == 1:
        return f"Only {rows[0].method} has a result."
    if all(row.quality.n == 1 for row in rows):
        return f"One seed each: their order in {name} may be luck. Take three seeds or more."
    best, *others = first
    if not others:
        return f"{best} leads in {name}, beyond what seeds explain."
    return (
        f"{best} has the best mean in {name}; seed noise does not part it from {', '.join(others)}."
    )
