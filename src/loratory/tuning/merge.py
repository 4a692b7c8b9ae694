"""An adapter merged into its base model: a plain model that needs neither peft nor Loratory.

The sum is formed in float32 and rounded once, to the precision it is stored in. Adding in a
lower precision would round twice, and onto quantised weights it would not be the trained
model (peft#1043, peft#2321), so the base model is read unquantised.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from transformers import AutoTokenizer

from loratory.errors import ConfigError, ModelError, RunError
from loratory.files import write_text
from loratory.progress import Progress
from loratory.runs.folder import free, whole_folder
from loratory.tuning.batch import collate
from loratory.tuning.encode import Encoded
from loratory.tuning.fresh import digests, logits
from loratory.tuning.model import AUTO_CLASSES, Loaded, Resolved
from loratory.tuning.preflight import encoder_for
from loratory.tuning.saved import Saved, base_model, put_on
from loratory.tuning.verdict import MERGE

__all__ = ["DTYPES", "Merged", "far", "merge", "merged_model", "own_dtype", "public_name"]

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
ROWS = 4
TEXT = "The quick brown fox jumps over the lazy dog, and the cat watches from the wall."
"""What is compared where no rows of a run are at hand."""


@dataclass(frozen=True)
class Merged:
    """A merged model in memory, in float32, with what the adapter gave before the merge."""

    spec: Resolved
    model: Any
    rows: tuple[dict[str, torch.Tensor], ...]
    expected: tuple[torch.Tensor, ...]
    """Logits of base model and adapter, of each row."""
    largest_difference: float
    """Between those and the merged model's, all in float32."""
    bound: float


def refuse_unmergeable(saved: Saved) -> None:
    """Refuse a method whose parameters are no update of the base model's weights.

    Raises:
        ModelError: virtual tokens, activations' scales and such.
    """
    from peft import PEFT_TYPE_TO_CONFIG_MAPPING

    method = saved.run.config.method if saved.run else None
    known = PEFT_TYPE_TO_CONFIG_MAPPING.get(saved.kind)
    prompt = getattr(known, "is_prompt_learning", False)
    if isinstance(prompt, property):
        prompt = saved.kind in {"PROMPT_TUNING", "PREFIX_TUNING", "P_TUNING", "CPT"}
    if prompt or (method is not None and not getattr(method, "merges", True)):
        raise ModelError(
            f"{saved.folder}: {saved.kind} cannot be merged: what it trains is no update of the "
            "base model's weights. Use it with peft, as docs/runs.md shows."
        )


def merged_model(saved: Saved, progress: Progress) -> Merged:
    """Load a base model in float32 and merge an adapter into it.

    Raises:
        ModelError: one of them cannot be loaded, or the method cannot be merged.
    """
    refuse_unmergeable(saved)
    progress.note(f"Merging {saved.folder} into {saved.model.name}")
    if saved.model.quantization != "none":
        progress.note(
            f"It was trained on a base model in {saved.model.quantization}; merged into the "
            "unquantised one it is not quite the model that was measured."
        )
    loaded = base_model(saved, progress, dtype="float32", quantization="none")
    rows = tuple(_rows(saved, loaded))
    base = tuple(logits(loaded.model, row) for row in rows)
    before = digests(dict(loaded.model.named_parameters()))
    model = put_on(loaded, saved.folder)
    expected = tuple(logits(model, row) for row in rows)
    try:
        merged = model.merge_and_unload(safe_merge=True)
    except Exception as error:
        raise ModelError(
            f"{saved.folder}: {saved.kind} cannot be merged: {' '.join(str(error).split())[:300]}"
        ) from None
    after = digests(dict(merged.named_parameters()))
    changed = any(before.get(name) != value for name, value in after.items())
    merged.eval().requires_grad_(False)
    found = tuple(logits(merged, row) for row in rows)
    # A head that was trained beside an adapter without effect moves logits and no base weight.
    moved = any(not torch.equal(a, b) for a, b in zip(base, expected, strict=True))
    kept = all(torch.equal(a, b) for a, b in zip(base, found, strict=True))
    if moved and kept and not changed:
        raise ModelError(f"{saved.folder}: merged, the weights are still the base model's.")
    worst, bound = far(expected, found)
    if not worst <= bound:
        raise ModelError(
            f"{saved.folder}: merged, it gives other logits than the adapter: they differ by up to "
            f"{worst:.3g}, the bound is {bound:.3g}."
        )
    return Merged(loaded.spec, merged, rows, expected, worst, bound)


def far(
    expected: Sequence[torch.Tensor], found: Sequence[torch.Tensor], share: float = MERGE
) -> tuple[float, float]:
    """Return the largest difference of a logit, and the bound: a share of the largest logit."""
    scale = max(float(t.abs().max()) for t in expected)
    worst = max(float((a - b).abs().max()) for a, b in zip(expected, found, strict=True))
    return worst, share * scale


def _rows(saved: Saved, loaded: Loaded) -> list[dict[str, torch.Tensor]]:
    """Return the inputs of a few rows: of the run's validation split, or of a sentence."""
    spec, examples = loaded.spec, saved.rows()[:ROWS]
    if saved.run is not None and examples:
        encoded = encoder_for(spec, saved.run.config).all(examples)
    else:
        ids = spec.tokenizer(TEXT, add_special_tokens=True)["input_ids"]
        half = len(ids) // 2 if spec.family == "causal" else len(ids)
        answer = [] if spec.family == "classifier" else ids[half:] or ids
        encoded = [Encoded("text", ids[:half], answer, 0, 0, 0)]
    batcher = collate(spec, getattr(loaded.model, "prepare_decoder_input_ids_from_labels", None))
    return [batcher([row]) for row in encoded]


