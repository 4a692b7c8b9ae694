"""Names to components: found, nearest, never silently another's."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint
from typing import ClassVar

import pytest

from loratory.errors import ConfigError, suggest
from loratory.methods.base import METHODS
from loratory.metrics.base import METRICS
from loratory.registry import Registry, field_docs, signature
from loratory.tasks.base import TASKS


def test_an_unknown_name_gets_the_nearest() -> None:
    with pytest.raises(ConfigError) as caught:
        METHODS.get("lorra")
    (sentence,) = caught.value.problems
    assert sentence.startswith("method.name: unknown 'lorra'. Did you mean 'lora'? Available: ")
    with pytest.raises(ConfigError, match=r"^metrics\[3\].name: unknown"):
        METRICS.get("rogue", "metrics[3].name")


@pytest.mark.parametrize(
    ("word", "allowed", "sentence"),
    [
        ("LoRA", ["lora", "ia3"], "Did you mean 'lora'? Available: ia3, lora."),
        ("xyz", ["b", "a"], "Available: a, b."),
        ("", ["a"], "Available: a."),
        ("x", [], "Available: none."),
        ("rougel", ["rougeL", "rouge1"], "Did you mean 'rougeL'? Available: rouge1, rougeL."),
    ],
)
def test_suggest(word: str, allowed: list[str], sentence: str) -> None:
    assert suggest(word, allowed) == sentence


@pytest.mark.parametrize("registry", [METHODS, METRICS, TASKS], ids=lambda r: r.kind)
def test_names_are_sorted_and_components_know_theirs(registry: Registry) -> None:
    assert registry.names() == sorted(registry.names()) != []
    for name in registry.names():
        cls = registry.get(name)
        assert cls.name == name and registry.holds(cls())
        assert set(field_docs(cls)) >= {field.name for field in dataclasses.fields(cls)}
    assert not registry.holds("lora") and not registry.holds(None)


def empty() -> Registry:
    return Registry("thing", "loratory.runs")  # a package that registers nothing


def test_a_class_must_be_a_frozen_dataclass() -> None:
    for cls in (type("Plain", (), {}), dataclass(type("Thawed", (), {"__annotations__": {}}))):
        with pytest.raises(AssertionError, match="not a frozen dataclass"):
            empty().register("x")(cls)


def test_a_name_taken_by_another_class_is_refused_and_a_repeated_cell_is_not() -> None:
    things = empty()

    def cell(module: str) -> type:
        cls = dataclass(frozen=True)(type("Mine", (), {"__module__": module}))
        return things.register("mine")(cls)

    cell("__main__")
    again = cell("__main__")
    assert things.get("mine") is again
    with pytest.raises(AssertionError, match="thing 'mine': taken by"):
        cell("another.package")


def test_a_broken_entry_point_is_one_sentence_each_time(monkeypatch) -> None:
    broken = EntryPoint("bad", "no_such_package:thing", "loratory.runs")
    monkeypatch.setattr("loratory.registry.entry_points", lambda group: [broken])
    things = empty()
    for _ in range(2):
        with pytest.raises(ConfigError) as caught:
            things.names()
        assert caught.value.problems[0].startswith("thing: the entry point 'bad' cannot be loaded")
        assert "No module named 'no_such_package'" in caught.value.problems[0]


@dataclass(frozen=True)
class Base:
    """Inherited from."""

    name: ClassVar[str] = "made"
    stem: bool = True
    """Inherited
    over two lines."""


@dataclass(frozen=True)
class Made(Base):
    """A component with every kind of field."""

    kinds: tuple[str, ...] = ("a", "b")
    """Kinds."""
    limit: int | None = None
    bins: int = field(default=3, metadata={"sig": "b"})
    batch_size: int = field(default=8, metadata={"sig": None})


def test_signature_and_docs() -> None:
    assert signature(Made()) == "made|stem:yes|kinds:a+b|limit:none|b:3|v:1"
    assert signature(Made(stem=False, limit=2), version=3).endswith("limit:2|b:3|v:3")
    assert field_docs(Made) == {"stem": "Inherited over two lines.", "kinds": "Kinds."}
    made = dataclasses.make_dataclass("Sourceless", [("x", int)], frozen=True)
    assert field_docs(made) == {}
