"""What training needs, imported where it is asked for and not before."""

from __future__ import annotations

import gc
import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from loratory.errors import MissingDependencyError

__all__ = ["training_packages"]


@contextmanager
def training_packages(*modules: str) -> Iterator[None]:
    """Import modules of `loratory.tuning`, and say which package is missing where one is.

    Args:
        modules: that bring torch and what else is used within the context.

    Raises:
        MissingDependencyError: one of them, or an import within, found no such module.
    """
    try:
        with _uncollected():
            for name in modules:
                importlib.import_module(f"loratory.tuning.{name}")
        yield
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            f"this needs the package {error.name}, which is not installed. "
            "Run: pip install 'loratory[train]'"
        ) from None


@contextmanager
def _uncollected() -> Iterator[None]:
    """Collect no garbage within the context, and none of what it brings later.

    Hardly anything of a library that is imported is garbage, and Python would look through all of
    it again and again: a fifth of the time that torch, transformers and peft take. Where someone
    else has imported torch or frozen what there is, that is left to them.
    """
    collects, alone = gc.isenabled(), "torch" not in sys.modules and not gc.get_freeze_count()
    if alone:
        gc.collect()  # what a caller has thrown away by now would never be
    gc.disable()
    try:
        yield
    finally:
        if alone:
            gc.freeze()
        if collects:
            gc.enable()
