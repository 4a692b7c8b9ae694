"""ROUGE-W: the longest common subsequence that rewards words in a row (Lin 2004, section 4).

A run of k matching words in a row counts f(k) = k^weight. The table is Lin's: where two words
are equal the run goes on, whatever else could be had.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

__all__ = ["weighted_lcs"]


def weighted_lcs(left: Sequence[int], right: Sequence[int], weight: float) -> float:
    """Return WLCS of two lists of word numbers; f(length) for a list against itself.

    The table is filled diagonal by diagonal, so that only three are held: memory grows with
    the texts, time with their product.

    Args:
        left: word numbers.
        right: word numbers.
        weight: exponent of f, 1 or more; 1 gives the plain length.
    """
    m, n = len(left), len(right)
    if not m or not n:
        return 0.0
    a, b = np.array(left), np.array(right)[::-1]
    gain = np.array([k**weight for k in range(min(m, n) + 1)])
    # By row i, 0 to m, of the diagonal i + j = d: the value, the run that ends here, and the
    # value before that run. A run adds f(its length) at once: adding differences would round.
    value, run, base = np.zeros(m + 1), np.zeros(m + 1, dtype=np.intp), np.zeros(m + 1)
    earlier = value.copy(), run.copy(), base.copy()
    for d in range(2, m + n + 1):
        first, last = max(1, d - n), min(m, d - 1)
        here, above = slice(first, last + 1), slice(first - 1, last)
        # Row i meets column j = d - i, which stands at n - j of the reversed words.
        equal = a[first - 1 : last] == b[n - d + first : n - d + last + 1]
        length = np.where(equal, earlier[1][above] + 1, 0)
        start = earlier[2][above]
        kept = np.maximum(value[here], value[above])
        now = np.where(equal, start + gain[length], kept)
        following = np.zeros(m + 1), np.zeros(m + 1, dtype=np.intp), np.zeros(m + 1)
        following[0][here], following[1][here] = now, length
        following[2][here] = np.where(equal, start, now)
        earlier, (value, run, base) = (value, run, base), following
    return float(value[m])
