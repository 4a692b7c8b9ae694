"""Predictions as JSON lines: records of Loratory, or rows with columns of any name."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from loratory.codec import from_dict
from loratory.errors import DataError
from loratory.evaluation.columns import Columns, check_filled, column, text, texts
from loratory.evaluation.files import Block, Source, lines_of
from loratory.records import Prediction

__all__ = ["JsonLines"]

_FIELDS = frozenset(item.name for item in dataclasses.fields(Prediction))


@dataclass(frozen=True)
class JsonLines:
    """One JSON object a line: records of Loratory, or rows with columns of any name.

    Rows without a text `id` are numbered by their lines. Blank lines are passed over.
    """

    blank_is_text: ClassVar[bool] = False

    path: Path
    columns: Columns = field(default_factory=Columns)
    needs: frozenset[str] = frozenset()
    """The fields of a prediction that the metrics need; settled later."""
    record: bool = False
    """Whether lines are read strictly, as `Prediction`; settled by the first."""

    @property
    def paths(self) -> tuple[Path, ...]:
        return (self.path,)

    def settled(self, first: Block, needs: frozenset[str]) -> JsonLines:
        """Return the source with its columns named, as the first row has them."""
        number, row = next(self._rows(first), (0, {}))
        if not number:
            raise DataError(f"{self.path}: no predictions in it; give at least one row.")
        versioned = isinstance(row.get("v"), int)
        if self.columns == Columns() and (versioned or {"id", "text"} <= set(row) <= _FIELDS):
            return dataclasses.replace(self, needs=needs, record=True)
        where = f"{self.path}:{number}"
        wanted = {
            "prediction": True,
            "reference": "references" in needs,
            "source": "source" in needs,
        }
        named = {
            name: column(row, name, getattr(self.columns, name), where, need)
            for name, need in wanted.items()
        }
        return dataclasses.replace(self, needs=needs, columns=Columns(**named))

    def said(self, given: Source) -> str:
        """Return the columns that were chosen, in words."""
        if self.record or not isinstance(given, JsonLines):
            return ""
        found = [
            f"{name} from '{chosen}'"
            for name, chosen in dataclasses.asdict(self.columns).items()
            if chosen and not getattr(given.columns, name)
        ]
        return f"{self.path}: {', '.join(found)}" if found else ""

    def has_classes(self, first: Block) -> bool:
        """Return whether the first row has a `predicted` class."""
        _, row = next(self._rows(first), (0, {}))
        return row.get("predicted") is not None

    def parse(self, block: Block) -> list[Prediction]:
        """Return the rows of a block.

        Raises:
            DataError: a line that is not UTF-8 or not JSON, or a row without what is needed;
                the sentence names file, line and column.
        """
        return [self._row(row, number) for number, row in self._rows(block)]

    def _rows(self, block: Block) -> Iterator[tuple[int, dict[str, Any]]]:
        for number, line in enumerate(lines_of(self.path, block, 0), block.first):
            if not line.strip():
                continue
            where = f"{self.path}:{number}"
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                hint = "" if "{" in line[:3] else " A text file needs its references beside it."
                raise DataError(f"{where}: not JSON ({error}).{hint}") from None
            if not isinstance(row, dict):
                raise DataError(f"{where}: expected a JSON object, got {type(row).__name__}.")
            yield number, row

    def _row(self, row: dict[str, Any], number: int) -> Prediction:
        where = f"{self.path}:{number}"
        if self.record:
            found = from_dict(Prediction, row, where)
        else:
            named = row.get("id")
            columns = self.columns
            found = Prediction(
                str(named) if isinstance(named, str | int) else str(number),
                text(row, columns.prediction, where),
                texts(row, columns.reference, where),
                text(row, columns.source, where) if columns.source else "",
            )
            more = {name: row[name] for name in _by_name(self.needs) if name in row}
            if more:
                data = {"id": found.id, "text": found.text, **more}
                checked = from_dict(Prediction, data, where)
                found = dataclasses.replace(found, **{k: getattr(checked, k) for k in more})
        check_filled(found, self.needs, where)
        return found


@functools.cache
def _by_name(needs: frozenset[str]) -> frozenset[str]:
    """Return the fields that a row with columns of its own gives under the record's names."""
    classes = {"predicted", "probabilities"} if "label" in needs else set()
    return frozenset({"finished", *needs, *classes}) - {"id", "text", "references", "source"}
