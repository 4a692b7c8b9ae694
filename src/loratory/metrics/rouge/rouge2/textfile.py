"""What a setting names, a source or a text file, and what stands for it in a signature."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Protocol, TypeVar

from loratory.errors import ConfigError, DataError, suggest
from loratory.registry import Registry

__all__ = ["fingerprint", "named", "read_text", "signature_of"]


class Signed(Protocol):
    """What has a part of its own in a metric's signature."""

    @property
    def signature(self) -> str:
        """Return its name, and what else its results hang on."""


T = TypeVar("T", bound=Signed)


def named(given: str, sources: Registry[T], field: str, file: str) -> T | Path:
    """Return the source, or the path of the file, that a setting names.

    Args:
        given: the setting.
        sources: those that have names.
        field: the setting's own name, for messages.
        file: what a file would hold, as `of words`.

    Raises:
        ConfigError: neither a source nor a file.
        MissingDependencyError: the source needs a package that is not installed.
    """
    if given in sources.names():
        source = sources.get(given)()
        _ = source.signature  # what it lacks is to be said now
        return source
    if not os.path.exists(given):
        raise ConfigError(
            f"{field}: '{given}' is neither a source nor a file. "
            f"{suggest(given, sources.names())} Or name a file {file}."
        )
    return Path(given)


def signature_of(given: str, sources: Registry[T], field: str) -> str:
    """Return what stands for a source's name, or a file's path, in a signature."""
    if given in sources.names():
        return sources.get(given)().signature
    return fingerprint(read_text(Path(given), field))


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
