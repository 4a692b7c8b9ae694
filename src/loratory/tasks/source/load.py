"""Where rows come from: an embedded set, a local file or the Hub, in three splits.

`load_splits` is the one way in. It reads what a `Source` names, makes the splits that are
not given, and sees to it that no row stands in two of them: test rows are never trained on,
validation rows never tested on.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from loratory.errors import ConfigError, DataError, suggest
from loratory.tasks.embedded.base import DATASETS, EMBEDDED
from loratory.tasks.rows import SourceRow, Table
from loratory.tasks.source import split as splitting
from loratory.tasks.source.files import SUFFIXES, read_file
from loratory.tasks.source.hub import hub_splits, read_hub
from loratory.tasks.source.split import Item

__all__ = ["Source", "Splits", "load_splits"]

TEST_SHARE, VALIDATION_SHARE, DEFAULT_CAP = 0.2, 0.1, 1_000


@dataclass(frozen=True)
class Source:
    """Where the rows are and how they are divided."""

    name: str
    """`embedded:NAME`, the path of a file, or the name of a data set on the Hub."""
    config: str | None = None
    """Configuration of a Hub data set, as `3.0.0`."""
    revision: str | None = None
    """Commit, tag or branch of a Hub data set."""
    columns: Mapping[str, str] = field(default_factory=dict)
    """The task's column to the data's, where the names differ."""
    train: str | None = None
    """Split of the Hub data set, or a file of its own; None: `train`, or the file `name`."""
    validation: str | None = None
    """The same; None: a Hub set's own, or drawn from the training rows."""
    test: str | None = None
    """The same; None: a Hub set's own, or drawn from the training rows."""
    validation_size: int | float | None = None
    """Rows (int) or share (float) to draw; None: a tenth, at most 1,000. 0: none."""
    test_size: int | float | None = None
    """Rows (int) or share (float) to draw; None: a fifth, at most 1,000."""
    train_rows: int | None = None
    """Use at most so many training rows, a seeded sample."""
    validation_rows: int | None = None
    """Use at most so many validation rows, a seeded sample."""
    test_rows: int | None = None
    """Use at most so many test rows, a seeded sample."""
    stratify: str | None = None
    """Task column whose values keep their proportions in every part."""
    seed: int = 0

    def problems(self) -> list[str]:
        """Return what is wrong with these settings, one `field: sentence` each."""
        found = [] if self.name.strip() else ["name: empty. Give a file, Hub name or embedded:…"]
        for part in ("validation", "test"):
            size = getattr(self, f"{part}_size")
            if size is None:
                continue
            share = isinstance(size, float)
            if isinstance(size, bool) or size < 0 or (share and size >= 1):
                found.append(
                    f"{part}_size: {size!r} is neither rows (0 or more) nor a share (0-1)."
                )
            elif getattr(self, part) is not None:
                found.append(f"{part}_size: has no effect beside {part}, which is used whole.")
        for part in ("train", "validation", "test"):
            limit = getattr(self, f"{part}_rows")
            if limit is not None and (isinstance(limit, bool) or limit < 1):
                found.append(f"{part}_rows: {limit!r} is not a number of rows (1 or more).")
        return found


class Splits(NamedTuple):
    """The rows of a run. No two parts ask the same question."""

    train: list[SourceRow]
    validation: list[SourceRow]
    """Empty when `validation_size` is 0."""
    test: list[SourceRow]
    dropped: dict[str, int]
    """What was left out and how often: `{"train rows also in test": 3}`."""