def merge(
    saved: Saved,
    to: Path,
    *,
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto",
    max_shard_size: str = "5GB",
    overwrite: bool = False,
    progress: Progress,
) -> dict[str, Any]:
    """Write a merged model, with tokenizer, chat template, generation settings and a card.

    The merge is compared with the adapter, and what was written is loaded back with
    transformers alone and compared with what was to be written, before it is put in place.

    Args:
        saved: the adapter.
        to: the folder to write; it appears whole or not at all.
        dtype: of the stored weights; auto is the base model's own.
        max_shard_size: of a file of weights, as `5GB`.
        overwrite: replace what is there.
        progress: hears of slow steps.

    Returns:
        Folder, precision, bytes, and how far the logits of a few rows are off: in float32,
        with the bound, and in the precision that is stored.

    Raises:
        ConfigError: the folder is there already, or a setting is unknown.
        ModelError: the adapter cannot be loaded or merged.
        RunError: loaded back, a weight is not what was written.
    """
    if dtype != "auto" and dtype not in DTYPES:
        raise ConfigError(f"--dtype: got '{dtype}'; allowed are auto, {', '.join(DTYPES)}.")
    free(to, overwrite=overwrite)
    merged = merged_model(saved, progress)
    spec, model = merged.spec, merged.model
    chosen = own_dtype(spec) if dtype == "auto" else DTYPES[dtype]
    model.to(chosen)
    model.config.dtype = chosen
    with whole_folder(to, overwrite=overwrite) as scratch:
        try:
            # Its progress bar knows no switch, and would break the display.
            with contextlib.redirect_stderr(io.StringIO()):
                model.save_pretrained(scratch, max_shard_size=max_shard_size)
        except ValueError as error:
            raise ConfigError(f"--max-shard-size: got '{max_shard_size}'; {error}.") from None
        # Read anew: the one in memory was given a pad token that is not its own.
        AutoTokenizer.from_pretrained(
            spec.path, revision=spec.revision, trust_remote_code=spec.remote_code
        ).save_pretrained(scratch)
        again = AUTO_CLASSES[spec.family].from_pretrained(
            scratch, dtype=chosen, trust_remote_code=spec.remote_code
        )
        _check_same(model, again, to)
        name = str(chosen).removeprefix("torch.")
        found = {
            "largest_difference": merged.largest_difference,
            "bound": merged.bound,
            "largest_difference_as_stored": far(
                merged.expected, [logits(again.to(model.device).eval(), row) for row in merged.rows]
            )[0],
        }
        write_text(scratch / "README.md", _card(saved, name, found))
    size = sum(file.stat().st_size for file in to.iterdir())
    return {"folder": str(to), "dtype": name, "bytes": size, **found}


def _check_same(model: Any, again: Any, to: Path) -> None:
    """Refuse a file that does not give back what was written.

    Raises:
        RunError: a weight differs; the sentence names it.
    """
    held, found = model.state_dict(), again.state_dict()
    for name in sorted({*held, *found}):
        same = name in held and name in found and torch.equal(held[name].cpu(), found[name].cpu())
        if not same:
            raise RunError(
                f"{to}: loaded back, {name} is not what was written. Nothing was put in place."
            )


def own_dtype(spec: Resolved) -> torch.dtype:
    """Return the precision the base model's files are in; float32 where they do not say."""
    named = getattr(spec.config, "dtype", None)
    if isinstance(named, str):
        named = DTYPES.get(named.removeprefix("torch."))
    return named if named in DTYPES.values() else torch.float32


def _card(saved: Saved, dtype: str, found: Mapping[str, float]) -> str:
    """Return a model card: what it was made from, and how it is loaded."""
    name = public_name(saved)
    about = f"Base model: {name}. Method: {saved.kind} (peft), merged into the weights."
    run = saved.run
    if run is not None:
        about += f" Data: {_public(run.config.data.name)}. Task: {run.config.task.name}."
    front = ["---", "library_name: transformers"]
    if not _local(saved.model.name):
        front.append(f"base_model: {saved.model.name}")
    lines = [
        *front,
        "tags: [loratory, peft, merged]",
        "---",
        "",
        f"# {name}, fine-tuned and merged",
        "",
        about,
        "",
        f"Weights: {dtype} safetensors. Merged in float32, the logits of a few rows differ from "
        f"those of base model and adapter by at most {found['largest_difference']:.3g} (the bound "
        f"was {found['bound']:.3g}); as stored, by {found['largest_difference_as_stored']:.3g}.",
        "",
        "It loads with transformers alone; no adapter is needed.",
        "",
    ]
    return "\n".join(lines)


def _local(name: str) -> bool:
    return Path(name).expanduser().exists() or name.startswith((".", "/", "~"))


def _public(name: str) -> str:
    """Return a name without the folders of this machine."""
    return Path(name).name if _local(name) else name


def public_name(saved: Saved) -> str:
    """Return the base model's name without the folders of this machine."""
    return _public(saved.model.name)
