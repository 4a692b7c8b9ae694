"""The inner loops of `wordtable`, `pairs` and `lanes` as machine code, made by numba.

The same counts by the same methods, one pair after the other; `engine` tells when they are
used. All of it stands in one file, because numba does not see when a function that another
file's compiled code contains has changed.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from loratory.metrics.array import Array
from loratory.metrics.rouge.batch.column import Indices

__all__ = ["cut_words", "pair_hits"]

Bits = NDArray[np.uint64]

_BLOCK = 64
_STEPS = 6  # shifts by 1, 2, … 32 fill a field of up to 63 bits
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
_ONE = np.uint64(1)
_NONE, _WIDE = -1, -2
# What there is of each block: ones where words are; what predicted lines cover; for each shift
# the bits that far above which is a bit of the same field; and the state of the table.
_FIELDS, _UNION, _REACH, _LEVEL, _BELOW, _ROWS = 0, 1, 2, 8, 9, 10
_FULL = np.uint64(0xFFFFFFFFFFFFFFFF)


@njit(cache=True, nogil=True)
def cut_words(
    data: NDArray[np.uint8],
    eights: Bits,
    lows: Bits,
    highs: Bits,
    ids: Indices,
    mixers: Bits,
    shift: np.uint64,
    words: Indices,
    unknown: Indices,
    line_ends: Indices,
    text_ends: Indices,
) -> tuple[int, int, int, int]:
    """Number the words that a table knows.

    Args:
        data: letters, digits and spaces; a newline ends a line, a zero a line and a text. The
            last byte is a zero, but for what pads it to more than sixteen bytes beyond.
        eights: the same bytes, eight at a time.
        lows: the table: the first eight letters of words,
        highs: the next eight,
        ids: and numbers; -1 where the table is empty.
        mixers: multipliers of the two.
        shift: of their sum, to get a place in the table.
        words: filled with numbers, or -1 - i for the i-th unknown word, one of over sixteen
            letters being unknown.
        unknown: filled with first and last byte of unknown words, shape (room, 2).
        line_ends: filled with the ends of lines, in words.
        text_ends: filled with the ends of texts, in lines.

    Returns:
        How many words, lines, texts and unknown words there are.
    """
    mask = np.uint64(len(ids) - 1)
    word, line, text, new, size = 0, 0, 0, 0, 0
    for i in range(len(data)):
        letter = data[i]
        if letter > 32:
            size += 1
            continue
        if size:
            start = np.uint64(i - size)
            low, high = _eight(eights, start), np.uint64(0)
            if size < 8:
                low &= (_ONE << np.uint64(8 * size)) - _ONE
            elif size > 8:
                high = _eight(eights, start + np.uint64(8))
                if size < 16:
                    high &= (_ONE << np.uint64(8 * size - 64)) - _ONE
            slot = (low * mixers[0] + high * mixers[1]) >> shift
            while ids[slot] >= 0 and (lows[slot] != low or highs[slot] != high):
                slot = (slot + _ONE) & mask
            number = ids[slot]
            if number < 0 or size > 16:
                unknown[new, 0], unknown[new, 1] = i - size, i
                new += 1
                number = -new
            words[word] = number
            word += 1
            size = 0
        if letter <= 10:
            line_ends[line] = word
            line += 1
            if letter == 0:
                text_ends[text] = line
                text += 1
    return word, line, text, new


@njit(cache=True, nogil=True)
def _eight(eights: Bits, place: np.uint64) -> np.uint64:
    """Return the eight bytes from a place on."""
    # Unsigned places spare the machine a look whether they count from the end.
    first, bits = place >> np.uint64(3), (place & np.uint64(7)) << np.uint64(3)
    return np.uint64(
        (eights[first] >> bits) | ((eights[first + _ONE] << _ONE) << (np.uint64(63) - bits))
    )


@njit(cache=True, nogil=True)
def pair_hits(
    words: tuple[Indices, Indices],
    lines: tuple[Indices, Indices],
    texts: tuple[Indices, Indices],
    orders: int,
    lcs: bool,
    summary: bool,
    huge: int,
) -> Array:
    """Return shared n-grams for each n up to `orders`, LCS and summary-level LCS.

    Args:
        words: word numbers of predictions and of references.
        lines: offsets of lines in them.
        texts: offsets of texts in lines.
        orders: the longest n-grams to count, at least 1.
        lcs: whether to measure the longest common subsequence.
        summary: whether to unite those of lines.
        huge: integers that a table for one pair may have.

    Returns:
        Shape (orders + 2, n); -1 for what would need a larger table.
    """
    n = len(texts[0]) - 1
    found = np.zeros((orders + 2, n))
    longest, most_lines = [0, 0], 0
    for side in range(2):
        for i in range(n):
            size = lines[side][texts[side][i + 1]] - lines[side][texts[side][i]]
            longest[side] = max(longest[side], size)
            most_lines = max(most_lines, texts[side][i + 1] - texts[side][i])
    bits = 2
    while (1 << bits) < 2 * longest[1] + 2:
        bits += 1
    keys = np.zeros(1 << bits, dtype=np.int64)
    values = np.zeros(1 << bits, dtype=np.int64)
    stamps = np.zeros(1 << bits, dtype=np.int64)
    stamp = 0
    # Of each word: the pair it was last met in, from 1, times 2^32, and its number there.
    highest = 0
    for side in range(2):
        for word in words[side]:
            highest = max(highest, word)
    numbers = np.zeros(highest + 1, dtype=np.int64)
    shift = np.uint64(64 - bits)
    mask = (1 << bits) - 1
    expected = np.empty(longest[1] + 1, dtype=np.int64)  # ranks of the reference's words, or -1
    predicted = np.empty(longest[0] + 1, dtype=np.int64)
    grams = (np.empty(longest[0] + 1, dtype=np.int64), np.empty(longest[1] + 1, dtype=np.int64))
    counts = (np.empty(longest[1] + 1, dtype=np.int64), np.empty(longest[1] + 1, dtype=np.int64))
    rank_of = np.empty(longest[1] + 1, dtype=np.int64)
    masks = np.empty(64, dtype=np.uint64)
    stops = np.empty(64, dtype=np.uint64)
    candidate = np.empty(longest[0] + 1, dtype=np.int64)
    covered = np.empty(longest[1] + 1, dtype=np.int64)
    places = np.empty(most_lines, dtype=np.int64)
    # Two blocks in a row are more than full, so this many are enough.
    rows = np.empty((_ROWS, (longest[1] + most_lines) // (_BLOCK // 2) + 2), dtype=np.uint64)
    for i in range(n):
        p0, p1 = lines[0][texts[0][i]], lines[0][texts[0][i + 1]]
        r0, r1 = lines[1][texts[1][i]], lines[1][texts[1][i + 1]]
        p, r = p1 - p0, r1 - r0
        if not p or not r:
            continue
        # Words of both, numbered as they come in the reference.
        distinct = 0
        base = np.int64(i + 1) << 32
        for j in range(r):
            word = words[1][r0 + j]
            number = numbers[word] - base
            if number < 0:
                number = distinct
                numbers[word] = base + number
                counts[0][number], counts[1][number] = 0, 0
                distinct += 1
            expected[j] = number
            counts[1][number] += 1
        for j in range(p):
            number = numbers[words[0][p0 + j]] - base
            predicted[j] = number  # negative for a word that the reference has not
            if number >= 0:
                counts[0][number] += 1
        ranks = 0
        hits = 0
        for word in range(distinct):
            hits += min(counts[0][word], counts[1][word])
            rank_of[word] = -1
            if counts[0][word]:
                rank_of[word] = ranks
                counts[0][ranks] = counts[0][word]
                ranks += 1
        found[0, i] = hits
        if not ranks:
            continue
        for j in range(r):
            expected[j] = rank_of[expected[j]]
        for j in range(p):
            if predicted[j] >= 0:
                predicted[j] = rank_of[predicted[j]]
        # n-grams of shared words: an n-gram is a shared one of n - 1 words, and a word.
        grams[0][:p] = predicted[:p]
        grams[1][:r] = expected[:r]
        for order in range(1, orders):
            stamp += 1
            distinct = 0
            for j in range(r - order):
                first, last = grams[1][j], expected[j + order]
                grams[1][j] = -1
                if first >= 0 and last >= 0:
                    key = first * ranks + last
                    slot = np.int64((np.uint64(key) * _MULTIPLIER) >> shift)
                    while stamps[slot] == stamp and keys[slot] != key:
                        slot = (slot + 1) & mask
                    if stamps[slot] != stamp:
                        stamps[slot], keys[slot], values[slot] = stamp, key, distinct
                        counts[1][distinct] = 0
                        distinct += 1
                    grams[1][j] = values[slot]
                    counts[1][values[slot]] += 1
            hits = 0
            for j in range(p - order):
                first, last = grams[0][j], predicted[j + order]
                grams[0][j] = -1
                if first >= 0 and last >= 0:
                    key = first * ranks + last
                    slot = np.int64((np.uint64(key) * _MULTIPLIER) >> shift)
                    while stamps[slot] == stamp and keys[slot] != key:
                        slot = (slot + 1) & mask
                    if stamps[slot] == stamp:
                        gram = values[slot]
                        grams[0][j] = gram
                        if counts[1][gram]:
                            counts[1][gram] -= 1
                            hits += 1
            found[order, i] = hits
            if not hits:
                break
        if not lcs and not summary:
            continue
        width = r // _BLOCK + 1
        large = (ranks + 1) * width > huge
        if not large and len(masks) < (ranks + 1) * width:
            masks = np.empty((ranks + 1) * width, dtype=np.uint64)
        single = summary and _one_line(predicted, lines[0], texts[0][i], texts[0][i + 1], p0)
        single = single and _one_line(expected, lines[1], texts[1][i], texts[1][i + 1], r0)
        if lcs or single:
            length = -1 if large else _lcs(expected[:r], predicted[:p], ranks, masks)
            found[orders, i] = length
        if single:
            found[orders + 1, i] = length
        elif summary:
            expected_lines = lines[1][texts[1][i] : texts[1][i + 1] + 1]
            predicted_lines = lines[0][texts[0][i] : texts[0][i + 1] + 1]
            blocks = _place(expected, expected_lines, places)
            line = 0
            for j in range(len(predicted_lines) - 1):
                line = max(line, predicted_lines[j + 1] - predicted_lines[j])
            if large or (ranks + 1 + line) * max(blocks, width) > huge:
                found[orders + 1, i] = -1
                continue
            if len(masks) < (ranks + 1) * blocks:
                masks = np.empty((ranks + 1) * blocks, dtype=np.uint64)
            if len(stops) < line * blocks:
                stops = np.empty(line * blocks, dtype=np.uint64)
            _fill(expected, expected_lines, places, ranks, blocks, masks, rows)
            for line in range(len(predicted_lines) - 1):
                first, last = predicted_lines[line] - p0, predicted_lines[line + 1] - p0
                size = _candidate(predicted[first:last], ranks, candidate)
                if size and blocks == 1:
                    _unite_one(candidate[:size], masks, rows, stops)
                elif size and blocks:
                    _unite(candidate[:size], blocks, masks, rows, stops)
            covered[:ranks] = 0
            _cover(expected, expected_lines, places, rows, covered)
            for line in range(len(expected_lines) - 1):
                if places[line] == _WIDE:
                    first, last = expected_lines[line] - r0, expected_lines[line + 1] - r0
                    _cover_wide(expected[first:last], predicted, predicted_lines, ranks, covered)
            hits = 0
            for rank in range(ranks):
                hits += min(covered[rank], counts[0][rank])
            found[orders + 1, i] = hits
    return found


@njit(cache=True, nogil=True)
def _one_line(ranks: Indices, lines: Indices, first: int, last: int, start: int) -> bool:
    """Tell whether all shared words of a text are in one of its lines."""
    holding = 0
    for line in range(first, last):
        for j in range(lines[line] - start, lines[line + 1] - start):
            if ranks[j] >= 0:
                holding += 1
                break
    return holding <= 1


@njit(cache=True, nogil=True)
def _lcs(expected: Indices, predicted: Indices, ranks: int, masks: Bits) -> int:
    """Return the length of the longest common subsequence; `masks` is overwritten."""
    size = 0
    for rank in expected:
        size += rank >= 0
    width = (size + _BLOCK - 1) // _BLOCK
    masks[: ranks * width] = 0
    place = 0
    for rank in expected:
        if rank >= 0:
            masks[rank * width + place // _BLOCK] |= _ONE << np.uint64(place % _BLOCK)
            place += 1
    level = np.full(width, _FULL)
    for rank in predicted:
        if rank < 0:
            continue
        carry = np.uint64(0)
        for w in range(width):
            now = level[w]
            both = now & masks[rank * width + w]
            first = now + both
            total = first + carry
            carry = np.uint64(first < now) | np.uint64(total < first)
            level[w] = total | (now ^ both)
    length = 0
    for w in range(width):
        grown = ~level[w]
        if w == width - 1 and size % _BLOCK:
            grown &= (_ONE << np.uint64(size % _BLOCK)) - _ONE
        while grown:
            grown &= grown - _ONE
            length += 1
    return length


@njit(cache=True, nogil=True)
def _place(ranks: Indices, lines: Indices, places: Indices) -> int:
    """Give each reference line its place: 64 times its block, and its first bit; see `lanes`.

    Lines without shared words get `_NONE`, those that no block holds `_WIDE`. Returns how many
    blocks there are.
    """
    blocks, used = 0, _BLOCK
    for line in range(len(lines) - 1):
        size = 0
        for j in range(lines[line] - lines[0], lines[line + 1] - lines[0]):
            size += ranks[j] >= 0
        if not size:
            places[line] = _NONE
        elif size >= _BLOCK:
            places[line] = _WIDE
        else:
            if used + size + 1 > _BLOCK:
                blocks, used = blocks + 1, 0
            places[line] = (blocks - 1) * _BLOCK + used
            used += size + 1
    return blocks


@njit(cache=True, nogil=True)
def _fill(
    expected: Indices,
    lines: Indices,
    places: Indices,
    ranks: int,
    blocks: int,
    masks: Bits,
    rows: Bits,
) -> None:
    """Write the bits of each rank in each block, the fields of blocks, and how far they reach."""
    masks[: (ranks + 1) * blocks] = 0
    rows[:, :blocks] = 0
    for line in range(len(lines) - 1):
        if places[line] < 0:
            continue
        block, offset = places[line] // _BLOCK, places[line] % _BLOCK
        size = 0
        for j in range(lines[line] - lines[0], lines[line + 1] - lines[0]):
            if expected[j] >= 0:
                masks[expected[j] * blocks + block] |= _ONE << np.uint64(offset + size)
                size += 1
        rows[_FIELDS, block] |= ((_ONE << np.uint64(size)) - _ONE) << np.uint64(offset)
        for step in range(_STEPS):
            if size > 1 << step:
                ones = (_ONE << np.uint64(size - (1 << step))) - _ONE
                rows[_REACH + step, block] |= ones << np.uint64(offset)


@njit(cache=True, nogil=True)
def _candidate(line: Indices, ranks: int, out: Indices) -> int:
    """Write a line's shared words, and `ranks` for a run of others behind one; return how many."""
    size = 0
    for rank in line:
        if rank >= 0:
            out[size] = rank
            size += 1
        elif size and out[size - 1] != ranks:
            out[size] = ranks
            size += 1
    return size