def load_splits(
    source: Source,
    required: Sequence[Sequence[str]],
    base_dir: Path,
    inputs: Sequence[str] = (),
) -> Splits:
    """Read a source and return its three parts.

    Args:
        source: what to read and how to divide it.
        required: `Task.required()`: sets of columns, one of which must be there.
        base_dir: folder that relative paths start from.
        inputs: `Task.inputs`: columns that make two rows the same question, white space and
            case apart; without them, all of the required columns that are there.

    Given splits are used as given, except that a row of a later one (train, validation,
    test, in this order) takes its doubles out of the earlier; `dropped` counts them. Parts
    not given are drawn from the training rows, doubles together, stratified, by `seed`.

    Raises:
        ConfigError: `source.problems()`, or an embedded set that does not exist.
        DataError: nothing there, a wrong file, a missing column, or an empty part.
        MissingDependencyError: the source needs a package that is not installed.
    """
    if problems := source.problems():
        raise ConfigError([f"data.{problem}" for problem in problems])
    parts: dict[str, list[Item]] = {}
    for part, table in _tables(source, base_dir).items():
        rows = _mapped(table, source.columns, required)
        columns = inputs or [name for names in required for name in names]
        parts[part] = splitting.items(rows, columns, source.stratify)

    dropped: dict[str, int] = {}
    for later, earlier in (("test", "train"), ("validation", "train"), ("test", "validation")):
        if later in parts and earlier in parts:
            kept = splitting.without(parts[earlier], parts[later])
            if count := len(parts[earlier]) - len(kept):
                dropped[f"{earlier} rows also in {later}"] = count
            parts[earlier] = kept

    total = len(parts["train"])
    shares = {"test": TEST_SHARE, "validation": VALIDATION_SHARE}
    for part, share in shares.items():
        if part not in parts:
            size = _size(getattr(source, f"{part}_size"), share, total, part)
            parts[part], parts["train"] = splitting.carve(parts["train"], size, source.seed, part)

    limits = {part: getattr(source, f"{part}_rows") for part in parts}
    cut = {p: splitting.sample(items, limits[p], source.seed, p) for p, items in parts.items()}
    for part in ("train", "test"):
        if not cut[part]:
            raise DataError(_empty(part, source, total, dropped))
    if not cut["validation"] and source.validation_size not in (0, 0.0):
        raise DataError(_empty("validation", source, total, dropped))
    rows_of = {part: [item.row for item in items] for part, items in cut.items()}
    return Splits(rows_of["train"], rows_of["validation"], rows_of["test"], dropped)


def _size(given: int | float | None, share: float, total: int, part: str) -> int:
    if given is None:
        return min(DEFAULT_CAP, max(1, round(share * total)))
    if isinstance(given, float):
        return max(1, round(given * total)) if given else 0
    if given >= total:
        raise DataError(f"data.{part}_size: asks for {given:,} of {total:,} training rows.")
    return given


def _empty(part: str, source: Source, total: int, dropped: Mapping[str, int]) -> str:
    reasons = [f"{count:,} {what}" for what, count in dropped.items()]
    if part == "train" or getattr(source, part) is None:
        reasons.insert(0, f"{total:,} rows to divide")
    remedy = {
        "train": "Give more rows, or smaller data.test_size and data.validation_size.",
        "test": "Without test rows nothing can be proved: give data.test, or a data.test_size "
        "of 1 or more.",
        "validation": "Give more rows, or a data.validation_size of 1 or more.",
    }[part]
    detail = f" ({'; '.join(reasons)})" if reasons else ""
    return f"{source.name}: the {part} split is empty{detail}. {remedy}"


def _tables(source: Source, base_dir: Path) -> dict[str, Table]:
    """Read every part that the source names; `train` always."""
    wanted = {"train": source.train, "validation": source.validation, "test": source.test}
    if not source.name.startswith(EMBEDDED) and _path(source.name, base_dir) is None:
        wanted |= _own_splits(source, wanted)
    named = {part: name for part, name in wanted.items() if part == "train" or name is not None}
    local = {part: _path(name or source.name, base_dir) for part, name in named.items()}
    titles = _titles([path for path in local.values() if path is not None])
    tables = {}
    for part, name in reversed(named.items()):  # the large one last: mistakes show sooner
        path = local[part]
        if path is not None:
            tables[part] = read_file(path, titles[path])
        elif source.name.startswith(EMBEDDED):
            if name is not None:
                raise DataError(
                    f"data.{part}: {source.name} has no split '{name}'. Leave it out, and one "
                    "is drawn; or name a file."
                )
            embedded = DATASETS.get(source.name.removeprefix(EMBEDDED), "data.name")()
            tables[part] = Table(source.name, embedded.columns, embedded.rows())
        elif _path(source.name, base_dir) is not None:
            raise DataError(
                f"data.{part}: '{name}' is not a file that can be read, and the file "
                f"{source.name} has no splits. Allowed: {', '.join(SUFFIXES)}."
            )
        else:
            tables[part] = read_hub(source.name, source.config, source.revision, name or "train")
    return tables


