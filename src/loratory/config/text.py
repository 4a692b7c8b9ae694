"""YAML, read and written so that the two agree: the core schema of YAML 1.2, no aliases.

PyYAML speaks YAML 1.1, where `no` is false, `1e-3` is text and `1:30` is ninety. Aliases are
refused: ten lines of them can stand for more data than there is memory.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

from loratory.errors import ConfigError

__all__ = ["read_yaml", "write_yaml"]

Resolvers = dict[str, list[tuple[str, re.Pattern[str]]]]


def _resolvers() -> Resolvers:
    kinds = {
        "null": (r"~|null|Null|NULL|", ["~", "n", "N", ""]),
        "bool": (r"true|True|TRUE|false|False|FALSE", list("tTfF")),
        "int": (r"[-+]?[0-9]+", list("-+0123456789")),
        "float": (
            r"[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))(?:[eE][-+]?[0-9]+)?",
            list("-+.0123456789"),
        ),
    }
    found: Resolvers = {}
    for name, (pattern, starts) in kinds.items():
        for start in starts:
            entry = (f"tag:yaml.org,2002:{name}", re.compile(f"^(?:{pattern})$"))
            found.setdefault(start, []).append(entry)
    return found


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers = _resolvers()

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()  # type: ignore[no-untyped-call]
            line = event.start_mark.line + 1
            raise ConfigError(f"line {line}: '*{event.anchor}' is an alias. Write the value out.")
        return super().compose_node(parent, index)


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    seen: set[object] = set()
    for key_node, _ in node.value:
        key = loader.construct_object(key_node, deep=True)
        line = key_node.start_mark.line + 1
        if not isinstance(key, str | int | float):
            raise ConfigError(f"line {line}: a field's name must be a word.")
        if key in seen:
            raise ConfigError(f"line {line}: '{key}' stands twice. Keep one.")
        seen.add(key)
    return loader.construct_mapping(node, deep=True)


def _integer(loader: _Loader, node: yaml.ScalarNode) -> int:
    return int(loader.construct_scalar(node))


_Loader.add_constructor("tag:yaml.org,2002:map", _mapping)
_Loader.add_constructor("tag:yaml.org,2002:int", _integer)


class _Dumper(yaml.SafeDumper):
    # Text that either version of YAML would take for something else is quoted.
    yaml_implicit_resolvers = {  # noqa: RUF012 - typeshed has it on the instance
        start: [
            *_resolvers().get(start, ()),
            *yaml.SafeDumper.yaml_implicit_resolvers.get(start, ()),
        ]
        for start in {*_resolvers(), *yaml.SafeDumper.yaml_implicit_resolvers}
    }

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
        return True


def _text(dumper: _Dumper, value: str) -> yaml.ScalarNode:
    # PyYAML writes these line ends raw into single quotes, and reads them back as a space.
    style = '"' if set(value) & set("\x85\u2028\u2029") else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Dumper.add_representer(str, _text)


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
        what = getattr(error, "problem", None) or getattr(error, "reason", None) or "unreadable"
        raise ConfigError(f"{where}{line}: not valid YAML ({what}).") from None
    except ConfigError as error:
        raise ConfigError(f"{where}, {error}") from None
    except (RecursionError, ValueError) as error:
        raise ConfigError(f"{where}: not usable YAML ({type(error).__name__}).") from None


def write_yaml(value: Any, *, flow: bool = False) -> str:
    """Return plain data as YAML that `read_yaml` reads back equal; `flow` puts it on a line."""
    text = yaml.dump(
        value,
        Dumper=_Dumper,
        sort_keys=False,
        allow_unicode=True,
        default_flow_style=flow,
        width=10_000 if flow else 100,
    )
    return text.removesuffix("...\n").strip() if flow else text
