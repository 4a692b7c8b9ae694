"""What a run ran on: versions and hardware, from a fixed list and nothing else.

No environment variable, host name, user name or path is recorded: a manifest is shared.
"""

from __future__ import annotations

import importlib.util
import os
import platform
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from loratory.errors import MissingDependencyError

__all__ = ["hardware", "need_loggers", "versions"]

PACKAGES = (
    "accelerate",
    "bitsandbytes",
    "datasets",
    "loratory",
    "numpy",
    "peft",
    "rapidfuzz",
    "tokenizers",
    "torch",
    "transformers",
    "vllm",
)


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that shape results."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def hardware() -> dict[str, Any]:
    """Return processor, usable cores and memory in bytes; what is not known is None."""
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "cpu": _cpu_name(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
        "memory_bytes": _memory(),
    }


def _cpu_name() -> str | None:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or None


def _memory() -> int | None:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return None


def need_loggers(names: Iterable[str]) -> None:
    """Refuse a logger that is not installed, before it is missed in the middle of a run.

    Raises:
        MissingDependencyError: the first of `names` that is no installed package.
    """
    for name in names:
        if importlib.util.find_spec(name) is None:
            raise MissingDependencyError(
                f"train.report_to: {name} is not installed. Run: pip install {name}"
            )
