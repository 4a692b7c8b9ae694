"""Files of predictions to what ROUGE-1.5.5 prints of them, by several processes."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass

from loratory.errors import ConfigError, DataError
from loratory.evaluation.files import BLOCK, Block, Source, started
from loratory.evaluation.stream import settle, work_through
from loratory.metrics.rouge.rouge155 import Counts, Evaluation, Rouge155Options, Rouge155Result
from loratory.metrics.rouge.rouge155.score import combined, evaluated, jackknifed
from loratory.progress import Progress

__all__ = ["rouge155_stream"]

Sets = list[list[Counts]]
"""The counts of one row: by set of references, of which jackknifing makes several, and score."""


def rouge155_stream(
    source: Source,
    options: Rouge155Options,
    *,
    processes: int | None = None,
    progress: Progress | None = None,
    block_bytes: int = BLOCK,
) -> Rouge155Result:
    """Return what `rouge155` gives for the rows of a source, numbered from 1.

    The texts pass through; the counts of every row stay, since the script's resamples draw
    from all of them.

    Args:
        source: the files.
        options: what to compute.
        processes: as in `score_stream`, and so are the rest.
        progress: is told of the kilobytes read.
        block_bytes: size of a block.

    Raises:
        ConfigError: options that contradict each other or do not exist, or `processes`.
        DataError: a file or row that cannot be scored.
        RunError: a process has died.
    """
    if problems := options.problems():
        raise ConfigError(problems)
    ids: list[str] = []
    rows: list[list[Counts]] = []
    with started(source, block_bytes) as (first, parts):
        source = settle(source, first, frozenset({"references"}), progress)
        work = _Counting(source, options)
        with closing(work_through(work, source, parts, processes, progress)) as results:
            number = 0
            for result in results:
                for sets in result:
                    number += 1
                    several = range(1, len(sets) + 1) if len(sets) > 1 else ()
                    ids += [f"{number}.{i}" for i in several] or [str(number)]
                    rows += sets
    return combined(ids, rows, options)


@dataclass(frozen=True)
class _Counting:
    """What a process does with a block."""

    source: Source
    options: Rouge155Options

    def __call__(self, block: Block) -> list[Sets]:
        rows = [Evaluation(p.text, p.references, p.id) for p in self.source.parse(block)]
        sets = [jackknifed(row) if self.options.jackknife else [row] for row in rows]
        try:
            return [evaluated(group, self.options) for group in sets]
        except DataError as error:
            raise DataError(f"{self.source.paths[0]}: {error}") from None
