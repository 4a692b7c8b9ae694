"""A recipe as text to a `RunConfig`, and back. Every mistake is found in one reading."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from loratory.config.schema import COMPONENTS, SECTIONS, RunConfig, Scalars
from loratory.config.section import Section
from loratory.config.text import read_yaml, write_yaml
from loratory.errors import ConfigError, suggest
from loratory.metrics.base import METRICS
from loratory.registry import Registry

__all__ = ["from_mapping", "load", "to_mapping", "to_yaml"]

TOP = (*Scalars.model_fields, *SECTIONS, *COMPONENTS, "metrics")
DEFAULT_METHOD = "lora"


def load(path: Path, overrides: Sequence[str] = ()) -> RunConfig:
    """Read a recipe file and apply `key=value` overrides, the last one winning.

    Raises:
        ConfigError: the file is missing or not YAML, or any number of its fields is wrong.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such recipe. `loratory init` writes one.") from None
    except IsADirectoryError:
        raise ConfigError(f"{path}: a folder; a recipe is a YAML file.") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 (byte {error.start}). Save it as UTF-8.") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}).") from None
    data = read_yaml(text, str(path))
    if not isinstance(data, dict):
        raise ConfigError(f"{path}: a recipe is a mapping such as `model: {{name: …}}`.")
    problems: list[str] = []
    for override in overrides:
        try:
            _override(data, override)
        except ConfigError as error:
            problems.extend(error.problems)
    return _typed(data, problems)


