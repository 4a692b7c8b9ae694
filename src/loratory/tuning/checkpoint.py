"""Checkpoints that training goes on from: sealed when they are whole, and read without a pickle.

Trainer writes a checkpoint file by file, and a process may be killed between any two of them, the
disk may fill, a file may rot. A seal, written last, lists every file with its size and SHA-256:
what is not as it says is not gone on from. Optimiser, schedule and random states, which Trainer
would pickle, are safetensors and JSON here, for a pickle runs whatever code it holds as it is
opened.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from transformers import TrainerState

from loratory.errors import RunError
from loratory.files import write_text

__all__ = [
    "Found",
    "last_whole",
    "load_optimizer",
    "load_values",
    "number_of",
    "rotate",
    "save_optimizer",
    "save_values",
    "seal",
    "state_of",
]

SEAL = "seal.json"
STATE = "trainer_state.json"
OPTIMIZER = "optimizer.safetensors"
VALUES = "values.json"
PICKLES = {".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib", ".npy", ".npz"}
"""Endings of files that are pickles, or may hold one."""


def save_optimizer(folder: Path, state: dict[str, Any]) -> None:
    """Write an optimiser's `state_dict`.

    Args:
        folder: of the checkpoint.
        state: tensors and plain values by the number of each parameter, and its groups.
    """
    tensors: dict[str, torch.Tensor] = {}
    plain: dict[str, dict[str, Any]] = {}
    for number, values in state["state"].items():
        for name, value in values.items():
            if isinstance(value, torch.Tensor):
                tensors[f"{number}.{name}"] = value.detach().contiguous()
            else:
                plain.setdefault(str(number), {})[name] = value
    facts = {"groups": json.dumps(state["param_groups"]), "plain": json.dumps(plain)}
    save_file(tensors, folder / OPTIMIZER, metadata=facts)


def load_optimizer(folder: Path) -> dict[str, Any]:
    """Read what `save_optimizer` wrote."""
    found: dict[int, dict[str, Any]] = {}
    with safe_open(folder / OPTIMIZER, framework="pt") as file:
        facts = file.metadata()
        for key in file.keys():  # noqa: SIM118 (it is no mapping)
            number, _, name = key.partition(".")
            found.setdefault(int(number), {})[name] = file.get_tensor(key)
    for number, values in json.loads(facts["plain"]).items():
        found.setdefault(int(number), {}).update(values)
    groups = [
        {k: tuple(v) if isinstance(v, list) and k != "params" else v for k, v in group.items()}
        for group in json.loads(facts["groups"])
    ]
    return {"state": found, "param_groups": groups}


def save_values(folder: Path, name: str, values: dict[str, Any]) -> None:
    """Add plain values, such as a schedule's state, under a name."""
    file = folder / VALUES
    known = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    write_text(file, json.dumps({**known, name: values}, indent=1) + "\n")


def load_values(folder: Path, name: str) -> dict[str, Any] | None:
    """Return what was saved under a name, or None."""
    found: dict[str, Any] = json.loads((folder / VALUES).read_text(encoding="utf-8"))
    return found.get(name)


def seal(folder: Path) -> None:
    """Write down what a checkpoint consists of: when all of it is there."""
    files = {name: _facts(folder / name) for name in _names(folder)}
    write_text(folder / SEAL, json.dumps({"files": files}, indent=1) + "\n")


class Found(NamedTuple):
    """What there is to go on from."""

    checkpoint: Path | None
    damaged: list[str]
    """A sentence for each newer one that is not whole."""


def last_whole(checkpoints: Path) -> Found:
    """Return the newest checkpoint that is as it was sealed, with the best one that it names.

    Raises:
        RunError: one holds a pickle.
    """
    damaged: list[str] = []
    known = [path for path in checkpoints.glob("checkpoint-*") if re.search(r"-\d+$", path.name)]
    for path in sorted(known, key=number_of, reverse=True):
        problem = _problem(path)
        if problem is None:
            best = state_of(path).best_global_step
            beside = checkpoints / f"checkpoint-{best}"
            if best and beside != path and (flaw := _problem(beside)) is not None:
                problem = f"the best one, {beside.name}, {flaw}"
        if problem is None:
            return Found(path, damaged)
        damaged.append(f"{path.name}: {problem}")
    return Found(None, damaged)


def _problem(folder: Path) -> str | None:
    """Return what is wrong with a checkpoint, if anything is."""
    pickles = [file.name for file in folder.rglob("*") if file.suffix in PICKLES]
    if pickles:
        raise RunError(
            f"{folder / pickles[0]}: a pickle, which can run code as it is opened. Loratory writes "
            "none and opens none. Remove it if you do not know where it comes from."
        )
    try:
        files = json.loads((folder / SEAL).read_text(encoding="utf-8"))["files"]
        if not isinstance(files, dict):
            return "has a damaged seal"
        named = set(_names(folder))
        if missing := sorted(set(files) - named):
            return f"lacks {missing[0]}"
        if others := sorted(named - set(files)):
            return f"has {others[0]}, with which it was not saved"
        changed = (name for name in sorted(files) if _facts(folder / name) != files[name])
        if (name := next(changed, None)) is not None:
            return f"has a changed {name}"
        state_of(folder)
    except FileNotFoundError:
        return "is half written"
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        return f"cannot be read ({error})"
    return None


def rotate(checkpoints: Path, most: int, best: int | None) -> None:
    """Remove older checkpoints, by their steps and not by a clock that may have gone back.

    Args:
        checkpoints: their folder; the newest is whole.
        most: that are kept, among them the newest and the best.
        best: step of the best one, if any is.
    """
    known = sorted(checkpoints.glob("checkpoint-*"), key=number_of, reverse=True)
    kept = {path for path in known if number_of(path) == best} | set(known[:1])
    for path in known:
        if len(kept) >= most:
            break
        kept.add(path)
    for path in known:
        if path not in kept:
            shutil.rmtree(path, ignore_errors=True)


def number_of(checkpoint: Path) -> int:
    """Return the step that a checkpoint is of."""
    return int(checkpoint.name.rpartition("-")[2])


def state_of(checkpoint: Path) -> TrainerState:
    """Return what Trainer knows of its steps there."""
    return TrainerState.load_from_json(str(checkpoint / STATE))


def _names(folder: Path) -> list[str]:
    files = (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return sorted(str(path.relative_to(folder)) for path in files if path.name != SEAL)


def _facts(file: Path) -> dict[str, Any]:
    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return {"bytes": file.stat().st_size, "sha256": digest}
