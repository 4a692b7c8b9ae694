"""A tuned model as one GGUF file, for programs that read no safetensors."""

from __future__ import annotations

import contextlib
import io
import os
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from loratory.errors import ConfigError, RunError, suggest
from loratory.progress import Progress
from loratory.runs.folder import free, whole_folder
from loratory.tuning.fresh import logits
from loratory.tuning.ggufwriter import TYPES, refuse_unwritable, write_gguf
from loratory.tuning.merge import TEXT, far, merged_model
from loratory.tuning.model import resolve
from loratory.tuning.saved import Saved

__all__ = ["export_gguf"]

STEP = 0.57 / 127
"""How far q8_0 is off at most, as a share of the largest weight of a block of 32: half a step,
and what rounding the block's scale to float16 adds at its end."""
ROUNDED = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}


def export_gguf(
    saved: Saved,
    file: Path,
    *,
    type_: str = "f16",
    overwrite: bool = False,
    progress: Progress,
) -> dict[str, Any]:
    """Merge an adapter into its base model and write both as one GGUF file.

    The file is read back by transformers and its weights and tokens compared with what was
    to be written, before it is put in place.

    Args:
        saved: the adapter.
        file: to write; it appears whole or not at all.
        type_: how matrices are stored: `f32`, `f16`, `bf16`, or `q8_0` in eight bits.
        overwrite: replace what is there.
        progress: hears of slow steps.

    Returns:
        File, type, bytes, and how far the logits of a few rows are off those of base model
        and adapter.

    Raises:
        ConfigError: the file is there already, or a setting is unknown.
        ModelError: the adapter cannot be merged, or the model has no counterpart in GGUF.
        RunError: read back, the file gives something else.
    """
    if type_ not in TYPES:
        raise ConfigError(f"--type: unknown '{type_}'. {suggest(type_, TYPES)}")
    if file.suffix != ".gguf":
        raise ConfigError(f"--gguf: got {file}; the file's name must end in .gguf.")
    free(file, overwrite=overwrite)
    plain = saved.model.model_copy(update={"quantization": "none"})
    refuse_unwritable(resolve(plain, classify=False, progress=progress))
    merged = merged_model(saved, progress)
    spec, model = merged.spec, merged.model.cpu()
    tokenizer = AutoTokenizer.from_pretrained(
        spec.path, revision=spec.revision, trust_remote_code=spec.remote_code
    )
    progress.note(f"Writing {file} ({type_})")
    # The file is made in a folder of its own, from which it is moved when it has been checked.
    with whole_folder(file.with_name(f".{file.name}.made"), overwrite=True) as scratch:
        made = scratch / file.name
        write_gguf(spec, model, tokenizer, made, type_)
        again, read = _read_back(scratch, file.name)
        _check_weights(model, again, type_, file)
        _check_tokens(tokenizer, read, merged.rows, file)
        worst, _ = far(merged.expected, [logits(again, row) for row in merged.rows])
        size = made.stat().st_size
        os.replace(made, file)
    file.with_name(f".{file.name}.made").rmdir()
    return {"file": str(file), "type": type_, "bytes": size, "largest_difference": worst}


def _read_back(folder: Path, name: str) -> tuple[Any, Any]:
    # Its progress bar knows no switch, and would break the display.
    with contextlib.redirect_stderr(io.StringIO()):
        model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=name, dtype=torch.float32)
        tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=name)
    return model.eval(), tokenizer


def _check_weights(model: Any, again: Any, type_: str, file: Path) -> None:
    """Compare every weight: bit for bit, or for q8_0 within half a step of its rounding."""
    held, found = model.state_dict(), again.state_dict()
    for name in sorted({*held, *found}):
        same = name in held and name in found and held[name].shape == found[name].shape
        if same:
            exact, read = held[name].float(), found[name].float()
            whole = exact.dim() == 1 or name.endswith("wpe.weight")
            if type_ == "q8_0" and not whole:
                bound = float(exact.abs().max()) * STEP + 1e-7
                same = float((exact - read).abs().max()) <= bound
            else:
                same = torch.equal(exact if whole else exact.to(ROUNDED[type_]).float(), read)
        if not same:
            raise RunError(f"{file}: read back, {name} is not what was written. Nothing was kept.")


def _check_tokens(tokenizer: Any, read: Any, rows: Any, file: Path) -> None:
    """Compare what both tokenizers make of the rows' texts."""
    texts = [TEXT]
    if not any(part in str(tokenizer.backend_tokenizer.pre_tokenizer) for part in ("Digits",)):
        # transformers reads no split of digits from a GGUF file; llama.cpp does.
        texts += [tokenizer.decode(row["input_ids"][0], skip_special_tokens=True) for row in rows]
    for text in texts:
        left, right = (t(text, add_special_tokens=False)["input_ids"] for t in (tokenizer, read))
        if left != right:
            raise RunError(
                f"{file}: read back, its tokenizer splits {text[:40]!r} otherwise than the model's "
                "own. Nothing was kept."
            )
