"""Everything about a run that can be known before its weights are read.

The model is built without storage and the method attached to it, so that wrong target
modules, limits beyond the model's positions, rows that teach nothing and a full disk are
found in seconds, not after an hour.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from loratory import cache
from loratory.codec import from_dict, to_dict
from loratory.config import RunConfig
from loratory.errors import ConfigError, RunError
from loratory.progress import Progress
from loratory.records import Example
from loratory.runs.environment import versions
from loratory.tuning.account import Account
from loratory.tuning.audit import audit, count_cut, show
from loratory.tuning.device import device
from loratory.tuning.encode import Encoded, Encoder, check_lengths
from loratory.tuning.fused.compiled import check_compiler
from loratory.tuning.memory import (
    Memory,
    Rehearsal,
    Weights,
    base_weights,
    expected_memory,
    largest,
    rehearse,
    replay_shape,
)
from loratory.tuning.model import Resolved, check_labels, empty, heads_of, resolve
from loratory.tuning.regularise import check_remedies
from loratory.tuning.replay import encode_texts
from loratory.tuning.static import check_graphs
from loratory.tuning.tokenised import tokenised
from loratory.tuning.validation import goal_for
from loratory.tuning.vllm import check_engine

__all__ = ["Preflight", "encoder_for", "preflight"]

KIND = "rehearsals"
BYTES_A_CHECKPOINT = 12
"""Of each trainable parameter: its float32 value and Adam's two moments."""


@dataclass(frozen=True)
class Preflight:
    """What will be trained on what."""

    spec: Resolved
    rows: Mapping[str, Sequence[Encoded]]
    model: dict[str, Any]
    """Facts for the manifest: name, family, dtype, parameters, memory expected in bytes."""
    account: Account
    """Its parameters by module."""
    memory: Memory | None
    """What training is expected to hold; None for a model that cannot be run without numbers."""
    cut: dict[str, dict[str, int]]
    """For each split, what did not fit."""
    shown: tuple[str, ...]
    """Two training rows, the supervised part marked."""


def encoder_for(spec: Resolved, config: RunConfig) -> Encoder:
    """Return the encoder that a recipe's limits ask for."""
    data = config.data
    return Encoder(spec, config.task, data.max_prompt_tokens, data.max_target_tokens)


def preflight(
    config: RunConfig,
    splits: Mapping[str, Sequence[Example]],
    progress: Progress,
    texts: Sequence[str] = (),
) -> Preflight:
    """Check a run whole.

    Args:
        config: the recipe, its task bound to its labels.
        splits: `train`, `validation` and `test`.
        progress: hears what was found.
        texts: general ones, to replay.

    Raises:
        ConfigError, DataError, ModelError, RunError: the first thing that would fail later.
    """
    spec = resolve(config.model, classify=config.task.kind == "classification", progress=progress)
    if spec.family not in config.method.families:
        raise ConfigError(
            f"method.name: {config.method.name} cannot be attached to a {spec.family} model; "
            f"it takes {', '.join(sorted(config.method.families))}."
        )
    vectors = getattr(config.method, "num_virtual_tokens", None) or 0
    check_lengths(spec, config.data.max_prompt_tokens, config.data.max_target_tokens, vectors)
    check_labels(spec, config.task.choices())
    encoder = encoder_for(spec, config)
    check_compiler(
        {
            "train.torch_compile": config.train.torch_compile,
            "decode.torch_compile": config.decode.torch_compile,
        }
    )
    check_graphs(config.decode, config.task.kind, spec.family)
    check_engine(config.decode, spec, config.task.kind, config.method)
    check_remedies(config.remedy, spec.family, config.method)
    goal_for(config, encoder, splits["validation"])  # a wrong name is to be said now
    rows = {name: tokenised(encoder, examples) for name, examples in splits.items()}
    for note in audit(rows, encoder):
        progress.note(note)
    general = encode_texts(spec, texts, config.remedy.replay_tokens)
    facts, counted, memory = _model_facts(config, spec, rows["train"], general)
    _room(config, facts["trainable"])
    progress.note(_describe(facts))
    labels = config.task.choices()
    shown = tuple(show(row, encoder, labels) for row in rows["train"][:2])
    for text in shown:
        progress.note(f"Supervised between ⟦ and ⟧:\n{text}")
    cut = {name: asdict(count_cut(items)) for name, items in rows.items()}
    return Preflight(spec, rows, facts, counted, memory, cut, shown)


