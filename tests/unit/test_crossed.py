"""No case is lost when few are chosen for the fast tests, and no value is left to the slow ones."""

from __future__ import annotations

import itertools

import pytest

from crossed import crossed, few, thinned


@pytest.mark.parametrize("sizes", [(4, 6, 2), (3, 6, 2), (26, 4), (3, 4), (5, 5), (1, 3), (7,)])
def test_all_are_kept_and_each_value_is_among_the_fast(sizes):
    axes = [[f"{place}.{i}" for i in range(size)] for place, size in enumerate(sizes)]
    cases = list(itertools.product(*axes))
    made = thinned(cases)
    assert [param.values for param in made] == cases
    fast = [param.values for param in made if not param.marks]
    assert [set(column) for column in zip(*fast, strict=True)] == [set(axis) for axis in axes]
    assert len(fast) <= sum(sizes)
    slow = [mark.name for param in made for mark in param.marks]
    assert slow == ["slow"] * (len(cases) - len(fast))


def test_the_others_are_taken_in_turn():
    fast = [p.values for p in thinned(itertools.product("abcd", (1, 2))) if not p.marks]
    assert fast == [("a", 1), ("b", 2), ("c", 1), ("d", 2)]


def test_names_stand_in_the_order_given():
    mark = crossed(one="ab", two="cd")
    assert mark.args[0] == ("one", "two")
    assert [param.values for param in mark.args[1]] == [*itertools.product("ab", "cd")]


def test_few_keeps_all_in_their_order():
    made = few("abc", "b")
    assert [(param.values, bool(param.marks)) for param in made] == [
        (("a",), True),
        (("b",), False),
        (("c",), True),
    ]
