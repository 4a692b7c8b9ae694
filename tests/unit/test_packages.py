"""How what training needs is imported."""

from __future__ import annotations

import subprocess
import sys

import pytest

from loratory.errors import MissingDependencyError
from loratory.pipeline.packages import training_packages

WITHIN = """
import gc, sys, weakref
{before}
from loratory.pipeline.packages import training_packages

class Ring:
    def __init__(self):
        self.own = self

gone = weakref.ref(Ring())
with training_packages("garbage"):
    collects = gc.isenabled()
print(collects, gc.isenabled(), gc.get_freeze_count() > 0, gone() is None)
"""


def said(before: str = "") -> list[str]:
    """Whether garbage is collected within and after, is frozen, and what there was is gone."""
    done = subprocess.run(
        [sys.executable, "-c", WITHIN.format(before=before)],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.split()


def test_what_is_imported_is_not_searched_for_garbage():
    assert said() == ["True", "True", "True", "True"]


@pytest.mark.parametrize("before", ["import types; sys.modules['torch'] = types", "gc.freeze()"])
def test_what_others_have_loaded_or_frozen_is_left_to_them(before):
    assert said(before)[2] == str(before == "gc.freeze()")


def test_collection_that_was_off_stays_off():
    assert said("gc.disable()")[1] == "False"


def test_a_missing_package_is_one_sentence():
    with (
        pytest.raises(MissingDependencyError, match=r"package nowhere_at_all.*loratory\[train\]"),
        training_packages(),
    ):
        import nowhere_at_all  # noqa: F401
    with pytest.raises(MissingDependencyError, match=r"loratory\.tuning\.nothing"):
        training_packages("nothing").__enter__()
