"""Fill the generated parts of the pages: `python docs/generate.py`.

A page marks such a part with `<!-- generated: NAME -->` and `<!-- /generated -->`. Fields come
from the recipe's JSON Schema and the components' own sentences, commands from their `--help`,
so neither can drift from the code; `tests/unit/test_docs.py` fails when a page is out of date.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from typer.main import get_command
from typer.testing import CliRunner

from loratory.cli import HELP, WIDTH
from loratory.cli.app import app
from loratory.cli.listing import abilities
from loratory.cli.options import ROUGE155, spelled
from loratory.config.schema import COMPONENTS, SECTIONS, json_schema
from loratory.methods.base import EVERY_FAMILY, METHODS
from loratory.methods.peft_types import REFUSED, TYPES
from loratory.metrics.base import METRICS
from loratory.metrics.rouge.rouge155 import Rouge155Options
from loratory.registry import Registry, field_docs

__all__ = ["PAGES", "helps", "render"]

FOLDER = Path(__file__).parent
PAGES = ("cli.md", "methods.md", "recipe.md", "scoring.md")

PART = re.compile(
    r"(?P<open><!-- generated: (?P<name>\w+) -->\n).*?(?P<close><!-- /generated -->)", re.DOTALL
)
BOUNDS = {
    "minimum": "at least",
    "exclusiveMinimum": "above",
    "maximum": "at most",
    "exclusiveMaximum": "below",
}


def render(text: str) -> str:
    """Return a page with every generated part made anew."""
    return PART.sub(lambda m: f"{m['open']}{PARTS[m['name']]()}{m['close']}", text)


def top() -> str:
    """Return the table of the fields outside any section."""
    schema = json_schema()
    nested = {*SECTIONS, *COMPONENTS, "metrics"}
    fields = {k: v for k, v in schema["properties"].items() if k not in nested}
    return f"{_table(fields, ())}\n"


def sections() -> str:
    """Return a heading, a sentence and a table for each section."""
    parts = []
    for name, cls in SECTIONS.items():
        section = cls.model_json_schema()
        table = _table(section["properties"], section.get("required", ()))
        parts.append(f"## {name}\n\n{section['description']}\n\n{table}")
    return "\n\n".join(parts) + "\n"


def components() -> str:
    """Return a heading and table for each task, method and metric that Loratory has itself."""
    schema = json_schema()["properties"]
    parts = []
    for kind in (*COMPONENTS, "metrics"):
        parts.append(f"## {kind}")
        entries = {entry["properties"]["name"]["const"]: entry for entry in _objects(schema[kind])}
        for name, entry in sorted(entries.items()):
            cls = _registry(kind).get(name)
            # What other installed packages, or tests, have registered is not of this page.
            if cls.__module__.startswith("loratory."):
                parts.append(_component(name, entry, cls))
    return "\n\n".join(parts) + "\n"


def _registry(kind: str) -> Registry[Any]:
    return METRICS if kind == "metrics" else COMPONENTS[kind]


def _objects(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the schema of each component, wherever among the choices it stands."""
    if "const" in schema.get("properties", {}).get("name", {}):
        yield schema
    for choice in [*schema.get("anyOf", ()), *([schema["items"]] if "items" in schema else ())]:
        yield from _objects(choice)


def _component(name: str, entry: dict[str, Any], cls: type) -> str:
    fields = {key: field for key, field in entry["properties"].items() if key != "name"}
    about = " ".join((cls.__doc__ or "").split("\n\n")[0].split())
    lines = [f"### {name}", about]
    if paper := getattr(cls, "paper", ""):
        lines.append(f"Paper: {paper}.")
    if columns := getattr(cls, "columns", None):
        lines.append("\n".join(f"- column `{column}`: {text}" for column, text in columns.items()))
    lines.append(_table(fields, entry["required"]) if fields else "No settings.")
    return "\n\n".join(lines)


def _table(fields: dict[str, Any], required: Any) -> str:
    rows = ["| field | values | default | meaning |", "|---|---|---|---|"]
    for name, schema in fields.items():
        given = "required" if name in required else f"`{json.dumps(_default(schema))}`"
        cells = [f"`{name}`", _values(schema), given, schema["description"]]
        # A bar would end the cell, and a line break the row.
        clean = (" ".join(cell.replace("|", "\\|").split()) for cell in cells)
        rows.append(f"| {' | '.join(clean)} |")
    return "\n".join(rows)


def _default(schema: dict[str, Any]) -> Any:
    """Return a field's default; one made by a factory is left out of a schema, and is empty."""
    if "default" in schema:
        return schema["default"]
    return {"array": [], "object": {}}[schema["type"]]


