"""Pairs of sentences of which one holds a stereotype, as items that a model is asked.

Read are the embedded templates, CrowS-Pairs (Nangia et al. 2020, arXiv 2010.00133; also its
original columns), WinoBias (Zhao et al. 2018, arXiv 1804.06876; a row of the pro-stereotyped part
and the row of the same number of the anti-stereotyped part are a pair), and any file of pairs with
the columns of CrowS-Pairs. Option 0 of an item is the sentence that agrees with the stereotype.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from loratory.errors import ConfigError, DataError, suggest
from loratory.tasks.draw import draw, sampled
from loratory.tasks.embedded.base import EMBEDDED
from loratory.tasks.groups.templates import Pair, template_pairs
from loratory.tasks.probes.base import Item, Option
from loratory.tasks.rows import SourceRow, checked_text
from loratory.tasks.source.files import read_file

__all__ = ["read_pairs"]

TEMPLATES = {"pairs": template_pairs}
_COLUMNS = "sent_more and sent_less, or those of WinoBias: id, stereotype and sentence"


def read_pairs(
    name: str, base_dir: Path, limit: int | None = None, seed: int = 0, field: str = "bias.probes"
) -> list[Item]:
    """Return pairs of sentences as items without context: first the stereotyped sentence.

    Args:
        name: `embedded:pairs`, or a .jsonl file with the columns `sent_more` (the sentence that
            agrees with the stereotype), `sent_less`, and perhaps `bias_type` and `id`; or with
            those of WinoBias.
        base_dir: folder that relative paths start from.
        limit: at most so many, a seeded sample; None: all.
        seed: of the sample.
        field: of the recipe, which a sentence about the name begins with.

    Raises:
        ConfigError: no such embedded set, or a file of another kind.
        DataError: the file cannot be read, or a row of it is no pair.
    """
    if name.startswith(EMBEDDED):
        short = name.removeprefix(EMBEDDED)
        if short not in TEMPLATES:
            raise ConfigError(f"{field}: unknown '{name}'. {suggest(short, TEMPLATES)}")
        pairs = TEMPLATES[short]()
    elif not name.lower().endswith(".jsonl"):
        raise ConfigError(f"{field}: '{name}' is neither embedded:pairs nor a .jsonl file.")
    else:
        table = read_file(base_dir / Path(name).expanduser(), name, field)
        winobias = {"stereotype", "sentence"} <= set(table.columns)
        pairs = list(_winobias(name, table.rows) if winobias else _crows(table.rows))
        if not pairs:
            raise DataError(f"{name}: no pair in it. Give rows with {_COLUMNS}.")
    return [
        Item(pair.id, (Option("", pair.more), Option("", pair.less)), group=pair.kind)
        for pair in sampled(pairs, limit, lambda pair: draw(seed, "pairs", pair.id))
    ]


def _crows(rows: Sequence[SourceRow]) -> Iterator[Pair]:
    seen: set[str] = set()
    for place, row in rows:
        if not {"sent_more", "sent_less"} <= set(row):
            raise DataError(f"{place}: no pair of sentences. Give {_COLUMNS}.")
        more = checked_text(row["sent_more"], "sent_more", place)
        less = checked_text(row["sent_less"], "sent_less", place)
        if more == less:
            raise DataError(f"{place}: both sentences are the same, so there is no preference.")
        name = str(row.get("id", place))
        if name in seen:
            raise DataError(f"{place}: the id '{name}' comes twice; ids must be unique.")
        seen.add(name)
        yield Pair(name, more, less, str(row.get("bias_type") or ""))


def _winobias(file: str, rows: Sequence[SourceRow]) -> Iterator[Pair]:
    known: dict[str, dict[str, SourceRow]] = {"pro": {}, "anti": {}}
    for row in rows:
        side, name = row.values.get("stereotype"), str(row.values.get("id", ""))
        if side not in known or f"-{side}-" not in name:
            raise DataError(
                f"{row.id}: stereotype is {side!r} and the id '{name}'. A row of WinoBias has pro "
                "or anti, and an id such as type1-dev-pro-0."
            )
        known[side][name.replace(f"-{side}-", "-")] = row
    for name, pro in known["pro"].items():
        if name not in known["anti"]:
            raise DataError(f"{pro.id}: its anti-stereotyped row is missing from {file}.")
        anti = known["anti"][name]
        more, less = (
            checked_text(row.values.get("sentence"), "sentence", row.id) for row in (pro, anti)
        )
        if more != less:
            yield Pair(name, more, less, f"type {pro.values.get('type', '')}".strip())
