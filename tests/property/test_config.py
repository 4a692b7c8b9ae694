"""A config written and read back is the same config, whatever is in it."""

from __future__ import annotations

import dataclasses
import typing
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loratory.config import from_mapping, read_yaml, to_mapping, to_yaml
from loratory.config.schema import SECTIONS
from loratory.config.text import write_yaml
from loratory.errors import ConfigError
from loratory.methods.base import METHODS
from loratory.methods.lora import Lora
from loratory.metrics.base import METRICS
from loratory.tasks.base import TASKS

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | FLOATS | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)


def values(hint: Any) -> st.SearchStrategy[Any]:
    """Return values of a component's field, as its annotation allows."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        return st.sampled_from(args)
    if origin is tuple and args[-1] is ...:
        return st.lists(values(args[0]), max_size=3, unique=True).map(tuple)
    if origin is tuple:
        return st.tuples(*map(values, args))
    if origin is dict:
        return st.dictionaries(values(args[0]), values(args[1]), max_size=3)
    if args:  # a union
        return st.one_of(*map(values, args))
    if hint is int:
        return st.integers(-5, 100)
    if hint is float:
        # Small and exact, so that many of them pass a component's own checks.
        return st.integers(-2, 64).map(lambda n: n / 8)
    known = {bool: st.booleans(), str: TEXT, type(None): st.none()}
    if hint not in known:
        pytest.fail(f"no values for {hint!r}: add them here")
    return known[hint]


def components(cls: type) -> st.SearchStrategy[Any]:
    hints = typing.get_type_hints(cls)
    fields = {f.name: values(hints[f.name]) for f in dataclasses.fields(cls)}
    optional = st.fixed_dictionaries({}, optional=fields)
    return optional.map(lambda chosen: cls(**chosen)).filter(lambda made: not made.problems())


def recipe(**parts: Any) -> dict[str, Any]:
    """Return a short recipe; a method that is for quantised models gets one."""
    unfit = "method" in parts and parts["method"].unfit("none")
    model = {"name": "m", "quantization": "4bit" if unfit else "none"}
    return {"model": model, "data": "d.csv", "task": "classification", **parts}


def there_and_back(**parts: Any) -> None:
    config = from_mapping(recipe(**parts))
    text = to_yaml(config)
    again = from_mapping(read_yaml(text, "config.yaml"))
    assert again == config
    assert to_yaml(again) == text
    assert from_mapping(to_mapping(config)) == config


REGISTRIES = {"task": TASKS, "method": METHODS, "metrics": METRICS}
every_component = pytest.mark.parametrize(
    ("kind", "name"), [(kind, name) for kind in REGISTRIES for name in REGISTRIES[kind].names()]
)


def test_a_start_for_quantised_models_survives() -> None:
    there_and_back(method=Lora(init_lora_weights="loftq"))


@every_component
@given(st.data())
@settings(max_examples=8, deadline=None)
def test_every_component_survives(kind: str, name: str, data: st.DataObject) -> None:
    """Written alone: a whole recipe is mostly defaults, and those take the time."""
    whole = recipe(**{kind: data.draw(components(REGISTRIES[kind].get(name)))})
    config = from_mapping(whole)
    text = write_yaml({kind: to_mapping(config)[kind]})
    again = from_mapping({**whole, **read_yaml(text, "config.yaml")})
    assert again == config
    assert write_yaml({kind: to_mapping(again)[kind]}) == text


@pytest.mark.slow
@every_component
@given(st.data())
@settings(max_examples=25, deadline=None)
def test_every_component_survives_in_a_whole_recipe(
    kind: str, name: str, data: st.DataObject
) -> None:
    there_and_back(**{kind: data.draw(components(REGISTRIES[kind].get(name)))})


@given(st.text("abcXYZ019._-", min_size=1, max_size=64).filter(lambda name: name[0].isalnum()))
@settings(max_examples=40, deadline=None)
def test_every_allowed_name_survives(name: str) -> None:
    there_and_back(name=name)


@given(TEXT.filter(bool), st.dictionaries(TEXT, TEXT, max_size=3), FLOATS)
@settings(max_examples=50, deadline=None)
def test_texts_and_numbers_survive(text: str, columns: dict[str, str], rate: float) -> None:
    train = {"learning_rate": rate} if 0 < rate < 10 else {}
    there_and_back(
        data={"name": text, "columns": columns}, output_dir=text, model=text, train=train
    )


@given(PLAIN)
@settings(deadline=None)
def test_plain_data_is_read_back_as_written(value: Any) -> None:
    assert read_yaml(write_yaml({"key": value}), "r.yaml") == {"key": value}


@given(st.sampled_from([*SECTIONS, "task", "method", "metrics", "seed", "name", "x"]), PLAIN)
@settings(max_examples=300, deadline=None)
def test_whatever_stands_in_a_recipe_is_taken_or_named(key: str, value: Any) -> None:
    data = {"model": "m", "data": "d.csv", "task": "classification", key: value}
    try:
        config = from_mapping(data)
    except ConfigError as error:
        named = [problem.startswith(key) for problem in error.problems]
    else:
        named = [from_mapping(to_mapping(config)) == config]
    assert all(named)


@given(st.text(max_size=60))
@settings(deadline=None)
def test_whatever_a_file_holds_is_taken_or_named(text: str) -> None:
    try:
        read_yaml(text, "r.yaml")
        said = ""
    except ConfigError as error:
        said = str(error)
    assert not said or said.startswith("r.yaml")
