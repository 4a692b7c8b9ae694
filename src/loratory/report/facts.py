"""What a run was, from its manifest and recipe: names and values as text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from loratory.report import wording
from loratory.report.data import ReportData, fact

__all__ = ["Group", "cut_rows", "dropped_rows", "run_facts", "splits"]


class Group(NamedTuple):
    """Facts under one heading."""

    title: str
    items: tuple[tuple[str, str], ...]
    """(name, value)."""


def run_facts(data: ReportData) -> tuple[Group, ...]:
    """Return every recorded fact, grouped; what was not recorded is left out, never guessed."""
    groups = {
        "Model": _model(data.manifest),
        "Method": _section(data.config, "method"),
        "Data": _data(data.manifest),
        "Training": _training(data),
        "Memory in training": _memory(data.manifest),
        "Time": {
            wording.metric_name(stage): wording.duration(seconds)
            for stage, seconds in _mapping(data.manifest, "durations").items()
        },
        "Machine": _machine(data.manifest),
        "Versions": {
            **({"loratory": v} if (v := fact(data.manifest, "loratory")) else {}),
            **_mapping(data.manifest, "versions"),
        },
    }
    return tuple(
        Group(title, tuple((str(name), str(value)) for name, value in items.items()))
        for title, items in groups.items()
        if items
    )


def splits(manifest: Mapping[str, Any]) -> dict[str, str]:
    """Return the number of rows of each split, as text."""
    return {name: wording.count(n) for name, n in _mapping(manifest, "data", "rows").items()}


def dropped_rows(manifest: Mapping[str, Any]) -> dict[str, str]:
    """Return why rows were dropped, with how many; those of which none were are left out."""
    dropped = _mapping(manifest, "data", "dropped")
    return {why: wording.count(rows) for why, rows in dropped.items() if rows}


def cut_rows(manifest: Mapping[str, Any]) -> dict[str, str]:
    """Return what was cut from the texts of each split: `345 tokens in 12 of 360 sources`.

    A split in which nothing was cut is left out.
    """
    cut = {}
    for split, what in _mapping(manifest, "data", "cut").items():
        if not isinstance(what, Mapping):
            cut[split] = str(what)
            continue
        parts = [
            f"{wording.count(what[f'{text}_tokens'])} tokens in {wording.count(rows)} of "
            f"{wording.count(what.get('rows'))} {text}s"
            for text in ("source", "answer")
            if (rows := what.get(f"{text}_rows")) and f"{text}_tokens" in what
        ]
        if parts:
            cut[split] = ", ".join(parts)
    return cut


def _mapping(tree: Any, *path: str) -> dict[str, Any]:
    found = fact(tree, *path)
    return {str(key): value for key, value in found.items()} if isinstance(found, Mapping) else {}


def _known(pairs: Mapping[str, str | None]) -> dict[str, str]:
    return {name: value for name, value in pairs.items() if value is not None}


def _plain(value: Any) -> str | None:
    return None if value is None else wording.count(value)


def _model(manifest: Mapping[str, Any]) -> dict[str, str]:
    model = _mapping(manifest, "model")
    trainable, share = _plain(model.get("trainable")), model.get("trainable_percent")
    if trainable is not None and isinstance(share, int | float):
        trainable += f" ({share:.3g}%)"
    return _known(
        {
            "Name": _plain(model.get("name")),
            "Family": _plain(model.get("family")),
            "Number format": _plain(model.get("dtype")),
            "Parameters": _plain(model.get("parameters")),
            "Trainable": trainable,
            "Fingerprint": _plain(model.get("fingerprint")),
        }
    )


def _memory(manifest: Mapping[str, Any]) -> dict[str, str]:
    """Return the estimate that was made before training, by part, and what was measured."""
    model = _mapping(manifest, "model")
    expected, peak = model.get("expected_memory_bytes"), model.get("peak_memory_bytes")
    parts = _mapping(model, "expected_memory")
    loading = parts.pop("loading", None)
    if (
        loading is not None and loading == expected
    ):  # the peak comes before training, while the weights' file is read
        parts = {"loading": loading}
    return _known(
        {
            "Measured at most": None if peak is None else wording.size(peak),
            "Expected": None if expected is None else _expected(expected, peak),
            **{f"Expected: {name}": wording.size(value) for name, value in parts.items()},
        }
    )


def _expected(expected: Any, peak: Any) -> str:
    """Return `3.4 GiB (97% of the measured)`."""
    known = all(isinstance(value, int | float) and value > 0 for value in (peak, expected))
    share = f" ({100 * expected / peak:.0f}% of the measured)" if known else ""
    return wording.size(expected) + share


def _data(manifest: Mapping[str, Any]) -> dict[str, str]:
    facts = _known({"Name": _plain(fact(manifest, "data", "name"))})
    facts |= {
        f"{wording.metric_name(split)} rows": rows for split, rows in splits(manifest).items()
    }
    facts |= {f"Dropped: {why}": rows for why, rows in dropped_rows(manifest).items()}
    facts |= {f"Cut in {split}": what for split, what in cut_rows(manifest).items()}
    recorded = fact(manifest, "data", "dropped") is not None
    if recorded and not dropped_rows(manifest):
        facts["Dropped"] = "no rows"
    if fact(manifest, "data", "cut") is not None and not cut_rows(manifest):
        facts["Cut"] = "no text was too long"
    prints = _mapping(manifest, "data", "fingerprint")
    if prints:
        return facts | {f"Fingerprint of {split}": str(value) for split, value in prints.items()}
    return facts | _known({"Fingerprint": _plain(fact(manifest, "data", "fingerprint"))})


def _training(data: ReportData) -> dict[str, str]:
    training = _mapping(data.manifest, "training")
    best, loss = _plain(training.get("best_step")), training.get("best_eval_loss")
    if best is not None and isinstance(loss, int | float):
        best += f" (validation loss {loss:.4g})"
    early, speed = training.get("stopped_early"), training.get("examples_per_second")
    facts = _known(
        {
            "Steps": _plain(training.get("steps")),
            "Best step": best,
            "Stopped early": None if early is None else "yes" if early else "no",
            "Speed": f"{speed:.3g} examples/s" if isinstance(speed, int | float) else None,
            "Seed": _plain(fact(data.manifest, "seed")),
        }
    )
    return facts | _section(data.config, "train")


def _section(config: Mapping[str, Any], name: str) -> dict[str, str]:
    """Return a section's own values; nested ones are in the full recipe below."""
    section = fact(config, name)
    if isinstance(section, str):
        return {"Name": section}
    return {key: _value(value) for key, value in _mapping(config, name).items() if _simple(value)}


def _simple(value: Any) -> bool:
    if isinstance(value, list):
        return len(value) <= 12 and all(isinstance(item, str | int | float) for item in value)
    return isinstance(value, str | int | float)


def _value(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


def _machine(manifest: Mapping[str, Any]) -> dict[str, str]:
    hardware = _mapping(manifest, "hardware")
    facts = {}
    for key, value in hardware.items():
        if key == "memory_bytes":
            facts["Memory"] = wording.size(value)
        elif key == "accelerator":
            facts["Accelerator"] = "none" if value is None else str(value)
        elif value is not None:
            facts["CPU" if key == "cpu" else wording.metric_name(key)] = _value(value)
    return facts