def _model_facts(
    config: RunConfig, spec: Resolved, rows: Sequence[Encoded], texts: Sequence[Encoded]
) -> tuple[dict[str, Any], Account, Memory | None]:
    known = _rehearsed(config, spec, rows, texts)
    counted = known.found.account
    memory = expected_memory(known.found, spec, config.train, known.base)
    facts = {
        "name": spec.name,
        "family": spec.family,
        "architecture": known.architecture,
        "dtype": str(spec.dtype).removeprefix("torch."),
        "prompt_style": spec.style,
        "parameters": counted.parameters,
        "trainable": counted.trainable,
        "trainable_percent": counted.percent,
        "adapter_bytes": counted.adapter_bytes,
        "expected_memory_bytes": None if memory is None else memory.peak,
        "expected_memory": None if memory is None else asdict(memory),
    }
    return facts, counted, memory


@dataclass(frozen=True)
class _Rehearsed:
    """What is known of a model from trying it without storage; kept, as trying takes seconds."""

    architecture: str
    base: Weights
    found: Rehearsal


def _rehearsed(
    config: RunConfig, spec: Resolved, rows: Sequence[Encoded], texts: Sequence[Encoded]
) -> _Rehearsed:
    def make() -> _Rehearsed:
        model = empty(spec, config.task.choices())
        heads = heads_of(model) if spec.family == "classifier" else ()
        base = base_weights(model, spec, heads)
        model = config.method.attach(model, spec.family, config.seed, heads)
        architecture = type(model.get_base_model()).__name__
        finish = config.method.training(model).finish
        remedy = config.remedy
        found = rehearse(model, spec, config.train, rows, base, finish, remedy=remedy, texts=texts)
        return _Rehearsed(architecture, base, found)

    return cache.kept(
        KIND,
        _key(config, spec, rows, texts),
        make,
        lambda made: json.dumps(to_dict(made)).encode(),
        lambda known: from_dict(_Rehearsed, json.loads(known), KIND),
    )


def _key(
    config: RunConfig, spec: Resolved, rows: Sequence[Encoded], texts: Sequence[Encoded]
) -> str | None:
    """Return what a rehearsal hangs on, hashed; None where code that is not ours has a part."""
    method, train = config.method, config.train
    if spec.remote_code or not type(method).__module__.startswith("loratory."):
        return None
    size = train.per_device_train_batch_size
    replay = replay_shape(texts, config.remedy, size)
    return cache.key(
        {
            "code": cache.code("tuning", "methods"),
            "versions": versions(),
            "device": device(),
            "threads": torch.get_num_threads(),
            "model": spec.config.to_json_string(use_diff=False),
            "family": spec.family,
            "dtype": str(spec.dtype),
            "quantization": spec.quantization,
            "labels": len(config.task.choices()),
            "method": repr(method),
            "batch": asdict(largest(rows, size, train.per_device_train_batch_tokens)),
            "replay": None if replay is None else asdict(replay),
            "remedy": config.remedy.model_dump(),
            "train": [size, train.activation_checkpointing, train.fuses],
        }
    )


def _describe(facts: Mapping[str, Any]) -> str:
    memory = facts["expected_memory_bytes"]
    expected = "" if memory is None else f", about {memory / 2**30:.1f} GiB of memory expected"
    return (
        f"{facts['name']}: {facts['family']} ({facts['architecture']}), {facts['dtype']}, "
        f"{facts['parameters']:,} parameters, {facts['trainable']:,} trainable "
        f"({facts['trainable_percent']:.2f}%){expected}"
    )


def _room(config: RunConfig, trainable: int) -> None:
    """Refuse a folder that cannot be written or a disk that the checkpoints would fill."""
    parent = Path(config.output_dir).expanduser().absolute()
    while not parent.exists():
        parent = parent.parent
    if not parent.is_dir() or not os.access(parent, os.W_OK):
        raise RunError(f"output_dir: {parent} cannot be written. Choose another output_dir.")
    need = (config.train.save_total_limit + 2) * trainable * BYTES_A_CHECKPOINT
    free = shutil.disk_usage(parent).free
    if free < need:
        raise RunError(
            f"output_dir: {need / 2**20:,.0f} MiB are needed for checkpoints, "
            f"{free / 2**20:,.0f} MiB are free on the disk of {parent}. Free space, lower "
            "train.save_total_limit, or choose another output_dir."
        )
