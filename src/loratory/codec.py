"""Records to JSON and back: one object a line, every line with its version.

Every line carries `"v": 1`. A reader accepts this version and says so when a file is newer.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import types
import typing
from collections.abc import Hashable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from loratory.errors import DataError

__all__ = ["dump", "from_dict", "read_jsonl", "to_dict", "to_lines"]

VERSION = 1

R = TypeVar("R")


def to_dict(record: Any) -> dict[str, Any]:
    """Return a record as JSON-ready data, its version first."""
    return {"v": VERSION, **dataclasses.asdict(record)}


def from_dict(cls: type[R], data: dict[str, Any], where: str) -> R:
    """Rebuild a record, nested ones included.

    Args:
        cls: the record's class.
        data: what `to_dict` gave; absent fields take their defaults.
        where: file and line, for messages.

    Raises:
        DataError: a newer version, an unknown or missing field, or a field of another type.
    """
    if not isinstance(data, dict):
        raise DataError(f"{where}: expected a JSON object, got {type(data).__name__}.")
    data = dict(data)
    version = data.pop("v", VERSION)
    if version != VERSION:
        raise DataError(
            f"{where}: record version {version!r}, this Loratory reads {VERSION}. "
            "Upgrade Loratory, or make the file again."
        )
    hints = _hints(typing.cast(Hashable, cls))
    unknown = sorted(set(data) - set(hints))
    if unknown:
        raise DataError(f"{where}: unknown field '{unknown[0]}' in a {cls.__name__}.")
    values = {key: _typed(hints[key], value, f"{where}: {key}") for key, value in data.items()}
    try:
        return cls(**values)
    except TypeError:
        required = [
            f.name
            for f in dataclasses.fields(cls)  # type: ignore[arg-type]
            if f.default is dataclasses.MISSING and f.name not in values
        ]
        raise DataError(f"{where}: a {cls.__name__} needs the field '{required[0]}'.") from None


@functools.cache
def _hints(cls: Hashable) -> dict[str, Any]:
    return typing.get_type_hints(cls)


def _typed(hint: Any, value: Any, where: str) -> Any:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is types.UnionType:
        if value is None and type(None) in args:
            return None
        hint = next(arg for arg in args if arg is not type(None))
        return _typed(hint, value, where)
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise DataError(f"{where}: expected a list, got {type(value).__name__}.")
        return tuple(_typed(args[0], item, f"{where}[{i}]") for i, item in enumerate(value))
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return from_dict(hint, value, where)
    if origin is dict:
        hint = dict
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value) if abs(value) < 2**1023 else math.inf
    if not isinstance(value, hint) or (hint is int and isinstance(value, bool)):
        raise DataError(f"{where}: expected {hint.__name__}, got {type(value).__name__}.")
    if hint is float and not math.isfinite(value):
        raise DataError(f"{where}: expected a finite number, got {value}.")
    return value


def dump(data: Any, indent: int | None = None) -> str:
    """Return data as JSON that every parser takes and UTF-8 can hold.

    Raises:
        ValueError: a number is not finite.
    """
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, indent=indent)
    try:
        text.encode()
    except UnicodeEncodeError:  # half a surrogate pair: only an escape can stand for it
        text = json.dumps(data, allow_nan=False, indent=indent)
    return text


def to_lines(records: Iterable[Any]) -> Iterator[str]:
    """Yield one line of JSON, newline included, for each record.

    Raises:
        DataError: a number of a record is not finite.
    """
    for record in records:
        try:
            yield dump(to_dict(record)) + "\n"
        except ValueError:
            name = getattr(record, "id", type(record).__name__)
            raise DataError(f"{name}: a number in it is not finite, so nothing follows.") from None


def read_jsonl(path: Path, cls: type[R]) -> list[R]:
    """Read a file of records.

    Raises:
        DataError: the file is missing, not UTF-8, or a line is not such a record.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise DataError(f"{path}: no such file.") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 (byte {error.start}). Save it as UTF-8.") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}).") from None
    # Not splitlines(): U+2028 and friends may stand unescaped inside a JSON string.
    lines = enumerate(text.split("\n"), 1)
    return [_parse(line, cls, f"{path}:{number}") for number, line in lines if line.strip()]


def _parse(line: str, cls: type[R], where: str) -> R:
    try:
        data = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}: not JSON ({error}).") from None
    return from_dict(cls, data, where)
