"""What is left out of garbage collection while a training runs."""

from __future__ import annotations

import gc
import weakref

import pytest

from loratory.tuning.garbage import frozen


@pytest.fixture(autouse=True)
def unfrozen():
    """Nothing is frozen: what runs tests may have done so."""
    gc.unfreeze()


class Ring:
    """An object that holds itself."""

    def __init__(self) -> None:
        self.own = self


def test_what_was_there_is_not_collected_within_and_what_is_new_is():
    old = Ring()
    gone = weakref.ref(old)
    with frozen():
        del old
        new = weakref.ref(Ring())
        gc.collect()
        assert gone() is not None and new() is None
    gc.collect()
    assert gone() is None


def test_it_ends_after_an_error_and_leaves_what_another_has_frozen():
    context = frozen()
    context.__enter__()
    assert gc.get_freeze_count()
    assert not context.__exit__(KeyError, KeyError(), None)
    assert not gc.get_freeze_count()
    gc.freeze()
    try:
        with frozen():
            pass
        assert gc.get_freeze_count()
    finally:
        gc.unfreeze()