def _values(schema: dict[str, Any]) -> str:
    """Say in words what a field takes."""
    if "anyOf" in schema:
        return " or ".join(_values(choice) for choice in schema["anyOf"])
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if "const" in schema:
        return f"`{schema['const']}`"
    kind = schema["type"]
    if kind == "array":
        return f"list of: {_values(schema['items'])}"
    if kind == "object":
        return "mapping of text to text"
    name = {"string": "text", "boolean": "`true` or `false`", "null": "`null`"}.get(kind, kind)
    bounds = [f"{word} {_number(schema[key])}" for key, word in BOUNDS.items() if key in schema]
    return f"{name} {' and '.join(bounds)}" if bounds else name


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"


def commands() -> str:
    """Return the help of the program and of every command, 80 columns wide."""
    parts = []
    for name, text in helps().items():
        title = "loratory" if name == "loratory" else f"loratory {name}"
        lines = "\n".join(line.rstrip() for line in text.strip().splitlines())
        parts.append(f"## {title}\n\n```text\n{lines}\n```")
    return "\n\n".join(parts) + "\n"


def helps() -> dict[str, str]:
    """Return what `--help` prints: the program's under its name, and each command's."""
    asked = {"loratory": [], **{name: [name] for name in get_command(app).commands}}
    return {
        name: CliRunner()
        .invoke(
            app,
            [*words, "--help"],
            prog_name="loratory",
            env={"COLUMNS": str(WIDTH), "NO_COLOR": "1"},
        )
        .output
        for name, words in asked.items()
    }


def rouge155() -> str:
    """Return a table of the options of ROUGE-1.5.5: how each is written, and what it does."""
    default, docs = Rouge155Options(), field_docs(Rouge155Options)
    rows = ["| option | default | meaning, and the script's letter |", "|---|---|---|"]
    for field in dataclasses.fields(default):
        flags = ROUGE155[field.name].flags if field.name in ROUGE155 else spelled(field.name)
        written = ", ".join(f"`{flag}`" for flag in flags.split("/"))
        value = json.dumps(getattr(default, field.name))
        meaning = docs[field.name].replace("|", "\\|")
        rows.append(f"| {written} | `{value}` | {meaning} |")
    rows.append(f"| `--each` | | {ROUGE155['each'].help} |")
    return "\n".join(rows) + "\n"


def methods() -> str:
    """Return a table of the methods that have a file of their own."""
    rows = _capable_head("method")
    for name in METHODS.names():
        cls = METHODS.get(name)
        if not cls.__module__.startswith("loratory."):
            continue  # of another installed package, or of a test
        about = " ".join((cls.__doc__ or "").split("\n\n")[0].split())
        rows.append(_capable(name, about, cls))
    return "\n".join(rows) + "\n"


def peft_types() -> str:
    """Return the same table of the types that are handed through to peft."""
    rows = _capable_head("type")
    rows += [_capable(name, kind.about, kind) for name, kind in sorted(TYPES.items())]
    return "\n".join(rows) + "\n"


def refused() -> str:
    """Return a list of the types that a recipe cannot use."""
    return "".join(f"- `{name}`: {reason}.\n" for name, reason in sorted(REFUSED.items()))


def _capable_head(kind: str) -> list[str]:
    return [
        f"| {kind} | what it does | source | families | merges | quantised bases"
        " | GPT-2's layers |",
        "|---|---|---|---|---|---|---|",
    ]


def _capable(name: str, about: str, method: Any) -> str:
    able = abilities(method)
    cells = [
        f"`{name}`",
        about,
        able["paper"],
        "all" if set(able["families"]) == EVERY_FAMILY else ", ".join(able["families"]),
        _yes(able["merges"]),
        ", ".join(able["quantised"]) or "none",
        _yes(able["conv1d"]),
    ]
    return f"| {' | '.join(cells)} |"


def _yes(value: bool) -> str:
    return "yes" if value else "no"


PARTS: dict[str, Callable[[], str]] = {
    "top": top,
    "sections": sections,
    "components": components,
    "commands": commands,
    "rouge155": rouge155,
    "methods": methods,
    "peft_types": peft_types,
    "refused": refused,
}


def main() -> None:
    """Rewrite every page that has generated parts, and the help that is kept."""
    for name in PAGES:
        page = FOLDER / name
        page.write_text(render(page.read_text(encoding="utf-8")), encoding="utf-8")
    folder = Path(HELP)
    folder.mkdir(exist_ok=True)
    for file in folder.iterdir():
        file.unlink()
    for name, text in helps().items():
        (folder / f"{name}.txt").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
