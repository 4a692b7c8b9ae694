"""glibc's caches of small blocks: which processes do without them."""

from __future__ import annotations

import pytest

from loratory.tuning.heap import environment, share

BOTH = "glibc.malloc.tcache_count=0:glibc.malloc.mxfast=0"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("", BOTH),
        (BOTH, BOTH),
        ("glibc.malloc.arena_max=1", f"{BOTH}:glibc.malloc.arena_max=1"),
        ("glibc.malloc.tcache_count=7", "glibc.malloc.tcache_count=7:glibc.malloc.mxfast=0"),
    ],
)
def test_what_is_set_already_stays(given, expected):
    before = {"GLIBC_TUNABLES": given, "HOME": "x"}
    after = environment(before)
    assert after == {"GLIBC_TUNABLES": expected, "HOME": "x"}
    assert environment(after) == after and before["GLIBC_TUNABLES"] == given


def test_less_is_kept_without_both_caches():
    assert share({}) == share({"GLIBC_TUNABLES": "glibc.malloc.mxfast=0"}) > share(environment({}))
    assert share(environment({"GLIBC_TUNABLES": "glibc.malloc.tcache_count=7"})) == share({})
