"""Local files to rows: CSV, TSV, JSON Lines, JSON and Parquet.

CSV and JSON are read with the standard library rather than through `datasets`: a mistake in
the file is then named by its line, a value keeps the type it has in the file, and no copy
stays behind in a cache that may outlive a change to the file. Parquet has no lines and
checks itself; pyarrow reads it.
"""

from __future__ import annotations

import csv
import importlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from loratory.errors import DataError, MissingDependencyError
from loratory.tasks.rows import MAX_ROW_BYTES, SourceRow, Table, check_size

__all__ = ["SUFFIXES", "read_file"]


def read_file(path: Path, name: str, field: str = "") -> Table:
    """Read every row of a file, in order.

    Ids are `name:N` with N the 1-based line on which the row begins (CSV, TSV, JSON Lines)
    or the number of the row (a JSON list, Parquet). The values of CSV and TSV are text.

    Args:
        path: of the file.
        name: what sentences call it.
        field: of the recipe that names it, which a sentence about the whole file begins with.

    Raises:
        DataError: the file cannot be opened or is not what its suffix says; the sentence
            names the file, and the line where there is one.
        MissingDependencyError: Parquet without pyarrow.
    """
    told = f"{field}: {name}" if field else name
    try:
        table = _READERS[path.suffix.lower()](path, name)
    except OSError as error:
        raise DataError(f"{told}: cannot be read ({error.strerror or error}).") from None
    if not table.rows:
        what = "holds columns but no rows" if table.columns else "is empty"
        raise DataError(f"{told}: the file {what}.")
    return table


class _Lines:
    """The lines of a file as text, counted, with the size of the row they belong to."""

    def __init__(self, path: Path, name: str) -> None:
        self.name = name
        self.number = 0
        self._bytes = path.open("rb")
        self._offset = 0
        self.begin()

    def begin(self) -> None:
        """The next line is the first of a row."""
        self.start = self.number + 1
        self._size = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        # A bounded read: a file without line ends must not fill the memory first.
        line = self._bytes.readline(MAX_ROW_BYTES + 2)
        if not line:
            self.close()
            raise StopIteration
        self.number += 1
        self._size += len(line.rstrip(b"\r\n"))
        check_size(self._size, f"{self.name}:{self.start}")
        text = _decode(line, f"{self.name}:{self.number}", self._offset)
        self._offset += len(line)
        return text.removeprefix("\ufeff") if self.number == 1 else text

    def close(self) -> None:
        self._bytes.close()


def _decode(data: bytes, where: str, offset: int) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        utf16 = offset == 0 and data[:2] in (b"\xff\xfe", b"\xfe\xff")
        found = "it looks like UTF-16" if utf16 else f"found 0x{data[error.start]:02X}"
        raise DataError(
            f"{where}: not UTF-8 at byte {offset + error.start:,} of the file ({found}). "
            "Save it as UTF-8."
        ) from None


def _read_csv(path: Path, name: str) -> Table:
    lines = _Lines(path, name)
    # Python's own limit of 131,072 characters a field is below an ordinary long document;
    # check_size() must be the one to speak first.
    before = csv.field_size_limit(2 * MAX_ROW_BYTES)
    try:
        return _parse_csv(lines, name, "\t" if path.suffix.lower() == ".tsv" else ",")
    finally:
        csv.field_size_limit(before)
        lines.close()


def _parse_csv(lines: _Lines, name: str, delimiter: str) -> Table:
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    header: list[str] = []
    rows: list[SourceRow] = []
    while True:
        lines.begin()
        where = f"{name}:{lines.start}"
        try:
            fields = next(reader)
        except StopIteration:
            return Table(name, tuple(header), rows)
        except csv.Error as error:
            raise DataError(f"{where}: {_csv_reason(str(error))}") from None
        if not fields:  # a blank line
            continue
        if not header:
            header = _header(fields, where)
        elif len(fields) != len(header):
            raise DataError(
                f"{where}: {len(fields)} fields where the header has {len(header)}. "
                f"Put quotes around a field that holds {'a tab' if delimiter != ',' else 'commas'}."
            )
        else:
            rows.append(SourceRow(where, dict(zip(header, fields, strict=True))))


def _header(fields: list[str], where: str) -> list[str]:
    names = [field.strip() for field in fields]
    twice = sorted({column for column in names if names.count(column) > 1})
    if twice:
        raise DataError(f"{where}: the column '{twice[0]}' stands twice in the header.")
    return names


