"""Proof that what was saved is what was trained, at the end of every training.

The adapter is loaded again in a fresh process, from the files alone, and must give the
trained model's logits on a few validation rows. Merged into the base weights it must give
them within a stated bound, and the same greedy text. The classification head must be among
what was saved, the vocabulary must be the same, and what was frozen must not have changed by
a byte.
"""

from __future__ import annotations

import gc
import json
import shutil
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from loratory.config import ModelConfig
from loratory.errors import RunError
from loratory.tuning import process
from loratory.tuning.batch import collate
from loratory.tuning.encode import Encoded
from loratory.tuning.fresh import digests, logits, vocabulary
from loratory.tuning.model import Resolved, fingerprint
from loratory.tuning.verdict import (
    Proof,
    Trained,
    judge_base,
    judge_heads,
    judge_merge,
    judge_reload,
)

__all__ = ["Frozen", "Proof", "Trained", "observe", "prove"]

ROWS = 4
"""Validation rows whose logits are compared."""
TEXTS = 2
"""Of these, the rows that are continued."""
NEW_TOKENS = 12
"""By which they are continued at most."""


class Frozen:
    """The base model before training, for the comparison afterwards.

    Its files are read in a thread of their own, while the model is loaded from them.

    Args:
        spec: the base model.
    """

    def __init__(self, spec: Resolved) -> None:
        self.spec = spec
        self.parameters: dict[str, Any] = {}
        self.digests: dict[str, str] = {}
        thread = ThreadPoolExecutor(1)
        self._files = thread.submit(fingerprint, spec)
        thread.shutdown(wait=False)

    @property
    def files(self) -> str:
        """Return the fingerprint of the files."""
        return self._files.result()

    def take(self, model: Any) -> None:
        """Learn which parameters are the base model's: before a method is attached to it."""
        self.parameters = dict(model.named_parameters())

    def note(self) -> None:
        """Take the digests of those that are frozen: when it is settled which are."""
        self.digests = digests({n: p for n, p in self.parameters.items() if not p.requires_grad})

    def changed(self) -> list[str]:
        """Return the frozen weights that are no longer the same bytes, by name."""
        now = digests({name: self.parameters[name] for name in self.digests})
        return [name for name, value in self.digests.items() if now[name] != value]

    def files_changed(self) -> bool:
        """Return whether the base model's files on disk have changed."""
        return fingerprint(self.spec) != self.files


def observe(
    spec: Resolved, model: Any, heads: Sequence[str], rows: Sequence[Encoded], frozen: Frozen
) -> Trained:
    """Write down what a trained model gives, before it is let go.

    Args:
        spec: the base model.
        model: with the trained adapter on it.
        heads: modules that are trained and saved whole.
        rows: validation rows; the first few are used.
        frozen: noted before training.
    """
    was_training = model.training
    model.eval()
    batcher = collate(spec, getattr(model, "prepare_decoder_input_ids_from_labels", None))
    chosen = rows[:ROWS]
    inputs = tuple(batcher([row]) for row in chosen)
    found = Trained(
        spec=spec,
        heads=tuple(heads),
        rows=inputs,
        prompts=tuple(row.prompt for row in chosen[:TEXTS]),
        logits=tuple(logits(model, row) for row in inputs),
        vocabulary=vocabulary(model, spec.tokenizer),
        changed=tuple(frozen.changed()),
        files_changed=frozen.files_changed(),
        frozen=len(frozen.digests),
    )
    model.train(was_training)
    return found


def prove(
    trained: Trained, adapter: Path, config: ModelConfig, labels: Sequence[str], *, merges: bool
) -> Proof:
    """Load an adapter in a fresh process, and compare.

    Args:
        trained: what the trained model gave.
        adapter: the saved adapter's folder.
        config: the recipe's model section.
        labels: class names.
        merges: whether the method can be merged into the base weights.
    """
    began = time.monotonic()
    gc.collect()  # the trained model may hang in cycles, and the fresh process needs the memory
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    proof = Proof(False, [], len(trained.rows), vocabulary=dict(trained.vocabulary))
    judge_base(proof, trained)
    judge_heads(proof, trained, adapter)
    scratch = Path(tempfile.mkdtemp(prefix="loratory-proof-"))
    try:
        _request(scratch, trained, adapter, config, labels, merges)
        process.run_module("loratory.tuning.fresh", str(scratch))
        facts = json.loads((scratch / "answer.json").read_text(encoding="utf-8"))
        if "error" in facts:
            proof.problems.append(f"It cannot be loaded in a fresh process: {facts['error']}")
        else:
            found = load_file(scratch / "answer.safetensors")
            judge_reload(proof, trained, found, facts)
            judge_merge(proof, trained, found, facts, merges)
    except RunError as error:
        proof.problems.append(f"It cannot be loaded in a fresh process: {error}")
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    proof.passed = not proof.problems
    proof.seconds = time.monotonic() - began
    return proof


def _request(
    folder: Path,
    trained: Trained,
    adapter: Path,
    config: ModelConfig,
    labels: Sequence[str],
    merges: bool,
) -> None:
    spec = trained.spec
    ends = getattr(spec.config, "eos_token_id", None)
    known = {spec.tokenizer.eos_token_id, *(ends if isinstance(ends, list) else [ends])}
    request = {
        "model": config.model_dump(),
        "classify": spec.family == "classifier",
        "labels": list(labels),
        "heads": list(trained.heads),
        "adapter": str(adapter.absolute()),
        "merges": merges,
        "rows": len(trained.rows),
        "prompts": list(trained.prompts),
        "stop": sorted(token for token in known if token is not None),
        "pad": spec.tokenizer.pad_token_id,
        "new_tokens": NEW_TOKENS,
        "threads": torch.get_num_threads(),
        "seed": 982_451_653,
    }
    (folder / "request.json").write_text(json.dumps(request), encoding="utf-8")
    tensors = {
        f"{i}.{name}": value.clone().contiguous()  # safetensors refuses tensors that share memory
        for i, row in enumerate(trained.rows)
        for name, value in row.items()
    }
    save_file(tensors, folder / "inputs.safetensors")
