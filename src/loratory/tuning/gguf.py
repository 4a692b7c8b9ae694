"""A GGUF file to a plain safetensors folder, once.

transformers reads GGUF but marks the model quantised: it then refuses to train or save it,
and reads it anew each time. Dequantised into a cache it is an ordinary model that loads in a
second. Weights stay float32, for a quantised value is rarely a bfloat16 one.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import shutil
import tempfile
from pathlib import Path

from loratory.cache import cache_dir
from loratory.errors import ModelError
from loratory.progress import Progress

__all__ = ["dequantised"]


def dequantised(file: Path, progress: Progress) -> Path:
    """Return a folder with the model, tokenizer and chat template of a GGUF file.

    Raises:
        ModelError: the file is not GGUF, or of an architecture transformers cannot read, or
            the cache cannot be written.
    """
    with file.open("rb") as stream:
        if stream.read(4) != b"GGUF":
            raise ModelError(f"model.name: {file} is not a GGUF file (its first bytes differ).")
        stream.seek(0)
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    folder = cache_dir() / "models" / f"{file.stem}-{digest[:16]}"
    if (folder / "config.json").is_file():
        return folder
    progress.note(f"Dequantising {file.name} once into {folder}")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=".making-", dir=folder.parent))
    except OSError as error:
        raise ModelError(
            f"model.name: the cache {folder.parent} cannot be written ({error.strerror}). "
            "Point LORATORY_CACHE at a writable folder."
        ) from None
    try:
        _convert(file, scratch)
        try:
            scratch.rename(folder)
        except OSError:
            # Another process finished first: a renamed folder is always a whole one.
            if not (folder / "config.json").is_file():
                raise
    except OSError as error:
        raise ModelError(
            f"model.name: {file.name} could not be written to the cache "
            f"({error.strerror or error})."
        ) from None
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return folder


def _convert(file: Path, folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    where, name = os.fspath(file.parent), file.name
    try:
        # Its progress bar knows no switch, and would break the display.
        with contextlib.redirect_stderr(io.StringIO()):
            tokenizer = AutoTokenizer.from_pretrained(where, gguf_file=name)
            model = AutoModelForCausalLM.from_pretrained(where, gguf_file=name, dtype=torch.float32)
    except Exception as error:  # of a damaged file anything may come, struct.error among it
        raise ModelError(
            f"model.name: {file.name} cannot be read, damaged or of an architecture that "
            f"transformers does not know: {error}"
        ) from None
    # What is saved is an ordinary model: the marks of quantisation would forbid training it.
    model.hf_quantizer = None
    model.is_quantized = False
    del model.config.quantization_config
    model.config.architectures = [type(model).__name__]
    model.save_pretrained(folder, safe_serialization=True)
    tokenizer.save_pretrained(folder)
