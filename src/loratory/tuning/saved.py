"""A saved adapter: found in a run or a folder, checked, and put on its base model.

What can be wrong with it is found before the base model's weights are read: a file that was
cut short, a configuration that is none, a base model that is not there or is another one.
"""

from __future__ import annotations

import json
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from loratory.config import ModelConfig
from loratory.errors import ModelError, RunError
from loratory.methods.base import TASK_TYPES, Family
from loratory.progress import Progress
from loratory.records import Example
from loratory.runs import Run
from loratory.tuning.adapter import CONFIG, with_adapter
from loratory.tuning.model import Loaded, fingerprint, load, resolve

__all__ = ["WEIGHTS", "Saved", "base_model", "find", "put_on", "weights"]

WEIGHTS = "adapter_model.safetensors"
FAMILIES: dict[str, Family] = {name: family for family, name in TASK_TYPES.items()}
PLAIN = {"pissa", "olora", "corda", "loftq"}
"""Starts of LoRA that change the base weights: what they train is no update of the base."""


@dataclass(frozen=True)
class Saved:
    """An adapter on disk, with what is needed to load it."""

    folder: Path
    """Holds adapter_config.json and the weights."""
    config: dict[str, Any]
    """adapter_config.json."""
    model: ModelConfig
    """The base model."""
    labels: tuple[str, ...]
    """Class names, for a classification head."""
    run: Run | None
    """The run that trained it, where that is known."""

    @property
    def kind(self) -> str:
        """Return peft's name of the method, such as LORA."""
        return str(self.config.get("peft_type"))

    @property
    def moves_base(self) -> bool:
        """Return whether its start changed the base weights, as PiSSA's does."""
        start = self.config.get("init_lora_weights")
        return isinstance(start, str) and any(name in start for name in PLAIN)

    def rows(self) -> list[Example]:
        """Return validation rows of its run; none where there is no run."""
        try:
            return self.run.examples("validation") if self.run else []
        except RunError:
            return []


def find(path: Path, base: str | None = None) -> Saved:
    """Find the adapter of a run, or of a folder that `save_pretrained` wrote.

    Args:
        path: a run folder or an adapter folder.
        base: the base model, where it is elsewhere than the adapter says.

    Raises:
        ModelError: neither, or damaged, or its base model is not on this machine.
        RunError: a run that has no adapter yet.
    """
    run = _run_of(path)
    folder = run.need("adapter", "train") if run else path
    config = _config(folder)
    weights(folder)
    if run is not None:
        named = {"name": base} if base else {}
        task = run.config.task
        return Saved(folder, config, run.config.model.model_copy(update=named), task.choices(), run)
    family = FAMILIES.get(str(config.get("task_type")))
    if family is None:
        raise ModelError(
            f"{folder}/{CONFIG}: task_type is {config.get('task_type')!r}; allowed are "
            f"{', '.join(sorted(FAMILIES))}."
        )
    model = ModelConfig(
        name=base or _base_name(folder, config),
        family=family,
        revision=None if base else config.get("revision"),
    )
    return Saved(folder, config, model, _labels(folder, config), None)


def _run_of(path: Path) -> Run | None:
    for folder in (path, path.parent):
        inside = folder == path or path.name == "adapter"
        if inside and (folder / "manifest.json").is_file():
            return Run.open(folder)
    return None


def _config(folder: Path) -> dict[str, Any]:
    file = folder / CONFIG
    if not file.is_file():
        raise ModelError(
            f"{folder}: neither a run folder (it has no manifest.json) nor an adapter (it has no "
            f"{CONFIG})."
        )
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{file}: damaged, not JSON ({error}).") from None
    if not isinstance(found, dict) or "peft_type" not in found:
        raise ModelError(f"{file}: damaged, it has no 'peft_type'.")
    return found


def weights(folder: Path) -> dict[str, torch.Tensor]:
    """Read an adapter's tensors by name.

    Raises:
        ModelError: no file, one that was cut short or changed, or values that are no numbers.
    """
    file = folder / WEIGHTS
    if not file.is_file():
        raise ModelError(
            f"{folder}: has no {WEIGHTS}. Only safetensors are read; pickled weights can run code."
        )
    try:
        with safe_open(file, framework="pt") as opened:
            found = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise ModelError(
            f"{file}: damaged or cut short ({error}). Train again, or fetch the file again."
        ) from None
    for name, tensor in found.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise ModelError(f"{file}: {name} holds values that are not finite. Train again.")
    return found