def _own_splits(source: Source, wanted: Mapping[str, str | None]) -> dict[str, str]:
    """Return the Hub data set's own parts that are neither named nor given a size to draw."""
    open_parts = [
        part
        for part in ("validation", "test")
        if wanted[part] is None and getattr(source, f"{part}_size") is None
    ]
    if not open_parts:
        return {}
    offered = hub_splits(source.name, source.config, source.revision)
    return {part: part for part in open_parts if part in offered}


def _path(name: str, base_dir: Path) -> Path | None:
    """Return the local file that a name means, or None when it means no file."""
    if name.startswith(EMBEDDED):
        return None
    path = base_dir / Path(name).expanduser()
    readable = path.suffix.lower() in SUFFIXES
    like_a_path = name.startswith((".", "~", os.sep, "/"))
    if not readable and not like_a_path and not path.is_file():
        return None
    if "://" in name:
        raise DataError(f"{name}: a web address. Download the file and give its path.")
    if path.is_dir():
        raise DataError(f"{name}: a folder. Name a file in it ({', '.join(SUFFIXES)}).")
    if not path.exists():
        try:
            near = difflib.get_close_matches(path.name, os.listdir(path.parent), n=1)
        except OSError:
            near = []
        hint = f" Did you mean '{Path(name).with_name(near[0])}'?" if near else ""
        raise DataError(f"{name}: no such file (looked for {path.absolute()}).{hint}")
    if not readable:
        raise DataError(
            f"{name}: files ending in '{path.suffix}' are not read. Allowed: {', '.join(SUFFIXES)}."
        )
    return path


def _titles(paths: Sequence[Path]) -> dict[Path, str]:
    """Name each file as briefly as tells it from the others: `b.csv`, else `a/b.csv`."""
    unique = list(dict.fromkeys(paths))
    titles = {}
    for path in unique:
        parts = path.absolute().parts
        others = [other.absolute().parts for other in unique if other != path]
        depth = 1
        while depth < len(parts) and any(other[-depth:] == parts[-depth:] for other in others):
            depth += 1
        titles[path] = "/".join(parts[-depth:])
    return titles


def _mapped(
    table: Table, columns: Mapping[str, str], required: Sequence[Sequence[str]]
) -> list[SourceRow]:
    """Return the rows under the task's column names, or say once what is missing."""
    for ours, theirs in columns.items():
        if theirs not in table.columns:
            raise DataError(
                f"{table.name}: no column '{theirs}', which data.columns gives for '{ours}'. "
                f"{suggest(theirs, table.columns)}"
            )
    moved = set(columns.values())
    present = (set(table.columns) - moved) | set(columns)
    if required and not any(present.issuperset(names) for names in required):
        missing = next(name for name in required[0] if name not in present)
        others = "".join(f" or {' + '.join(names)}" for names in required[1:])
        also = f" The task needs {' + '.join(required[0])}{others}." if others else ""
        near = (difflib.get_close_matches(missing, table.columns, n=1) or ["…"])[0]
        raise DataError(
            f"{table.name}: no column '{missing}'.{also} {suggest(missing, table.columns)} "
            f"If it has another name here, set data.columns.{missing}={near}."
        )
    if not columns:
        return table.rows
    return [
        SourceRow(
            row.id,
            {name: value for name, value in row.values.items() if name not in moved}
            | {ours: row.values.get(theirs) for ours, theirs in columns.items()},
        )
        for row in table.rows
    ]
