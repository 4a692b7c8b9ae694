"""The union of longest common subsequences over lines, for many pairs in lockstep.

ROUGE-Lsum (Lin 2004, section 3.2) counts, for each line of the reference, the words that one
longest common subsequence with any line of the prediction covers. Among equally long ones it
must be the one rouge_score walks back to; `lcs.lcs_mask` finds it for two lines, with one
integer as the column of the table. Here a 64-bit integer, a block, holds several reference
lines side by side, and one numpy operation moves every lane (a predicted line against one
block) by one predicted word. Packing patterns so is as old as bit-parallel search
(Baeza-Yates and Gonnet 1992, "A new approach to text searching").
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from loratory.metrics.array import Array
from loratory.metrics.rouge.batch.column import Indices, ragged, running
from loratory.metrics.rouge.batch.pairs import Pairs
from loratory.metrics.rouge.lcs import lcs_mask

__all__ = ["summary_hits"]

Bits = NDArray[np.uint64]

_BLOCK = 64
_ONE = np.uint64(1)
# Lanes that move together, and their words: both are to fit the cache.
_LANES, _CELLS = 1 << 14, 1 << 20
_MOST = 1 << 21  # lanes, and words in blocks, that are held at once


class _Lines(NamedTuple):
    """Lines with shared words, of some pairs, and no other words than concern them."""

    words: Indices
    """Places of the words in their column, shape (words,)."""
    starts: Indices
    """Of each line, in `words`; shape (lines,)."""
    sizes: Indices
    pairs: Indices
    """Of each line; ascending."""


class _Lanes(NamedTuple):
    """Predicted lines, each against a block; every array has shape (lanes,)."""

    starts: Indices
    """First word, among those of the predicted lines."""
    sizes: Indices
    """Words."""
    blocks: Indices
    within: Indices
    """Place of the block among those of its pair."""


class _Blocks(NamedTuple):
    """Reference lines as fields of integers, a zero bit above each."""

    first: Indices
    """First block of each pair, and one number more; shape (pairs + 1,)."""
    of_word: Indices
    """Block of each reference word."""
    shift: Bits
    """Bit of each reference word."""
    fields: Bits
    """Ones where words are, by block."""
    reach: list[Bits]
    """For 1, 2, 4, …: the bits that far above which is a bit of the same field, by block."""


def summary_hits(pairs: Pairs) -> Array:
    """Return for each pair the words that ROUGE-Lsum counts, shape (n,).

    The first column holds predictions, the second references. A word counts no oftener than
    it occurs in the prediction.
    """
    lines = [_line_counts(pairs, side) for side in (0, 1)]
    # One line against one line is plain LCS, however the rest of the texts is broken.
    several = (lines[0] > 0) & (lines[1] > 0) & ((lines[0] > 1) | (lines[1] > 1))
    hits = np.zeros(pairs.n)
    if not several.all():
        hits[~several] = pairs.lcs_lengths[~several]
    if several.any():
        hits[several] = _union_hits(pairs, several)[several]
    return hits


def _union_hits(pairs: Pairs, chosen: NDArray[np.bool_]) -> Array:
    """Return the hits of the chosen pairs, and 0 for the others; shape (n,)."""
    expected = _lines_of(pairs, 1, chosen, barriers=False)
    predicted = _lines_of(pairs, 0, chosen, barriers=True)
    wide = expected.sizes >= _BLOCK
    covered = [
        _covered(pairs, _select(expected, lines), predicted)
        for lines in _parts(pairs, expected, np.flatnonzero(~wide), predicted)
    ]
    covered += [
        _covered_wide(pairs, expected, line, predicted) for line in np.flatnonzero(wide).tolist()
    ]
    # A pair that is chosen has lines with shared words on both sides: there is some array.
    ranks = pairs.ranks[1][np.concatenate(covered)]
    counts = np.bincount(ranks, minlength=len(pairs.rank_pairs) + 1)[1:]
    return pairs.per_pair(np.minimum(counts, pairs.counts[0]))


def _parts(pairs: Pairs, expected: _Lines, lines: Indices, predicted: _Lines) -> Iterator[Indices]:
    """Yield so many reference lines at a time that lanes and table keep to a size."""
    each = np.bincount(predicted.pairs, minlength=pairs.n) + np.diff(pairs.rank_offsets) + 1
    cells = running(each[expected.pairs[lines]] * (expected.sizes[lines] + 1) // _BLOCK)
    start = 0
    while start < len(lines):
        stop = max(int(np.searchsorted(cells, cells[start] + _MOST, side="right")) - 1, start + 1)
        yield lines[start:stop]
        start = stop


def _covered_wide(pairs: Pairs, expected: _Lines, line: int, predicted: _Lines) -> Indices:
    """Return the covered words of one reference line that no block holds."""
    begin = expected.starts[line]
    words = expected.words[begin : begin + expected.sizes[line]]
    places: dict[int, int] = {}
    for position, rank in enumerate(pairs.ranks[1][words].tolist()):
        places[rank] = places.get(rank, 0) | 1 << position
    first, last = np.searchsorted(predicted.pairs, expected.pairs[line] + np.arange(2))
    union = 0
    for start, size in zip(predicted.starts[first:last], predicted.sizes[first:last], strict=True):
        candidate = pairs.ranks[0][predicted.words[start : start + size]].tolist()
        union |= lcs_mask(places, len(words), candidate)
    return words[[bit == "1" for bit in reversed(f"{union:0{len(words)}b}")]]


def _covered(pairs: Pairs, expected: _Lines, predicted: _Lines) -> Indices:
    """Return the reference words, as places in their column, that the unions cover."""
    blocks = _pack(expected, pairs.n)
    width = np.diff(blocks.first)
    # The table: for each pair, shared word and block of its reference, the word's bits. Row 0 of
    # a pair is for words that are not shared.
    sizes = (np.diff(pairs.rank_offsets) + 1) * width
    base = np.cumsum(sizes) - sizes
    of_pair, local = _local(pairs, 1, expected)
    cells = base[of_pair] + local * width[of_pair] + blocks.of_word - blocks.first[of_pair]
    table = np.zeros(sizes.sum(), dtype=np.uint64)
    np.add.at(table, cells, _ONE << blocks.shift)  # no bit comes twice, so adding is uniting
    of_pair, local = _local(pairs, 0, predicted)
    rows = base[of_pair] + local * width[of_pair]
    # A lane for each block and each predicted line of its pair, blocks in order.
    block_pairs = np.repeat(np.arange(pairs.n), width)
    line_offsets = np.searchsorted(predicted.pairs, np.arange(pairs.n + 1))
    lane_lines, lane_offsets = ragged(line_offsets, block_pairs)
    lane_blocks = np.repeat(np.arange(len(block_pairs)), np.diff(lane_offsets))
    lanes = _Lanes(
        predicted.starts[lane_lines],
        predicted.sizes[lane_lines],
        lane_blocks,
        (np.arange(len(block_pairs)) - blocks.first[block_pairs])[lane_blocks],
    )
    taken = np.empty(len(lane_lines), dtype=np.uint64)
    for chosen in _rounds(lanes):
        taken[chosen] = _walk(table, rows, blocks, _Lanes(*(part[chosen] for part in lanes)))
    union = np.bitwise_or.reduceat(taken, lane_offsets[:-1])
    found = (union[blocks.of_word] >> blocks.shift) & _ONE
    return expected.words[np.flatnonzero(found)]


def _local(pairs: Pairs, side: int, lines: _Lines) -> tuple[Indices, Indices]:
    """Return the pair of each word of the lines, and its rank within the pair; 0 if not shared."""
    of_pair = np.repeat(lines.pairs, lines.sizes)
    ranks = pairs.ranks[side][lines.words]
    return of_pair, np.maximum(ranks - pairs.rank_offsets[of_pair], 0)


def _line_counts(pairs: Pairs, side: int) -> Indices:
    """Return how many lines with shared words each text of one side has, shape (n,)."""
    column = (pairs.left, pairs.right)[side]
    shared = running(pairs.ranks[side] > 0)
    with_words = running(np.diff(shared[column.lines]) > 0)
    return np.diff(with_words[column.texts])


def _lines_of(pairs: Pairs, side: int, chosen: NDArray[np.bool_], barriers: bool) -> _Lines:
    """Return the lines that matter of the chosen pairs.

    Words that are not shared change no table. In a prediction the walk back stops at them, so
    that one of each run behind a shared word is kept where `barriers` asks for it.
    """
    column = (pairs.left, pairs.right)[side]
    of_line = np.repeat(np.arange(len(column.texts) - 1), np.diff(column.texts))
    sizes = np.diff(column.lines)
    kept = (pairs.ranks[side] > 0) & np.repeat(chosen[of_line], sizes)
    if barriers:
        behind = np.concatenate([[False], kept])
        behind[column.lines] = False
        kept = kept | behind[:-1]
    words = np.flatnonzero(kept)
    counted = running(kept)[column.lines]
    counts = np.diff(counted)
    lines = np.flatnonzero(counts)
    return _Lines(words, counted[lines], counts[lines], of_line[lines])


def _select(lines: _Lines, index: Indices) -> _Lines:
    words, offsets = ragged(np.append(lines.starts, len(lines.words)), index)
    return _Lines(lines.words[words], offsets[:-1], lines.sizes[index], lines.pairs[index])


def _pack(lines: _Lines, n: int) -> _Blocks:
    """Put as many lines of a pair into each block as fit, in order."""
    used = running(lines.sizes + 1)
    offsets = np.searchsorted(lines.pairs, np.arange(n + 1))
    begins, ends = offsets[:-1], offsets[1:]
    begins, ends = begins[begins < ends], ends[begins < ends]
    found = [begins]
    while len(begins):
        # The first line that does not fit any more; a line of up to 63 words always does.
        following = np.searchsorted(used, used[begins] + _BLOCK, side="right") - 1
        begins, ends = following[following < ends], ends[following < ends]
        found.append(begins)
    starts = np.sort(np.concatenate(found))
    first = np.searchsorted(lines.pairs[starts], np.arange(n + 1))
    of_line = np.repeat(np.arange(len(starts)), np.diff(starts, append=len(lines.sizes)))
    offset = (used[:-1] - used[starts[of_line]]).astype(np.uint64)
    within = np.arange(len(lines.words)) - np.repeat(lines.starts, lines.sizes)

    def field(less: int) -> Bits:
        ones = (_ONE << np.maximum(lines.sizes - less, 0).astype(np.uint64)) - _ONE
        return np.bitwise_or.reduceat(ones << offset, starts)

    longest = int(lines.sizes.max())
    return _Blocks(
        first,
        np.repeat(of_line, lines.sizes),
        np.repeat(offset, lines.sizes) + within.astype(np.uint64),
        field(0),
        [field(1 << i) for i in range((longest - 1).bit_length())],
    )


def _rounds(lanes: _Lanes) -> Iterator[Indices]:
    """Yield lanes to move together, the longest first."""
    order = np.argsort(-lanes.sizes, kind="stable")
    start = 0
    while start < len(order):
        count = max(_CELLS // int(lanes.sizes[order[start]]), 64)
        yield order[start : start + min(count, _LANES)]
        start += min(count, _LANES)


def _walk(table: Bits, rows: Indices, blocks: _Blocks, lanes: _Lanes) -> Bits:
    """Return the reference words of one longest common subsequence a field, as bits, by lane.

    Args:
        table: bits of a word in a block.
        rows: where the row of each predicted word begins in the table.
        blocks: the reference lines.
        lanes: longest first.
    """
    fields = blocks.fields[lanes.blocks]
    reach = [(np.uint64(1 << i), mask[lanes.blocks]) for i, mask in enumerate(blocks.reach)]
    # Step after step, each with the lanes that have a word left.
    active = np.searchsorted(-lanes.sizes, -np.arange(lanes.sizes[0]))
    bounds = running(active)
    equal = np.empty(bounds[-1], dtype=np.uint64)
    stops = np.empty_like(equal)  # where the walk back stops dropping reference words
    level = fields.copy()  # zero bits: the table's value grows at this reference word
    word = lanes.starts.copy()
    steps = list(pairwise(bounds.tolist()))
    for start, stop in steps:
        size = stop - start
        cells = rows[word[:size]]
        cells += lanes.within[:size]
        found = np.take(table, cells, out=equal[start:stop], mode="clip")
        word[:size] += 1
        now = level[:size]
        both = now & found
        carried = now + both
        now ^= both
        now |= carried
        now &= fields[:size]  # a carry out of a field ends in the zero above it
        grown = np.invert(now, out=stops[start:stop])
        grown |= found
    taken, below = np.zeros_like(fields), fields.copy()
    for start, stop in reversed(steps):
        size = stop - start
        under = stops[start:stop] & below[:size]
        # All bits up to the highest of each field.
        for distance, mask in reach:
            lower = under >> distance
            lower &= mask[:size]
            under |= lower
        highest = under >> _ONE
        highest &= fields[:size]
        highest ^= under
        highest &= equal[start:stop]
        taken[:size] |= highest
        np.bitwise_xor(under, highest, out=below[:size])
    return taken
