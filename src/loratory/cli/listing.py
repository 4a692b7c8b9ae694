"""What `loratory list` knows: names, one sentence each, and settings; no torch needed."""

from __future__ import annotations

import dataclasses
import importlib.util
import inspect
import json
from collections.abc import Callable
from functools import partial
from types import NoneType, UnionType
from typing import Any, NamedTuple, Union, get_args, get_origin

from loratory.errors import ConfigError, suggest
from loratory.methods.base import METHODS, Family, Quantisation
from loratory.methods.peft_types import TYPES
from loratory.metrics.base import METRICS
from loratory.registry import Registry, field_docs
from loratory.tasks.base import TASKS
from loratory.tasks.embedded.base import DATASETS
from loratory.tuning.embedded import EMBEDDED

__all__ = ["abilities", "listing"]

Entry = dict[str, Any]


class Kind(NamedTuple):
    """Entries of one kind: what they are called, and how one is made."""

    names: Callable[[], list[str]]
    entry: Callable[[str], Entry]


def listing(kind: str) -> dict[str, list[Entry]]:
    """Return the entries of one kind, of every kind when `kind` is empty, or the one so named.

    `methods` has two kinds: those with a file of their own, and peft's other types. The settings
    of the latter are the installed peft's, which is asked only where one of them is named.

    Raises:
        ConfigError: no such kind or name.
        MissingDependencyError: one of peft's types is named, and peft is not installed.
    """
    if not kind or kind in KINDS:
        wanted = {"": tuple(KINDS), "methods": ("methods", "peft_types")}.get(kind, (kind,))
        return {key: [KINDS[key].entry(name) for name in KINDS[key].names()] for key in wanted}
    found = {key: [made.entry(kind)] for key, made in KINDS.items() if kind in made.names()}
    if not found:
        raise ConfigError(f"list: unknown '{kind}'. {suggest(kind, KINDS)}")
    if "peft_types" in found:
        found["peft_types"][0]["fields"] = _fields(METHODS.get(kind, "list"))
    return found


def abilities(method: Any) -> Entry:
    """Return what a method, or an entry of peft's types, can be used with and for.

    `families` and `quantised` are lists in a fixed order; `merges` and `conv1d` (GPT-2's kind of
    layer) are true or false.
    """
    return {
        "paper": method.paper,
        "families": [family for family in get_args(Family) if family in method.families],
        "merges": method.merges,
        "quantised": [base for base in get_args(Quantisation) if base in method.quantised],
        "conv1d": getattr(method, "conv1d", True),
    }


def _component(registry: Registry[Any], name: str) -> Entry:
    cls = registry.get(name)
    entry: Entry = {"name": name, "about": _first_sentence(cls)}
    entry["fields"] = _fields(cls)
    if registry is METHODS:
        entry |= abilities(cls)
    if columns := getattr(cls, "columns", None):
        entry["columns"] = dict(columns)
    return entry


def _fields(cls: Any) -> list[Entry]:
    docs = field_docs(cls)
    return [
        {
            "name": field.name,
            "type": _type(field.type),
            "default": _default(field),
            # A class that was made and not written has peft's own words, if any.
            "about": docs.get(field.name) or " ".join(field.metadata.get("help", "").split()),
        }
        for field in dataclasses.fields(cls)
    ]


def _peft_type(name: str) -> Entry:
    return {"name": name, "about": TYPES[name].about, **abilities(TYPES[name])}


def _type(hint: Any) -> str:
    """Return a type as it is written: `int | None`."""
    if isinstance(hint, str):
        return hint
    if get_origin(hint) in (Union, UnionType):
        return " | ".join(map(_type, get_args(hint)))
    return "None" if hint is NoneType else inspect.formatannotation(hint)


def _default(field: dataclasses.Field[Any]) -> Any:
    """Return a field's default as JSON has it; null where there is none."""
    value = None if field.default is dataclasses.MISSING else field.default
    if field.default_factory is not dataclasses.MISSING:
        value = field.default_factory()
    return json.loads(json.dumps(value, default=str))


def _first_sentence(cls: type) -> str:
    return " ".join((cls.__doc__ or "").split("\n\n")[0].split())


def _model(name: str) -> Entry:
    model = EMBEDDED[name.removeprefix(PREFIX)]
    return {
        "name": name,
        "about": model.about,
        "package": model.package,
        "installed": importlib.util.find_spec(model.module) is not None,
    }


def _data(name: str) -> Entry:
    return {"name": name, "about": DATASETS.get(name.removeprefix(PREFIX)).about}


def _registered(registry: Registry[Any]) -> Kind:
    return Kind(registry.names, partial(_component, registry))


PREFIX = "embedded:"
KINDS: dict[str, Kind] = {
    "methods": _registered(METHODS),
    "peft_types": Kind(METHODS.further, _peft_type),
    "tasks": _registered(TASKS),
    "metrics": _registered(METRICS),
    "models": Kind(lambda: [f"{PREFIX}{name}" for name in sorted(EMBEDDED)], _model),
    "data": Kind(lambda: [f"{PREFIX}{name}" for name in DATASETS.names()], _data),
}
