"""Drafts are what followed the same tokens before, and nothing else."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from loratory.tuning.lookup import SAME, Text


def test_a_draft_is_what_followed_the_last_tokens_where_they_stood_last():
    text = Text([1, 2, 3, 4, 1, 2, 5, 6, 1, 2])
    assert text.draft(3) == [5, 6, 1]
    assert text.draft(0) == []
    text.extend([5])
    assert text.draft(2) == [6, 1]
    text.extend([9])
    assert text.draft(2) == []


@given(st.lists(st.integers(0, 3), max_size=30), st.integers(0, 5))
def test_it_finds_what_a_search_from_behind_finds(tokens, most):
    expected, last = [], tokens[-SAME:]
    for place in range(len(tokens) - 1, SAME - 1, -1):
        if tokens[place - SAME : place] == last:
            expected = tokens[place : place + most]
            break
    half = len(tokens) // 2
    text = Text(tokens[:half])
    text.extend(tokens[half:])
    assert text.tokens == tokens
    assert text.draft(most) == expected
