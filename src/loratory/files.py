"""Files that are whole or absent: written under a temporary name, then renamed."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from collections.abc import Iterable
from pathlib import Path

from loratory.errors import RunError

__all__ = ["explain", "fault", "write_bytes", "write_lines", "write_text"]

DISK = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EFBIG}

FULL = (
    "No space left on device",  # safetensors
    "PytorchStreamWriter failed",  # torch, which keeps the cause to itself
    "iostream error",
    "unexpected pos",
)


def write_text(path: Path, text: str) -> None:
    """Write a text file whole; see `write_lines`."""
    write_lines(path, (text,))


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file whole; see `write_lines`."""
    _write(path, (content,))


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Write pieces of text to a file that a reader sees either as it was or complete.

    Missing parent folders are made. When anything fails, an iterator over `lines` included,
    the old file stands and no temporary one is left.

    Raises:
        RunError: the disk is full or the folder cannot be written.
    """
    _write(path, (line.encode() for line in lines))


def _write(path: Path, pieces: Iterable[bytes]) -> None:
    scratch = path.with_name(f".{path.name}-{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            # Not mkstemp, whose files nobody else may read.
            with scratch.open("xb") as stream:
                stream.writelines(pieces)
                stream.flush()
                os.fsync(stream.fileno())
            os.replace(scratch, path)
        except BaseException:
            with contextlib.suppress(OSError):
                scratch.unlink()
            raise
    except OSError as error:
        raise explain(error, path) from None


def explain(error: OSError, path: Path) -> RunError:
    """Return the sentence for a file that could not be written."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return RunError(f"{path}: the disk is full. Free space, or write to another folder.")
    return RunError(f"{path}: cannot be written ({error.strerror}). Write to another folder.")


def fault(error: BaseException, folder: Path) -> RunError | None:
    """Return the sentence for a machine that gave out under a library, or None for any other.

    Args:
        error: what came out of a stage: of the system, safetensors, or torch.
        folder: where the stage was writing.
    """
    text = str(error)
    if isinstance(error, OSError) and error.errno in DISK:
        return explain(error, Path(str(error.filename or folder)))
    if any(words in text for words in FULL):
        return explain(OSError(errno.ENOSPC, ""), folder)
    if isinstance(error, MemoryError) or "out of memory" in text or "can't allocate memory" in text:
        return RunError(
            f"{folder}: not enough memory. Lower train.per_device_train_batch_size, "
            "decode.batch_size or data.max_prompt_tokens, or set train.activation_checkpointing."
        )
    return None