@njit(cache=True, nogil=True)
def _unite_one(candidate: Indices, masks: Bits, rows: Bits, stops: Bits) -> None:
    """Do what `_unite` does where there is one block."""
    fields = rows[_FIELDS, 0]
    reach = (rows[2, 0], rows[3, 0], rows[4, 0], rows[5, 0], rows[6, 0], rows[7, 0])
    level = fields
    for step in range(len(candidate)):
        equal = masks[candidate[step]]
        both = level & equal
        level = ((level + both) | (level ^ both)) & fields
        stops[step] = ~level | equal
    below, union = fields, np.uint64(0)
    for step in range(len(candidate) - 1, -1, -1):
        under = stops[step] & below
        if not under:
            break
        under |= (under >> np.uint64(1)) & reach[0]
        under |= (under >> np.uint64(2)) & reach[1]
        under |= (under >> np.uint64(4)) & reach[2]
        under |= (under >> np.uint64(8)) & reach[3]
        under |= (under >> np.uint64(16)) & reach[4]
        under |= (under >> np.uint64(32)) & reach[5]
        highest = (under ^ ((under >> _ONE) & fields)) & masks[candidate[step]]
        union |= highest
        below = under ^ highest
    rows[_UNION, 0] |= union


@njit(cache=True, nogil=True)
def _unite(candidate: Indices, blocks: int, masks: Bits, rows: Bits, stops: Bits) -> None:
    """Add to the union what one predicted line covers of each reference line."""
    fields, level, below, union = (
        rows[_FIELDS, :blocks],
        rows[_LEVEL, :blocks],
        rows[_BELOW, :blocks],
        rows[_UNION, :blocks],
    )
    reach = rows[_REACH : _REACH + _STEPS, :blocks]
    level[:] = fields
    below[:] = fields
    for step in range(len(candidate)):
        row = candidate[step] * blocks
        at = step * blocks
        for b in range(blocks):
            equal = masks[row + b]
            both = level[b] & equal
            level[b] = ((level[b] + both) | (level[b] ^ both)) & fields[b]
            stops[at + b] = ~level[b] | equal
    for step in range(len(candidate) - 1, -1, -1):
        row = candidate[step] * blocks
        at = step * blocks
        for b in range(blocks):
            under = stops[at + b] & below[b]
            under |= (under >> np.uint64(1)) & reach[0, b]
            under |= (under >> np.uint64(2)) & reach[1, b]
            under |= (under >> np.uint64(4)) & reach[2, b]
            under |= (under >> np.uint64(8)) & reach[3, b]
            under |= (under >> np.uint64(16)) & reach[4, b]
            under |= (under >> np.uint64(32)) & reach[5, b]
            highest = (under ^ ((under >> _ONE) & fields[b])) & masks[row + b]
            union[b] |= highest
            below[b] = under ^ highest


