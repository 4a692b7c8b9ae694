"""A recipe as text to a `RunConfig`, and back. Every mistake is found in one reading."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import TypeAdapter, ValidationError

from loratory.config.schema import COMPONENTS, SECTIONS, RunConfig, Scalars, Section
from loratory.errors import ConfigError, suggest
from loratory.metrics.base import METRICS
from loratory.registry import Registry

__all__ = ["from_mapping", "load", "read_yaml", "to_mapping", "to_yaml"]

TOP = (*Scalars.model_fields, *SECTIONS, *COMPONENTS, "metrics")
DEFAULT_METHOD = "lora"


class _Loader(yaml.SafeLoader):
    """YAML 1.2 where 1.1 surprises: `1e-3` is a number, a date is text, no key twice."""


_Loader.yaml_implicit_resolvers = {
    first: [
        (tag, pattern) for tag, pattern in resolvers if not tag.endswith(("timestamp", "float"))
    ]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:\d+\.\d*|\.\d+|\d+(?=[eE]))(?:[eE][-+]?\d+)?$"),
    list("-+.0123456789"),
)


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    seen: set[object] = set()
    for key_node, _ in node.value:
        key = loader.construct_object(key_node, deep=True)
        if not isinstance(key, str | int | float | bool) or key in seen:
            line = key_node.start_mark.line + 1
            raise ConfigError(f"line {line}: '{key}' stands twice, or is no name. Keep one.")
        seen.add(key)
    return loader.construct_mapping(node, deep=True)


_Loader.add_constructor("tag:yaml.org,2002:map", _mapping)


def read_yaml(text: str, where: str) -> Any:
    """Parse YAML safely.

    Raises:
        ConfigError: the text is not YAML; the sentence names `where` and the line.
    """
    try:
        return yaml.load(text, _Loader)  # noqa: S506 - a subclass of SafeLoader
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        what = getattr(error, "problem", None) or "unreadable"
        raise ConfigError(f"{where}{line}: not valid YAML ({what}).") from None
    except ConfigError as error:
        raise ConfigError(f"{where}, {error}") from None
    except (RecursionError, ValueError) as error:
        raise ConfigError(f"{where}: not usable YAML ({type(error).__name__}).") from None


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
    for override in overrides:
        _override(data, override)
    return from_mapping(data)


def _override(data: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key.strip("."):
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
    problems = [f"{key}: unknown field. {suggest(str(key), TOP)}" for key in data if key not in TOP]
    values: dict[str, Any] = {}
    scalars = {key: data[key] for key in Scalars.model_fields if key in data}
    values.update(_section(Scalars, scalars, "", problems))
    for name, cls in SECTIONS.items():
        given = data.get(name)
        if given is None:
            given = {}
        if name in ("model", "data") and isinstance(given, str):
            given = {"name": given}
        if not isinstance(given, Mapping):
            problems.append(f"{name}: expected fields, got {_show(given)}.")
            continue
        values[name] = _section(cls, given, f"{name}.", problems, build=True)
    for name, registry in COMPONENTS.items():
        given = data.get(name, DEFAULT_METHOD if name == "method" else None)
        if given is None:
            problems.append(f"{name}: missing. {suggest('', registry.names())}")
            continue
        values[name] = _component(registry, given, name, problems)
    metrics = data.get("metrics") or []
    if not isinstance(metrics, list):
        metrics = [metrics]
    values["metrics"] = tuple(
        _component(METRICS, item, f"metrics[{i}]", problems) for i, item in enumerate(metrics)
    )
    if problems:
        raise ConfigError(problems)
    return RunConfig(**values)


def _section(
    cls: type[Section],
    given: Mapping[str, Any],
    prefix: str,
    problems: list[str],
    build: bool = False,
) -> Any:
    try:
        # Through JSON: strict there still takes a list for a tuple, as YAML writes it.
        section = cls.model_validate_json(_json(given, prefix, problems))
    except ValidationError as error:
        names = cls.model_fields
        problems.extend(_sentence(item, prefix, names) for item in _distinct(error))
        return {} if not build else None
    return section if build else section.model_dump()


def _component(registry: Registry[Any], given: Any, path: str, problems: list[str]) -> Any:
    if dataclasses.is_dataclass(given) and not isinstance(given, type):
        given = {"name": given.name, **dataclasses.asdict(given)}  # type: ignore[attr-defined]
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
    fields = {field.name for field in dataclasses.fields(cls)}
    unknown = [key for key in given if key not in fields | {"name"}]
    problems.extend(f"{path}.{key}: unknown field. {suggest(str(key), fields)}" for key in unknown)
    params = {key: value for key, value in given.items() if key in fields}
    try:
        text = _json(params, f"{path}.", problems)
        component = TypeAdapter(cls).validate_json(text, strict=True)
    except ValidationError as error:
        problems.extend(_sentence(item, f"{path}.", fields) for item in _distinct(error))
        return None
    problems.extend(f"{path}.{problem}" for problem in component.problems())
    return component


def _json(given: Mapping[str, Any], prefix: str, problems: list[str]) -> str:
    try:
        return json.dumps(dict(given))
    except (TypeError, ValueError) as error:
        problems.append(f"{prefix.rstrip('.')}: holds what a recipe cannot ({error}).")
        return "{}"


def _distinct(error: ValidationError) -> list[Any]:
    """One error a field: of a union's branches the last, which for `x | None` is None's."""
    by_field: dict[Any, Any] = {}
    for item in error.errors():
        by_field.setdefault(item["loc"][:1], item)
    return list(by_field.values())


def _sentence(item: Any, prefix: str, names: Any) -> str:
    location = [part for part in item["loc"] if part in names or isinstance(part, int)]
    kind, context = item["type"], item.get("ctx", {})
    if kind == "extra_forbidden":
        field = str(item["loc"][0])
        return f"{prefix}{field}: unknown field. {suggest(field, names)}"
    path = prefix + ".".join(str(part) for part in location or item["loc"])
    if kind in ("missing", "missing_argument"):
        return f"{path}: missing, and it has no default."
    if kind == "literal_error":
        allowed = re.findall(r"'([^']*)'", context["expected"])
        return f"{path}: unknown {_show(item['input'])}. {suggest(str(item['input']), allowed)}"
    message = item["msg"][0].lower() + item["msg"][1:]
    return (
        f"{path}: got {_show(item['input'])}; {message.replace('input should be', 'it must be')}."
    )


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
    fields: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(component)))
    return {"name": component.name, **fields}


def to_yaml(config: RunConfig) -> str:
    """Return a config as YAML that `load` reads back to an equal one."""
    return yaml.safe_dump(to_mapping(config), sort_keys=False, allow_unicode=True)
