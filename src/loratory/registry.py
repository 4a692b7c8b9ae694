"""Names to components: a folder scan plus the entry points of other packages.

A component (a method, a metric, a task) is a frozen dataclass in a file of its own with one
decorator. Its fields are at once its config schema, its help and its signature, so nothing
about it is written twice and no list has to be edited.
"""

from __future__ import annotations

import ast
import dataclasses
import importlib
import inspect
import itertools
import pkgutil
import textwrap
from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import entry_points
from typing import Any, Generic, TypeVar

from loratory.errors import ConfigError, suggest

__all__ = ["Registry", "field_docs", "signature"]

T = TypeVar("T")


class Registry(Generic[T]):
    """The components of one kind, found on first use.

    Args:
        kind: singular noun used in messages, and as the config key: `method`.
        package: the package whose modules are scanned; a component of several files is a
            package in it, with a module named by the kind (`metric.py`). Other packages add
            theirs under the entry-point group of the same name (`loratory.methods`).
    """

    def __init__(self, kind: str, package: str) -> None:
        self.kind = kind
        self.package = package
        self._classes: dict[str, type[T]] = {}
        self._made: dict[str, type[T]] = {}
        self._further: Callable[[], Iterable[str]] = tuple
        self._make: Callable[[str, str], type[T] | None] | None = None
        self._scanned = False

    def register(self, name: str) -> Callable[[type[T]], type[T]]:
        """Return a class decorator that files a frozen dataclass under `name`."""

        def decorate(cls: type[T]) -> type[T]:
            params = getattr(cls, "__dataclass_params__", None)
            assert params is not None and params.frozen, f"{cls.__name__}: not a frozen dataclass"
            known = self._classes.get(name)
            # A notebook cell run again defines the same class again.
            same = known is None or _place(known) == _place(cls)
            assert same, f"{self.kind} '{name}': taken by {known}; choose another name"
            cls.name = name  # type: ignore[attr-defined]
            self._classes[name] = cls
            return cls

        return decorate

    def make_further(
        self, names: Callable[[], Iterable[str]], make: Callable[[str, str], type[T] | None]
    ) -> None:
        """Let `get` know components that are made when they are asked for.

        Args:
            names: gives their names, without loading anything heavy.
            make: a name, and the path a sentence about it begins with, to a frozen dataclass,
                or None for a name that is unknown to it as well. It may raise a ConfigError.
        """
        self._further, self._make = names, make

    def names(self) -> list[str]:
        """Return every registered name, sorted; without those of `further`."""
        self._scan()
        return sorted(self._classes)

    def further(self) -> list[str]:
        """Return the names of components that are made when they are asked for, sorted."""
        self._scan()
        return sorted(set(self._further()) - set(self._classes))

    def get(self, name: str, path: str | None = None) -> type[T]:
        """Return the class filed under `name`.

        Raises:
            ConfigError: no such name; the sentence begins with `path` and lists the nearest
                name and all names.
        """
        self._scan()
        if name in self._classes:
            return self._classes[name]
        where = path or f"{self.kind}.name"
        if name not in self._made:
            made = self._make(name, where) if self._make is not None else None
            if made is None:
                known = [*self.names(), *self.further()]
                raise ConfigError(f"{where}: unknown '{name}'. {suggest(name, known)}")
            made.name = name  # type: ignore[attr-defined]
            self._made[name] = made
        return self._made[name]

    def holds(self, component: object) -> bool:
        """Return whether `component` is an instance of a registered class."""
        self._scan()
        name = getattr(component, "name", "")
        return (self._classes.get(name) or self._made.get(name)) is type(component)

    def _scan(self) -> None:
        if self._scanned:
            return
        self._scanned = True
        for module in self._modules(self.package):
            importlib.import_module(module)
        for point in entry_points(group=self.package):
            try:
                point.load()
            except Exception as error:
                self._scanned = False
                of = f" of {point.dist.name}" if point.dist else ""
                raise ConfigError(
                    f"{self.kind}: the entry point '{point.name}'{of} cannot be loaded "
                    f"({type(error).__name__}: {error}). Repair or uninstall that package."
                ) from error

    def _modules(self, package: str) -> Iterator[str]:
        """Yield the modules of the package, and within its packages those named by the kind."""
        for module in pkgutil.iter_modules(importlib.import_module(package).__path__):
            name = f"{package}.{module.name}"
            if package == self.package or module.name == self.kind:
                yield name
            if module.ispkg:
                yield from self._modules(name)


def _place(cls: type) -> tuple[str, str]:
    return cls.__module__, cls.__qualname__


def signature(component: Any, *, version: int = 1) -> str:
    """Return one line that fixes a component: `rouge|ref:rouge_score|stem:yes|v:1`.

    A field appears under the `sig` of its metadata, or its own name; a field whose `sig` is
    None, such as a batch size, does not change results and is left out.
    """
    parts = [component.name]
    for field in dataclasses.fields(component):
        key = field.metadata.get("sig", field.name)
        if key is not None:
            parts.append(f"{key}:{_spell(getattr(component, field.name))}")
    return "|".join([*parts, f"v:{version}"])


def _spell(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (tuple, list)):
        return "+".join(_spell(item) for item in value)
    return "none" if value is None else str(value)


def field_docs(cls: type) -> dict[str, str]:
    """Return the sentence written as a string beneath each field of a class.

    Inherited fields are included. A class without readable source gives an empty dict.
    """
    docs: dict[str, str] = {}
    for base in reversed(cls.__mro__[:-1]):
        if base.__module__ == "typing":
            continue  # Protocol and Generic: no fields, and the longest source there is
        try:
            tree = ast.parse(textwrap.dedent(inspect.getsource(base)))
        except (OSError, TypeError):
            continue
        assert isinstance(tree.body[0], ast.ClassDef)
        body = tree.body[0].body
        for field, doc in itertools.pairwise(body):
            if (
                isinstance(field, ast.AnnAssign)
                and isinstance(field.target, ast.Name)
                and isinstance(doc, ast.Expr)
                and isinstance(doc.value, ast.Constant)
                and isinstance(doc.value.value, str)
            ):
                docs[field.target.id] = " ".join(doc.value.value.split())
    return docs