@njit(cache=True, nogil=True)
def _cover(
    expected: Indices, lines: Indices, places: Indices, rows: Bits, covered: Indices
) -> None:
    """Count the covered words of each rank."""
    for line in range(len(lines) - 1):
        if places[line] < 0:
            continue
        bits = rows[_UNION, places[line] // _BLOCK] >> np.uint64(places[line] % _BLOCK)
        for j in range(lines[line] - lines[0], lines[line + 1] - lines[0]):
            if expected[j] >= 0:
                covered[expected[j]] += np.int64(bits & _ONE)
                bits >>= _ONE


@njit(cache=True, nogil=True)
def _cover_wide(
    line: Indices,
    predicted: Indices,
    predicted_lines: Indices,
    ranks: int,
    covered: Indices,
) -> None:
    """Count the covered words of a reference line that no block holds."""
    size = 0
    for rank in line:
        size += rank >= 0
    width = (size + _BLOCK - 1) // _BLOCK
    masks = np.zeros(((ranks + 1), width), dtype=np.uint64)
    place = 0
    for rank in line:
        if rank >= 0:
            masks[rank, place // _BLOCK] |= _ONE << np.uint64(place % _BLOCK)
            place += 1
    union = np.zeros(width, dtype=np.uint64)
    for i in range(len(predicted_lines) - 1):
        begin = predicted_lines[i] - predicted_lines[0]
        end = predicted_lines[i + 1] - predicted_lines[0]
        candidate = np.empty(end - begin, dtype=np.int64)
        steps = _candidate(predicted[begin:end], ranks, candidate)
        stops = np.empty((steps, width), dtype=np.uint64)
        level = np.full(width, _FULL)
        for step in range(steps):
            carry = np.uint64(0)
            for w in range(width):
                equal = masks[candidate[step], w]
                now = level[w]
                both = now & equal
                first = now + both
                total = first + carry
                carry = np.uint64(first < now) | np.uint64(total < first)
                level[w] = total | (now ^ both)
                stops[step, w] = ~level[w] | equal
        # Above `bit` of word `top` the walk back has been.
        top, bit = (size - 1) // _BLOCK, (size - 1) % _BLOCK
        for step in range(steps - 1, -1, -1):
            under = stops[step, top] & (_FULL >> np.uint64(_BLOCK - 1 - bit))
            while not under and top:
                top -= 1
                under = stops[step, top]
            if not under:
                break
            bit = _highest(under)
            if (masks[candidate[step], top] >> np.uint64(bit)) & _ONE:
                union[top] |= _ONE << np.uint64(bit)
                bit -= 1
                if bit < 0:
                    top, bit = top - 1, _BLOCK - 1
                if top < 0:
                    break
    place = 0
    for rank in line:
        if rank >= 0:
            covered[rank] += np.int64((union[place // _BLOCK] >> np.uint64(place % _BLOCK)) & _ONE)
            place += 1


@njit(cache=True, nogil=True)
def _highest(bits: np.uint64) -> int:
    """Return the place of the highest bit that is set; one is."""
    place = 0
    for step in (32, 16, 8, 4, 2, 1):
        if bits >> np.uint64(step):
            bits >>= np.uint64(step)
            place += step
    return place
