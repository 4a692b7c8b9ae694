"""Files of predictions to scores, whatever their size, by several processes.

The files are read in blocks of lines; a process takes a block apart and makes the rows of
statistics of every metric; here they are added up in order. The numbers therefore depend
neither on the size of the blocks nor on the number of processes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np

from loratory.errors import ConfigError, DataError
from loratory.evaluation.files import BLOCK, Block, Source, size, started
from loratory.evaluation.processes import in_order
from loratory.evaluation.score import defined, scored
from loratory.evaluation.tally import MOST, Tally
from loratory.metrics.base import METRICS, Array, Metric
from loratory.metrics.resample import bootstrap
from loratory.progress import Progress, Silent
from loratory.records import Prediction, Score

__all__ = ["Streamed", "read", "score_stream", "settle", "work_through"]

R = TypeVar("R")


class Streamed(NamedTuple):
    """Scores of a source, and what their intervals are made of."""

    scores: list[Score]
    group: int
    """Neighbouring rows that are drawn together by the bootstrap; 1 up to 20,000 rows."""

    @property
    def note(self) -> str | None:
        """What has to be said of the intervals, or None."""
        if self.group == 1:
            return None
        return (
            f"Over {MOST:,} rows: the intervals resample groups of {self.group} neighbouring rows."
        )


def score_stream(
    source: Source,
    metrics: Sequence[Metric] | None = None,
    *,
    resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
    processes: int | None = None,
    progress: Progress | None = None,
    block_bytes: int = BLOCK,
) -> Streamed:
    """Return one score for every value of every metric, in the metrics' order.

    Up to 20,000 rows the scores are those of `evaluation.score`, to the last bit. With more,
    sums are exact before they are divided, and intervals draw groups of 2, 4, 8 or more
    neighbouring rows, so that between 10,000 and 20,000 groups are left (and a smaller one of
    what remains). Memory is that of these and of a few blocks, or of the longest line.

    A metric whose rows depend on each other (it has `whole` set, or its field `classes` is
    left open) needs every row in memory, and one process. One process serves too where a metric
    has `alone` set, because it loads a model or works several processors by itself.

    Args:
        source: the files. Ids need not be unique.
        metrics: what to compute; None takes `classification` where the first row has a
            predicted class, and `rouge` otherwise.
        resamples: number of bootstrap draws behind each interval.
        confidence: of the intervals, above 0 and below 1.
        seed: of the draws; the same gives the same intervals.
        processes: how many take blocks apart; 1 is this one; None is one a processor when
            there is more than a second's work.
        progress: is told of the kilobytes read.
        block_bytes: size of a block.

    Raises:
        ConfigError: settings of a metric, `resamples`, `confidence` or `processes`.
        DataError: a file or row that cannot be scored; the sentence names file and line.
        RunError: a process has died.
    """
    # Of nothing: wrong numbers are told before files are read, not after.
    bootstrap(np.zeros((1, 1)), lambda _: {}, resamples=resamples, confidence=confidence)
    with started(source, block_bytes) as (first, all_blocks):
        metrics, needs = _chosen(source, first, metrics)
        source = settle(source, first, needs, progress)
        work = _Statistics(source, metrics)
        if any(_depends_on_all(metric) for metric in metrics):
            parts = _at_once(work, all_blocks)
        else:
            if not all(_can_travel(metric) for metric in metrics):
                processes = 1
            parts = work_through(work, source, all_blocks, processes, progress)
        tallies = [Tally() for _ in metrics]
        with closing(parts):
            for part in parts:
                for metric, tally, rows in zip(metrics, tallies, part, strict=True):
                    try:
                        tally.add(rows)
                    except DataError as error:
                        raise DataError(f"{metric.name}: {error}") from None
    found = [
        score
        for metric, tally in zip(metrics, tallies, strict=True)
        for score in _scores(metric, tally, resamples, confidence, seed)
    ]
    return Streamed(found, max((tally.group for tally in tallies), default=1))


def read(
    source: Source, metrics: Sequence[Metric] | None = None
) -> tuple[list[Prediction], tuple[Metric, ...]]:
    """Return every row of a source, and the metrics, chosen as in `score_stream` where None.

    Raises:
        ConfigError: settings of a metric.
        DataError: as for `score_stream`.
    """
    with started(source) as (first, all_blocks):
        metrics, needs = _chosen(source, first, metrics)
        source = source.settled(first, needs)
        return [row for block in all_blocks for row in source.parse(block)], metrics


def work_through(
    work: Callable[[Block], R],
    source: Source,
    parts: Iterable[Block],
    processes: int | None = None,
    progress: Progress | None = None,
) -> Generator[R, None, None]:
    """Yield what `work` makes of each block, in order, and tell the progress.

    Args:
        work: picklable.
        source: what the blocks are of.
        parts: its blocks, from the first.
        processes: as in `score_stream`.
        progress: is told of the kilobytes read, where their number is known.
    """
    whole = size(source)
    if whole is None or progress is None:
        progress, whole = Silent(), 0
    progress.begin("score (kB)", -(-whole // 1000))
    taken = 0
    with closing(in_order(work, parts, processes)) as results:
        for block, result in results:
            yield result
            before, taken = taken, taken + sum(map(len, block.parts))
            progress.advance(-(-taken // 1000) - -(-before // 1000))


@dataclass(frozen=True)
class _Statistics:
    """What a process does with a block: the rows of statistics of each metric."""

    source: Source
    metrics: tuple[Metric, ...]

    def __call__(self, block: Block) -> list[Array]:
        return self.of(self.source.parse(block))

    def of(self, predictions: list[Prediction]) -> list[Array]:
        """Return one array a metric, of one row a prediction."""
        try:
            return [metric.statistics(predictions) for metric in self.metrics]
        except DataError as error:
            raise DataError(f"{self.source.paths[0]}: {error}") from None


def _at_once(work: _Statistics, parts: Iterable[Block]) -> Generator[list[Array], None, None]:
    yield work.of([row for block in parts for row in work.source.parse(block)])


def settle(
    source: Source, first: Block, needs: frozenset[str], progress: Progress | None = None
) -> Source:
    """Return a source as its first block settles it, and tell the progress what it decided.

    Raises:
        DataError: as for `Source.settled`.
    """
    settled = source.settled(first, needs)
    said = settled.said(source)
    if progress is not None and said:
        progress.note(said)
    return settled


def _chosen(
    source: Source, first: Block, metrics: Sequence[Metric] | None
) -> tuple[tuple[Metric, ...], frozenset[str]]:
    """Return the metrics and what they need."""
    if metrics is None:
        metrics = [METRICS.get("classification" if source.has_classes(first) else "rouge")()]
    problems = [f"{metric.name}.{problem}" for metric in metrics for problem in metric.problems()]
    if problems:
        raise ConfigError(problems)
    return tuple(metrics), frozenset[str]().union(*(metric.needs for metric in metrics))


def _can_travel(metric: Metric) -> bool:
    # Another process has another __main__.
    return not getattr(metric, "alone", False) and type(metric).__module__ != "__main__"


def _depends_on_all(metric: Metric) -> bool:
    return bool(getattr(metric, "whole", False)) or getattr(metric, "classes", 0) is None


def _scores(
    metric: Metric, tally: Tally, resamples: int, confidence: float, seed: int
) -> Iterator[Score]:
    values = metric.reduce(tally.totals())
    groups = tally.groups()
    for item in scored(metric, groups, resamples=resamples, confidence=confidence, seed=seed):
        yield dataclasses.replace(item, value=defined(float(values[item.metric])), n=tally.n)
