"""What `loratory list` knows: names, one sentence each, and settings; no torch needed."""

from __future__ import annotations

import dataclasses
import importlib.util
import inspect
import json
from collections.abc import Callable
from typing import Any

from loratory.errors import ConfigError, suggest
from loratory.methods.base import METHODS
from loratory.metrics.base import METRICS
from loratory.registry import Registry, field_docs
from loratory.tasks.base import TASKS
from loratory.tasks.embedded.base import DATASETS
from loratory.tuning.embedded import EMBEDDED

__all__ = ["listing"]

Entry = dict[str, Any]


def listing(kind: str) -> dict[str, list[Entry]]:
    """Return the entries of one kind, or of every kind when `kind` is empty.

    Raises:
        ConfigError: no such kind.
    """
    if kind and kind not in KINDS:
        raise ConfigError(f"list: unknown '{kind}'. {suggest(kind, KINDS)}")
    return {name: KINDS[name]() for name in KINDS if kind in ("", name)}


def _components(registry: Registry[Any]) -> list[Entry]:
    found = []
    for name in registry.names():
        cls = registry.get(name)
        docs = field_docs(cls)
        fields = [
            {
                "name": field.name,
                "type": field.type
                if isinstance(field.type, str)
                else inspect.formatannotation(field.type),
                "default": _default(field),
                "about": docs.get(field.name, ""),
            }
            for field in dataclasses.fields(cls)
        ]
        entry: Entry = {"name": name, "about": _first_sentence(cls), "fields": fields}
        if paper := getattr(cls, "paper", None):
            entry["paper"] = paper
        if columns := getattr(cls, "columns", None):
            entry["columns"] = dict(columns)
        found.append(entry)
    return found


def _default(field: dataclasses.Field[Any]) -> Any:
    """Return a field's default as JSON has it; null where there is none."""
    value = None if field.default is dataclasses.MISSING else field.default
    if field.default_factory is not dataclasses.MISSING:
        value = field.default_factory()
    return json.loads(json.dumps(value, default=str))


def _models() -> list[Entry]:
    return [
        {
            "name": f"embedded:{name}",
            "about": model.about,
            "package": model.package,
            "installed": importlib.util.find_spec(model.module) is not None,
        }
        for name, model in sorted(EMBEDDED.items())
    ]


def _data() -> list[Entry]:
    return [
        {"name": f"embedded:{name}", "about": DATASETS.get(name).about} for name in DATASETS.names()
    ]


def _first_sentence(cls: type) -> str:
    return " ".join((cls.__doc__ or "").split("\n\n")[0].split())


KINDS: dict[str, Callable[[], list[Entry]]] = {
    "methods": lambda: _components(METHODS),
    "tasks": lambda: _components(TASKS),
    "metrics": lambda: _components(METRICS),
    "models": _models,
    "data": _data,
}
