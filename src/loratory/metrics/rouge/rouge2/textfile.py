"""A text file that a setting names, and what stands for its contents in a signature."""

from __future__ import annotations

import hashlib
from pathlib import Path

from loratory.errors import DataError

__all__ = ["fingerprint", "read_text"]


def read_text(path: Path, field: str) -> str:
    """Return a file's text.

    Args:
        path: the file; UTF-8, with or without a byte order mark.
        field: the setting that names it, for messages.

    Raises:
        DataError: it is missing, cannot be read, or is not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise DataError(f"{field}: there is no file '{path}'.") from None
    except UnicodeDecodeError as error:
        raise DataError(
            f"{field}: '{path}' is not UTF-8 (byte {error.start}). Save it as UTF-8."
        ) from None
    except (OSError, ValueError) as error:  # ValueError: a null character in the path
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{field}: '{path}' cannot be read ({reason}).") from None


def fingerprint(text: str) -> str:
    """Return `file-` and twelve hexadecimal digits that stand for a text (SHA-256).

    A signature holds what is in a file rather than where it lies, so that two machines agree
    and a changed file shows.
    """
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    return f"file-{digest[:12]}"
