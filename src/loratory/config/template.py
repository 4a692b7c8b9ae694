"""A commented recipe, written from the schema, so that it can never lag behind it."""

from __future__ import annotations

import dataclasses
import textwrap
from typing import Any

from pydantic_core import PydanticUndefined

from loratory.config.schema import COMPONENTS, SECTIONS, Scalars
from loratory.config.text import write_yaml
from loratory.metrics.base import METRICS
from loratory.registry import field_docs
from loratory.tasks.base import TASKS

__all__ = ["commented"]

STARTS: dict[str, tuple[str, str]] = {
    "classification": ("embedded:minilm", "embedded:imdb"),
    "summarization": ("embedded:smollm2-135m", "embedded:docstrings"),
}
"""Model and data that a new recipe names, so that it runs as it is where they are installed."""
ELSEWHERE = ("embedded:smollm2-135m", "train.jsonl")
METHOD = "lora"


def commented(task: str) -> str:
    """Return a recipe for a task: what must be chosen, and every default as a comment.

    Raises:
        ConfigError: no such task.
    """
    cls = TASKS.get(task, "task")
    model, data = STARTS.get(task, ELSEWHERE)
    lines = [
        f"# A recipe for {task}. Lines that begin with '# ' and a name are defaults.",
        *_comment(_first_line(cls), ""),
        "# It reads these columns; data.columns says where they have other names.",
    ]
    for column, about in cls.columns.items():
        lines += _comment(f"  {column} ({about.rstrip('.')})", "")
    lines += [""]
    lines += _fields(_model_fields(Scalars), {"name": task}, "")
    for name, section in SECTIONS.items():
        given = {"model": {"name": model}, "data": {"name": data}}.get(name, {})
        # Without fields a section is empty, so that uncommenting one of them is enough.
        lines += ["", *_comment(section.__doc__ or "", ""), f"{name}:"]
        lines += _fields(_model_fields(section), given, "  ")
        if name == "data":
            lines += _component("task", task) + _component("method", METHOD)
    lines += ["", *_comment(f"What is computed; this task's own: {', '.join(cls.metrics)}.", "")]
    lines += ["metrics:"]
    for metric in cls.metrics:
        lines += [f"  # - name: {metric}"]
        settings = METRICS.get(metric)
        for field in dataclasses.fields(settings):  # type: ignore[arg-type]
            lines.append(f"  #   {field.name}: {_value(_default(field))}")
    return "\n".join(lines) + "\n"


def _component(kind: str, name: str) -> list[str]:
    cls = COMPONENTS[kind].get(name)
    docs = field_docs(cls)
    fields = [(f.name, _default(f), docs.get(f.name, "")) for f in dataclasses.fields(cls)]
    return [
        "",
        *_comment(_first_line(cls), ""),
        f"{kind}:",
        f"  name: {name}",
        *_fields(fields, {}, "  "),
    ]


def _fields(fields: list[tuple[str, Any, str]], given: dict[str, Any], indent: str) -> list[str]:
    lines = []
    for name, default, doc in fields:
        lines += _comment(doc, indent)
        if name in given:
            lines.append(f"{indent}{name}: {_value(given[name])}")
        else:
            lines.append(f"{indent}# {name}: {_value(default)}")
    return lines


def _comment(text: str, indent: str) -> list[str]:
    return textwrap.wrap(text, 90, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# ")


def _model_fields(section: Any) -> list[tuple[str, Any, str]]:
    found = []
    for name, info in section.model_fields.items():
        default = info.get_default(call_default_factory=True)
        value = None if default is PydanticUndefined else default
        found.append((name, value, info.description or ""))
    return found


def _default(field: Any) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return None if field.default is dataclasses.MISSING else field.default


def _value(value: Any) -> str:
    return write_yaml(list(value) if isinstance(value, tuple) else value, flow=True)


def _first_line(cls: type) -> str:
    return " ".join((cls.__doc__ or "").split("\n\n")[0].split())
