"""Loratory: fine-tune a language model, and prove it got better.

`loratory.run(RunConfig(...))` is the whole line; every stage of it is a function here too.
Nothing is imported before it is used: `import loratory` is light.
"""

from __future__ import annotations

TYPE_CHECKING = False  # typing's own takes longer to load than all that a command's help needs
if TYPE_CHECKING:
    from typing import Any

    from loratory.config import RunConfig
    from loratory.errors import LoratoryError
    from loratory.pipeline import (
        check,
        compare,
        compare_seeds,
        predict,
        prepare,
        probe,
        resume,
        run,
        score,
        train,
        write_report,
    )
    from loratory.runs import Run

__version__ = "0.1.0"

__all__ = [
    "LoratoryError",
    "Run",
    "RunConfig",
    "check",
    "compare",
    "compare_seeds",
    "predict",
    "prepare",
    "probe",
    "resume",
    "run",
    "score",
    "train",
    "write_report",
]

_HOMES = {"LoratoryError": "errors", "Run": "runs", "RunConfig": "config"}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'loratory' has no attribute '{name}'")
    from importlib import import_module

    value = getattr(import_module(f"loratory.{_HOMES.get(name, 'pipeline')}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
