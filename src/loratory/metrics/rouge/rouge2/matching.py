"""Maximum matching of units that may match more than one other.

Augmenting paths (Ford and Fulkerson 1956, "Maximal flow through a network"), many in one
pass. Equal units of a side are one node with a capacity, so the work grows with the distinct
units of a text and not with its length.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

__all__ = ["max_matching"]


def max_matching(
    supply: Sequence[int], demand: Sequence[int], edges: Sequence[Sequence[int]]
) -> int:
    """Return the most units of two sides that can be matched one to one.

    Args:
        supply: how often each left unit occurs.
        demand: how often each right unit does.
        edges: for each left unit, the right units that it matches, none twice.
    """
    network = _Network(supply, demand, edges)
    total = network.first()
    while more := network.augment():
        total += more
    return total


class _Network:
    """What is left to match on both sides, and what is matched with what."""

    def __init__(
        self, supply: Sequence[int], demand: Sequence[int], edges: Sequence[Sequence[int]]
    ) -> None:
        self.left = list(supply)
        self.right = list(demand)
        self.edges = edges
        # matched[j][i]: how many of right unit j are matched with left unit i.
        self.matched: list[dict[int, int]] = [{} for _ in self.right]

    def first(self) -> int:
        """Match what comes first, and return how many units."""
        total = 0
        for i, units in enumerate(self.edges):
            for j in units:
                amount = min(self.left[i], self.right[j])
                if amount:
                    self._match(i, j, amount)
                    total += amount
        return total

    def augment(self) -> int:
        """Match more along paths without a common right unit; 0 tells that there are none."""
        seen: set[int] = set()
        return sum(self._search(i, seen) for i, free in enumerate(self.left) if free)

    def _search(self, start: int, seen: set[int]) -> int:
        """Match units of `start` more, by moving others, and return how many."""
        reached: dict[int, int] = {}  # right unit: the left one that it was reached from
        moved: dict[int, int] = {}  # left unit: the right one that it would let go
        queue = deque([start])
        while queue:
            i = queue.popleft()
            for j in self.edges[i]:
                if j in seen:
                    continue
                seen.add(j)
                reached[j] = i
                if self.right[j]:
                    return self._push(start, j, reached, moved)
                for other in self.matched[j]:
                    if other != start and other not in moved:
                        moved[other] = j
                        queue.append(other)
        return 0

    def _push(self, start: int, end: int, reached: dict[int, int], moved: dict[int, int]) -> int:
        """Shift matches along the path that ends at a right unit with room."""
        path = []
        amount = min(self.left[start], self.right[end])
        j = end
        while (i := reached[j]) != start:
            path.append((i, j, moved[i]))
            j = moved[i]
            amount = min(amount, self.matched[j][i])
        for i, to, of in path:
            self._match(i, of, -amount)
            self._match(i, to, amount)
        self._match(start, j, amount)
        return amount

    def _match(self, i: int, j: int, amount: int) -> None:
        self.left[i] -= amount
        self.right[j] -= amount
        count = self.matched[j].get(i, 0) + amount
        if count:
            self.matched[j][i] = count
        else:
            del self.matched[j][i]
