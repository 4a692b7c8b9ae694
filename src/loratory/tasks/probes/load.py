"""Probes by name: embedded ones and .jsonl files, sampled, and the texts for replay.

The forms of a row are those of llm-foundry's files of tasks, and a question is worded as in
EleutherAI's lm-evaluation-harness: an option follows its context after a space, and a query that
begins with `Question:` is followed by `Answer:` (its `arc_easy` and `piqa`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from loratory.errors import ConfigError, DataError, suggest
from loratory.tasks.draw import sampled
from loratory.tasks.embedded.base import EMBEDDED
from loratory.tasks.probes.base import PROBES, Item, Option
from loratory.tasks.probes.passages import passages
from loratory.tasks.rows import SourceRow, checked_text
from loratory.tasks.source.files import read_file

__all__ = ["load_probe", "load_probes", "replay_texts"]

REPLAY = "embedded:replay"
BESIDE = {"id", "title", "group", "delimiter"}
"""Columns that any row may have."""
FORMS: tuple[frozenset[str], ...] = (
    frozenset({"query", "choices", "gold"}),
    frozenset({"context", "continuation"}),
    frozenset({"context_options", "continuation", "gold"}),
    frozenset({"text"}),
    frozenset({"sentence"}),
)


def load_probes(
    names: Sequence[str], rows: int, seed: int, field: str = "forgetting.probes"
) -> dict[str, list[Item]]:
    """Return at most `rows` items of each probe, under a short name that no other one has.

    Args:
        names: `embedded:NAME`, or paths of .jsonl files.
        rows: of each probe; a seeded sample, in the probe's order.
        seed: of the sample, which does not depend on the order of a file.
        field: of the recipe, for messages.

    Raises:
        ConfigError: an unknown embedded probe, a file that is no .jsonl, or a probe named twice.
        DataError: a file that is not there, or a row that is no item; file, row and field are
            named.
        MissingDependencyError: what an embedded probe is read from is not installed.
    """
    problems = [
        f"{field}[{i}]: {name} is named twice. Leave one of them out."
        for i, name in enumerate(names)
        if name in names[:i]
    ]
    if problems:
        raise ConfigError(problems)
    found: dict[str, list[Item]] = {}
    for i, name in enumerate(names):
        items = load_probe(name, f"{field}[{i}]")
        short = base = Path(name.removeprefix(EMBEDDED)).stem
        number = 1
        while short in found:
            number += 1
            short = f"{base}-{number}"
        found[short] = _sample(items, rows, seed)
    return found


def load_probe(name: str, field: str = "forgetting.probes") -> list[Item]:
    """Return every item of a probe; arguments and errors as for `load_probes`."""
    if name.startswith(EMBEDDED):
        inner = name.removeprefix(EMBEDDED)
        if inner not in PROBES.names():
            raise ConfigError(f"{field}: unknown '{name}'. {_known(PROBES.names())}")
        return PROBES.get(inner)().items()
    table = _file(name, field)
    items = [_item(row) for row in table]
    seen: dict[str, str] = {}
    for row, item in zip(table, items, strict=True):
        if _kind(item) != _kind(items[0]):
            raise DataError(
                f"{row.id}: of another kind than {table[0].id}. Give texts, questions with "
                "options, and continuations a file each."
            )
        if item.id in seen:
            raise DataError(
                f"{row.id}: its id '{item.id}' is also that of {seen[item.id]}; ids must be unique."
            )
        seen[item.id] = row.id
    return items


def replay_texts(
    name: str, held_out: Iterable[Item], field: str = "remedy.replay_data"
) -> list[str]:
    """Return texts to replay in training, without those that a probe asks for.

    Args:
        name: `embedded:replay`, or the path of a .jsonl file with a `text` in each row.
        held_out: the items of the probes, of which nothing may be trained on.
        field: of the recipe, for messages.

    Raises:
        ConfigError: no such set, a file that is no .jsonl, or a text of a probe is all it has.
        DataError: a file that is not there, or a row without a text.
        MissingDependencyError: what the embedded set is read from is not installed.
    """
    if name == REPLAY:
        texts = [item.text for item in passages("replay")]
    elif name.startswith(EMBEDDED):
        raise ConfigError(f"{field}: unknown '{name}'. {_known(['replay'])}")
    else:
        texts = []
        for row in _file(name, field):
            unknown = sorted(set(row.values) - BESIDE - {"text"})
            if unknown:
                raise DataError(
                    f"{row.id}: unknown field '{unknown[0]}'. A row to replay has a 'text'."
                )
            texts.append(checked_text(row.values.get("text"), "text", row.id))
    asked = {_folded(option.text) for item in held_out for option in item.options}
    kept = [text for text in texts if _folded(text) not in asked]
    if not kept:
        raise ConfigError(
            f"{field}: every text of {name} is also in a probe, which would then measure what was "
            "trained. Take other texts for one of them."
        )
    return kept


def _kind(item: Item) -> tuple[bool, bool]:
    return item.gold is not None, item.greedy


def _known(names: Iterable[str]) -> str:
    found = suggest("", [f"{EMBEDDED}{name}" for name in names])
    return f"{found} Or give the path of a .jsonl file."


def _folded(text: str) -> str:
    return " ".join(text.casefold().split())


def _file(name: str, field: str) -> list[SourceRow]:
    path = Path(name).expanduser()
    if path.suffix.lower() != ".jsonl":
        raise ConfigError(f"{field}: {name} is no .jsonl file. {_known(PROBES.names())}")
    return read_file(path, name, field).rows


def _sample(items: list[Item], rows: int, seed: int) -> list[Item]:
    def drawn(item: Item) -> bytes:
        content = "\x1f".join(part for option in item.options for part in option)
        return hashlib.sha256(f"{seed}\x1e{item.id}\x1e{content}".encode()).digest()

    return sampled(items, rows, drawn)


def _item(row: SourceRow) -> Item:
    values, where = row.values, row.id
    given = {key for key in values if key not in BESIDE}
    if given not in FORMS:
        raise DataError(f"{where}: {_misfit(given)}")
    named = values.get("id", where)
    if not isinstance(named, str | int) or isinstance(named, bool):
        kind = type(named).__name__
        raise DataError(f"{where}: id must be text or a whole number, got {kind}.")
    gap = values.get("delimiter", " ")
    if not isinstance(gap, str):
        raise DataError(f"{where}: delimiter must be text, got {type(gap).__name__}.")
    options, gold = _options(values, where, gap)
    return Item(
        id=str(named),
        options=options,
        gold=gold,
        greedy=given == {"context", "continuation"},
        group=str(values.get("group", "")),
    )


def _options(
    values: Mapping[str, Any], where: str, gap: str
) -> tuple[tuple[Option, ...], int | None]:
    if "query" in values:
        query = _worded(checked_text(values["query"], "query", where))
        choices = _texts(values["choices"], "choices", where)
        options = tuple(Option(query, f"{gap}{text}") for text in choices)
        return options, _gold(values["gold"], len(options), where)
    if "context_options" in values:
        contexts = _texts(values["context_options"], "context_options", where)
        text = checked_text(values["continuation"], "continuation", where)
        options = tuple(Option(context, f"{gap}{text}") for context in contexts)
        return options, _gold(values["gold"], len(options), where)
    if "context" in values:
        context = checked_text(values["context"], "context", where)
        text = checked_text(values["continuation"], "continuation", where)
        return (Option(context, f"{gap}{text}"),), None
    name = "text" if "text" in values else "sentence"
    return (Option("", checked_text(values[name], name, where)),), None


def _worded(query: str) -> str:
    asked = query.startswith("Question:") and "Answer:" not in query
    return f"{query}\nAnswer:" if asked else query


def _texts(value: object, name: str, where: str) -> list[str]:
    if not isinstance(value, list) or len(value) < 2:
        raise DataError(f"{where}: {name} must be a list of at least two texts.")
    return [checked_text(text, f"{name}[{i}]", where) for i, text in enumerate(value)]


def _gold(value: object, options: int, where: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < options:
        raise DataError(
            f"{where}: gold is {value!r}; it must be the place of the right option, 0 to "
            f"{options - 1}."
        )
    return value


def _misfit(given: set[str]) -> str:
    """Say which field is unknown or missing, by the form that is nearest."""
    form = max(FORMS, key=lambda form: (len(form & given), -len(form - given)))
    forms = "; ".join(", ".join(sorted(form)) for form in FORMS)
    known = set().union(*FORMS)
    unknown = sorted(given - known)
    missing = sorted(form - given)
    if unknown:
        what = f"unknown field '{unknown[0]}'"
    elif missing:
        what = f"'{missing[0]}' is missing"
    else:
        what = f"'{sorted(given - form)[0]}' does not go with '{sorted(form)[0]}'"
    return f"{what}. A row of a probe has one of: {forms}."