def _override(data: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not all(key.split(".")):
        raise ConfigError(f"{override}: an override reads key=value, as train.learning_rate=1e-4.")
    *parents, last = key.split(".")
    for name in parents:
        inner = data.get(name)
        if isinstance(inner, str):  # `method: lora` is short for `method: {name: lora}`
            inner = {"name": inner}
        if inner is None:
            inner = {}
        if not isinstance(inner, dict):
            raise ConfigError(f"{override}: '{name}' has no fields; give it whole, as {name}=[…].")
        data[name] = inner
        data = inner
    data[last] = read_yaml(text, override)


def from_mapping(data: Mapping[str, Any]) -> RunConfig:
    """Check a whole recipe and return it typed.

    Raises:
        ConfigError: one problem for every mistake, each beginning with the field's path.
    """
    return _typed(data, [])


def _typed(data: Mapping[str, Any], problems: list[str]) -> RunConfig:
    """Return `data` typed, or raise its problems together with those found before."""
    problems += [
        f"{key}: unknown field. {suggest(str(key), TOP)}" for key in data if key not in TOP
    ]
    scalars = {key: data[key] for key in Scalars.model_fields if key in data}
    outside = _section(Scalars, scalars, "", problems)
    values: dict[str, Any] = outside.model_dump() if outside is not None else {}
    for name, cls in SECTIONS.items():
        given = data.get(name)
        if given is None:
            given = {}
        if name in ("model", "data") and isinstance(given, str):
            given = {"name": given}
        if not isinstance(given, Mapping):
            problems.append(f"{name}: expected fields, got {_show(given)}.")
            continue
        values[name] = _section(cls, given, f"{name}.", problems)
    for name, registry in COMPONENTS.items():
        given = data.get(name)
        if given is None and name == "method":
            given = DEFAULT_METHOD
        if given is None:
            problems.append(f"{name}: missing. {suggest('', registry.names())}")
            continue
        values[name] = component(registry, given, name, problems)
    metrics = data.get("metrics")
    if not isinstance(metrics, list | tuple):
        metrics = [] if metrics is None else [metrics]
    values["metrics"] = tuple(
        component(METRICS, item, f"metrics[{i}]", problems) for i, item in enumerate(metrics)
    )
    if problems:
        raise ConfigError(problems)
    return RunConfig(**values)


def _section(
    cls: type[Section], given: Mapping[str, Any], prefix: str, problems: list[str]
) -> Section | None:
    # Through JSON: strict there still takes a list for a tuple, as YAML writes it.
    text, refused = _json(given, prefix, problems)
    try:
        return cls.model_validate_json(text)
    except ValidationError as error:
        problems.extend(_sentences(error, given, prefix, cls.model_fields, refused))
        return None


def component(registry: Registry[Any], given: Any, path: str, problems: list[str]) -> Any:
    if dataclasses.is_dataclass(given) and not isinstance(given, type):
        given = _plain(given)
    if isinstance(given, str):
        given = {"name": given}
    if not isinstance(given, Mapping) or not isinstance(given.get("name"), str):
        names = suggest("", registry.names())
        problems.append(f"{path}: expected a name, or fields with a name. {names}")
        return None
    try:
        cls = registry.get(given["name"], f"{path}.name")
    except ConfigError as error:
        problems.extend(error.problems)
        return None
    fields = [field.name for field in dataclasses.fields(cls)]
    unknown = [key for key in given if key not in (*fields, "name")]
    problems.extend(f"{path}.{key}: unknown field. {suggest(str(key), fields)}" for key in unknown)
    params = {key: value for key, value in given.items() if key in fields}
    text, refused = _json(params, f"{path}.", problems)
    try:
        component = TypeAdapter(cls).validate_json(text, strict=True)
    except ValidationError as error:
        problems.extend(_sentences(error, params, f"{path}.", fields, refused))
        return None
    problems.extend(f"{path}.{problem}" for problem in component.problems())
    return component


def _json(given: Mapping[str, Any], prefix: str, problems: list[str]) -> tuple[str, set[str]]:
    """Return fields as JSON, and the names of those it cannot hold, each a problem."""
    kept, refused = {}, set()
    for key, value in given.items():
        try:
            json.dumps({key: value}, allow_nan=False, ensure_ascii=False).encode()
            kept[key] = value
        except (TypeError, ValueError, RecursionError):
            refused.add(str(key))
            problems.append(
                f"{prefix}{key}: got {_show(value)}; it must be text, a finite number, true, "
                "false, null, or a list or mapping of them."
            )
    return json.dumps(kept), refused


def _sentences(
    error: ValidationError,
    given: Mapping[str, Any],
    prefix: str,
    names: Iterable[str],
    refused: set[str],
) -> list[str]:
    """Return one sentence for each wrong value; what a union's branches say is joined."""
    by_path: dict[str, list[Any]] = {}
    for item in error.errors():
        if item["loc"] and item["loc"][0] not in refused:
            by_path.setdefault(_path(item["loc"], given), []).append(item)
    return [f"{prefix}{path}: {_wrong(items, path, names)}" for path, items in by_path.items()]


def _path(location: tuple[str | int, ...], given: Any) -> str:
    """Return `columns.document` or `labels[1]`: of a location what is in the recipe."""
    path, value = "", given
    for part in location:
        if isinstance(value, Mapping) and part in value:
            path += f".{part}"
        elif isinstance(value, list | tuple) and isinstance(part, int):
            path += f"[{part}]"
        else:  # the name of a union's branch
            continue
        value = value[part]
    return path.removeprefix(".") or str(location[0])


def _wrong(items: Sequence[Any], name: str, names: Iterable[str]) -> str:
    first = items[0]
    if first["type"] == "extra_forbidden":
        return f"unknown field. {suggest(name, names)}"
    if first["type"] == "missing":
        return "missing, and it has no default."
    shown = _show(first["input"])
    if first["type"] == "literal_error" and len(items) == 1:
        expected = first["ctx"]["expected"]
        allowed = re.findall(r"'([^']*)'", expected) or re.split(r", | or ", expected)
        return f"unknown {shown}. {suggest(str(first['input']), allowed)}"
    if first["type"] == "string_pattern_mismatch":
        return f"got {shown}; letters, digits, dot, dash and underscore are allowed, at most 64."
    wanted = " or ".join(dict.fromkeys(_wanted(item) for item in items))
    return f"got {shown}; it must be {wanted}."


def _wanted(item: Any) -> str:
    if item["type"] == "string_too_short":
        return "text that is not empty"
    message = item["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    short = message.partition(", got ")[0].partition(", unable")[0]
    return str(short.replace("valid tuple", "list").replace("valid array", "list"))


def _show(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


def to_mapping(config: RunConfig) -> dict[str, Any]:
    """Return a config as plain data, every default written out, ready for `from_mapping`."""
    data: dict[str, Any] = {key: getattr(config, key) for key in Scalars.model_fields}
    for name in SECTIONS:
        data[name] = getattr(config, name).model_dump(mode="json")
    for name in COMPONENTS:
        data[name] = _plain(getattr(config, name))
    data["metrics"] = [_plain(item) for item in config.metrics]
    return data


def _plain(component: Any) -> dict[str, Any]:
    values = {key: _listed(value) for key, value in dataclasses.asdict(component).items()}
    return {"name": component.name, **values}


def _listed(value: Any) -> Any:
    return [_listed(item) for item in value] if isinstance(value, tuple) else value


def to_yaml(config: RunConfig) -> str:
    """Return a config as YAML that `load` reads back to an equal one."""
    return write_yaml(to_mapping(config))
