"""What `init` writes and what the JSON Schema says, against the schema itself."""

from __future__ import annotations

import re
from typing import Any

import pytest

from crossed import few
from loratory.config import from_mapping, json_schema, read_yaml, to_mapping
from loratory.config.template import commented
from loratory.errors import ConfigError
from loratory.tasks.base import TASKS

TASK_NAMES = TASKS.names()
DEFAULT = re.compile(r"^( *)# ( *-? ?[a-z0-9_]+:( .*)?)$")


def uncommented(text: str) -> str:
    """Return the recipe with the `# ` of every default taken off."""
    return "\n".join(DEFAULT.sub(r"\1\2", line) for line in text.splitlines())


@pytest.mark.parametrize("task", TASK_NAMES)
def test_a_new_recipe_is_whole_as_it_is(task: str) -> None:
    config = from_mapping(read_yaml(commented(task), "r.yaml"))
    assert config.task == TASKS.get(task)() and config.name == task


@pytest.mark.parametrize("task", TASK_NAMES)
def test_every_commented_default_is_the_default(task: str) -> None:
    text = commented(task)
    given, whole = read_yaml(text, "r.yaml"), read_yaml(uncommented(text), "r.yaml")
    assert whole == to_mapping(from_mapping(given))


@pytest.mark.parametrize("task", few(TASK_NAMES, ["classification"]))
def test_each_default_alone_can_be_uncommented(task: str) -> None:
    lines = commented(task).splitlines()
    config = from_mapping(read_yaml("\n".join(lines), "r.yaml"))
    body = lines[: lines.index("metrics:")]
    tried = 0
    for i, line in enumerate(body):
        if DEFAULT.match(line):
            tried += 1
            changed = [*lines[:i], DEFAULT.sub(r"\1\2", line), *lines[i + 1 :]]
            assert from_mapping(read_yaml("\n".join(changed), "r.yaml")) == config, line
    assert tried > 40


@pytest.mark.parametrize("task", TASK_NAMES)
def test_every_default_has_its_sentence_and_no_line_is_long(task: str) -> None:
    lines = commented(task).splitlines()
    assert max(map(len, lines)) <= 100
    fields = [i for i, line in enumerate(lines) if DEFAULT.match(line)]
    end = lines.index("metrics:")
    bare = [lines[i] for i in fields if i < end and not lines[i - 1].lstrip().startswith("# ")]
    assert bare == []


def test_a_recipe_for_an_unknown_task() -> None:
    with pytest.raises(ConfigError, match=r"task: unknown 'sumarization'\. Did you mean"):
        commented("sumarization")


def accepts(schema: dict[str, Any], value: Any, root: dict[str, Any]) -> bool:
    """Return whether the part of JSON Schema that pydantic uses here takes a value."""
    if "$ref" in schema:
        return accepts(root["$defs"][schema["$ref"].rpartition("/")[2]], value, root)
    if "anyOf" in schema and not any(accepts(s, value, root) for s in schema["anyOf"]):
        return False
    if "enum" in schema and value not in schema["enum"]:
        return False
    if "const" in schema and value != schema["const"]:
        return False
    kinds = {
        "object": dict,
        "array": list,
        "string": str,
        "boolean": bool,
        "integer": int,
        "number": (int, float),
        "null": type(None),
    }
    if "type" in schema:
        numeric = schema["type"] in ("integer", "number")
        if not isinstance(value, kinds[schema["type"]]) or (numeric and isinstance(value, bool)):
            return False
    if isinstance(value, dict):
        fields, extra = schema.get("properties", {}), schema.get("additionalProperties", True)
        if not set(schema.get("required", ())) <= set(value):
            return False
        for key, item in value.items():
            inner = fields.get(key, extra)
            if inner is False or (isinstance(inner, dict) and not accepts(inner, item, root)):
                return False
    if isinstance(value, list) and isinstance(schema.get("items"), dict):
        return all(accepts(schema["items"], item, root) for item in value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return (
            schema.get("minimum", value) <= value <= schema.get("maximum", value)
            and schema.get("exclusiveMinimum", value - 1) < value
            and value < schema.get("exclusiveMaximum", value + 1)
        )
    return True


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    return json_schema()


@pytest.mark.parametrize("task", TASK_NAMES)
def test_the_json_schema_takes_what_the_reader_takes(task: str, schema: dict) -> None:
    for text in (commented(task), uncommented(commented(task))):
        assert accepts(schema, read_yaml(text, "r.yaml"), schema)
    short = {"model": "m", "data": "d.csv", "task": task, "method": "lora", "metrics": "rouge"}
    assert accepts(schema, short, schema)
    assert accepts(schema, to_mapping(from_mapping(short)), schema)


@pytest.mark.parametrize(
    "changes",
    [
        {"trian": {}},
        {"train": {"lr": 1}},
        {"train": {"learning_rate": 0}},
        {"train": {"learning_rate": "x"}},
        {"seed": True},
        {"model": {}},
        {"model": {"name": "m", "dtype": "float99"}},
        {"task": "sumarization"},
        {"method": {"r": 8}},
        {"method": {"name": "lora", "rank": 8}},
        {"metrics": ["rogue"]},
    ],
)
def test_the_json_schema_refuses_what_the_reader_refuses(changes: dict, schema: dict) -> None:
    data = {"model": "m", "data": "d", "task": "summarization", **changes}
    assert not accepts(schema, data, schema)
    with pytest.raises(ConfigError):
        from_mapping(data)


def test_the_json_schema_needs_model_data_and_task(schema: dict) -> None:
    assert schema["required"] == ["model", "data", "task"]
    assert not accepts(schema, {"model": "m", "data": "d"}, schema)
