"""JSON files of a run folder, each with the version of the format it was written in."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from loratory.codec import dump, from_dict
from loratory.errors import RunError
from loratory.files import write_text

__all__ = ["read", "read_field", "read_records", "records", "write"]

SCHEMA_VERSION = 1

F = TypeVar("F")
R = TypeVar("R")


def write(path: Path, data: Mapping[str, Any]) -> None:
    """Write a JSON object and this format's version, whole or not at all.

    Raises:
        RunError: it cannot be written.
    """
    versioned = {"schema_version": SCHEMA_VERSION, **data}
    write_text(path, dump(versioned, indent=2) + "\n")


def read(path: Path) -> dict[str, Any]:
    """Return the JSON object of a file.

    Raises:
        RunError: it cannot be read, is no such object, or another version wrote it.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise RunError(f"{path}: damaged, not JSON ({error}).") from None
    except OSError as error:
        raise RunError(f"{path}: cannot be read ({error.strerror}).") from None
    if not isinstance(data, dict):
        raise RunError(f"{path}: damaged, not a JSON object.")
    version = data.get("schema_version")
    if version != SCHEMA_VERSION:
        raise RunError(
            f"{path}: written in run format {version!r}, this Loratory reads {SCHEMA_VERSION}. "
            "Upgrade Loratory."
        )
    return data


def read_field(path: Path, name: str, kind: type[F]) -> F:
    """Return one value of a file's object.

    Raises:
        RunError: as for `read`, or the value is not there or of another kind.
    """
    value = read(path).get(name)
    if not isinstance(value, kind):
        raise RunError(f"{path}: damaged, it has no '{name}'.")
    return value


def read_records(cls: type[R], path: Path, name: str) -> list[R]:
    """Return a list of records under `name` in a file's object.

    Raises:
        RunError: as for `read_field`, or a record is damaged.
    """
    return records(cls, read_field(path, name, list), path)


def records(cls: type[R], items: Any, path: Path) -> list[R]:
    """Return the records that plain items of a file stand for.

    Raises:
        RunError: they are no list, or one of them is damaged.
    """
    if not isinstance(items, list):
        raise RunError(f"{path}: damaged, a list is missing.")
    return [from_dict(cls, item, f"{path}[{i}]") for i, item in enumerate(items)]