def _csv_reason(error: str) -> str:
    if "end of data" in error:
        return "a quoted field that begins in this row is never closed."
    if "expected after" in error:
        return 'text follows a closing quote. Write a quote inside a quoted field as "".'
    if "new-line" in error:
        return "a bare carriage return ends a line. Save the file with LF or CRLF line ends."
    return f"not CSV ({error})."


def _read_jsonl(path: Path, name: str) -> Table:
    lines = _Lines(path, name)
    rows: list[SourceRow] = []
    try:
        for line in lines:
            if line.strip():
                where = f"{name}:{lines.number}"
                rows.append(SourceRow(where, _object(line, where, path)))
            lines.begin()
    finally:
        lines.close()
    return _table(name, rows)


def _object(line: str, where: str, path: Path) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        reason = getattr(error, "msg", str(error))
        column = f" at character {error.pos + 1}" if isinstance(error, json.JSONDecodeError) else ""
        layout = (
            "a list of objects, or one object a line"
            if path.suffix.lower() == ".json"
            else ("one object a line; a file that is one list is named .json")
        )
        raise DataError(f"{where}: not JSON ({reason}{column}). A row is {layout}.") from None
    return _checked_object(value, where)


def _checked_object(value: object, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise DataError(
            f"{where}: a row must be a JSON object of columns, got {type(value).__name__}."
        )
    return value


def _read_json(path: Path, name: str) -> Table:
    data = path.read_bytes()
    if not data.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"["):
        return _read_jsonl(path, name)  # as the Hub has it: JSON Lines under the name .json
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        text = _decode(data, f"{name}:{line}", 0)
    rows: list[SourceRow] = []
    space = re.compile(r"[ \t\r\n]*")

    def skip(at: int) -> int:
        match = space.match(text, at)
        assert match is not None
        return match.end()

    # Element by element rather than json.loads(), to say which row is wrong.
    decode = json.JSONDecoder().raw_decode
    at = skip(skip(0) + 1)
    while text[at : at + 1] != "]" or rows:
        where = f"{name}:{len(rows) + 1}"
        try:
            value, end = decode(text, at)
        except (ValueError, RecursionError) as error:
            line = text.count("\n", 0, getattr(error, "pos", at)) + 1
            reason = getattr(error, "msg", str(error))
            raise DataError(f"{where}: not JSON ({reason}, line {line} of the file).") from None
        check_size(len(text[at:end].encode("utf-8", "surrogatepass")), where)
        rows.append(SourceRow(where, _checked_object(value, where)))
        at = skip(end)
        if text[at : at + 1] == "]":
            break
        if text[at : at + 1] != ",":
            line = text.count("\n", 0, at) + 1
            raise DataError(f"{where}: no comma or ] after this row (line {line} of the file).")
        at = skip(at + 1)
    return _table(name, rows)


def _read_parquet(path: Path, name: str) -> Table:
    try:
        parquet = importlib.import_module("pyarrow.parquet")
    except ImportError:
        raise MissingDependencyError(
            f"{name}: Parquet is read by pyarrow, which is not installed. "
            "Run: pip install 'loratory[train]'"
        ) from None
    if path.stat().st_size == 0:
        return Table(name, (), [])
    rows: list[SourceRow] = []
    try:
        with parquet.ParquetFile(path) as file:
            columns = tuple(file.schema_arrow.names)
            for batch in file.iter_batches():
                for values in batch.to_pylist():
                    where = f"{name}:{len(rows) + 1}"
                    check_size(_text_size(values), where)
                    rows.append(SourceRow(where, values))
    except ValueError as error:  # pyarrow's ArrowInvalid
        raise DataError(f"{name}: not Parquet ({str(error).splitlines()[0]}).") from None
    return Table(name, columns, rows)


def _text_size(values: dict[str, Any]) -> int:
    texts = [value for value in values.values() if isinstance(value, str)]
    size = sum(map(len, texts))
    # UTF-8 needs at most four bytes a character: encode only what may be too long.
    return size if 4 * size <= MAX_ROW_BYTES else sum(len(text.encode()) for text in texts)


def _table(name: str, rows: list[SourceRow]) -> Table:
    columns: dict[str, None] = {}
    for row in rows:
        columns.update(dict.fromkeys(row.values))
    return Table(name, tuple(columns), rows)


_READERS = {
    ".csv": _read_csv,
    ".tsv": _read_csv,
    ".jsonl": _read_jsonl,
    ".json": _read_json,
    ".parquet": _read_parquet,
}
SUFFIXES = tuple(_READERS)
"""The suffixes of the files that can be read."""