def _base_name(folder: Path, config: dict[str, Any]) -> str:
    name = config.get("base_model_name_or_path")
    if not isinstance(name, str) or not name:
        raise ModelError(f"{folder}/{CONFIG}: names no base model. Give it with --base.")
    if Path(name).is_absolute() and not Path(name).exists():
        raise ModelError(
            f"{folder}: its base model is {name}, which is not on this machine. Say with --base "
            "where it is."
        )
    return name


def _labels(folder: Path, config: dict[str, Any]) -> tuple[str, ...]:
    """Return `LABEL_0`, … for as many classes as the saved head has."""
    if FAMILIES.get(str(config.get("task_type"))) != "classifier":
        return ()
    found = weights(folder)
    ends = ("score.weight", "classifier.weight", "out_proj.weight")
    sizes = {tensor.shape[0] for name, tensor in found.items() if name.endswith(ends)}
    if not sizes:
        raise ModelError(
            f"{folder}: a classifier's adapter without its classification head. Without the head "
            "it gives random classes; train again, or take the adapter that has it."
        )
    return tuple(f"LABEL_{i}" for i in range(min(sizes)))


def base_model(saved: Saved, progress: Progress, **changes: Any) -> Loaded:
    """Load the base model that an adapter was trained on.

    Args:
        saved: the adapter.
        progress: hears of slow steps.
        changes: fields of the model section that shall be others, such as `dtype`.

    Raises:
        ModelError: it cannot be loaded, or is not the model that the run was trained on.
    """
    config = saved.model.model_copy(update=changes)
    classify = saved.config.get("task_type") == "SEQ_CLS"
    if saved.run is not None:
        classify = saved.run.config.task.kind == "classification"
    spec = resolve(config, classify=classify, progress=progress)
    if saved.run is not None:
        trained = saved.run.manifest().get("model", {}).get("fingerprint")
        now = fingerprint(spec)
        if trained is not None and trained != now:
            raise ModelError(
                f"{saved.folder}: {config.name} is not the base model that was trained on; its "
                f"files have changed ({now[:23]}…, trained on {trained[:23]}…). Bring the old "
                "files back, or say with --base where they are."
            )
    return load(spec, saved.labels, 0)


def put_on(loaded: Loaded, folder: Path) -> Any:
    """Return the base model with a saved adapter on it, every tensor of the file used.

    Raises:
        ModelError: the adapter is damaged, incomplete, or of another base model.
    """
    from peft import get_peft_model_state_dict

    held = weights(folder)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        try:
            model = with_adapter(loaded, folder)
        except ModelError as error:
            # peft lists every tensor of the wrong size: the first is enough.
            raise ModelError(_short(str(error))) from None
    missing = [str(item.message) for item in told if "missing adapter keys" in str(item.message)]
    wanted = get_peft_model_state_dict(model, save_embedding_layers=False)
    strange = sorted(set(held) - set(wanted))
    if missing or strange:
        what = "lacks weights for" if missing else "has weights for layers that are not there, as"
        name = strange[0] if strange else _first_name(missing[0])
        raise ModelError(
            f"{folder}: cannot be put on {loaded.spec.name}: it {what} {name}. It is incomplete, "
            "or of another base model."
        )
    return model


def _short(text: str) -> str:
    """Return what peft said of an adapter that does not fit, without its list of every tensor."""
    text = " ".join(text.split())
    where, _, why = text.rpartition(": ")
    if why.startswith("'base_model."):  # a bare KeyError
        name = why.strip("'")
        return f"{where}: it lacks {name}. It is incomplete, or of another base model."
    before, found, after = text.partition("size mismatch for ")
    if found:
        place, words, model = before.partition(": cannot be put on ")
        return (
            f"{place}{words}{model.partition(': ')[0]}: another shape of "
            f"{after.partition(':')[0]}. It is of another base model."
        )
    return text if len(text) <= 400 else f"{text[:399]}…"


def _first_name(warning: str) -> str:
    return warning.partition("[")[2].partition(",")[0].strip("'\"[] .")
