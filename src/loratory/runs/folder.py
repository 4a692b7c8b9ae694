"""Folders that are whole or absent: filled under a temporary name, then renamed."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from loratory.errors import ConfigError, RunError
from loratory.files import explain

__all__ = ["free", "new_folder", "whole_folder"]


def free(target: Path, *, overwrite: bool) -> None:
    """Refuse a place that is taken, before anything is computed for it.

    Raises:
        ConfigError: something is there, and nobody said that it may be replaced.
    """
    if target.exists() and not overwrite:
        raise ConfigError(
            f"{target}: is there already. Give another place, or --overwrite to replace it."
        )


def new_folder(parent: Path, name: str) -> Path:
    """Make `parent/name`, with a number added where another run took the same second.

    Raises:
        RunError: it cannot be made.
    """
    for number in range(1, 1000):
        folder = parent / (name if number == 1 else f"{name}-{number}")
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            if not parent.is_dir():
                raise RunError(f"{parent}: not a folder. Choose another output_dir.") from None
            continue
        except OSError as error:
            raise explain(error, folder) from None
        return folder
    raise RunError(f"{parent}: a thousand runs of this name in one second. Choose another name.")


@contextmanager
def whole_folder(target: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Give a scratch folder beside `target` that becomes it when the block ends without error.

    An older folder stands until the new one is complete. When anything fails, nothing is left
    of the new one.

    Raises:
        ConfigError: the target is there and may not be replaced.
        RunError: the disk is full or the place cannot be written.
    """
    free(target, overwrite=overwrite)
    token = secrets.token_hex(6)
    scratch = target.with_name(f".making-{target.name}-{token}")
    try:
        try:
            scratch.mkdir(parents=True)
            yield scratch
            _replace(scratch, target, token)
        except OSError as error:
            raise explain(error, target) from None
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _replace(scratch: Path, target: Path, token: str) -> None:
    if not target.exists():
        scratch.rename(target)
        return
    # A folder that holds something cannot be renamed over: the old one steps aside first.
    aside = target.with_name(f".old-{target.name}-{token}")
    target.rename(aside)
    try:
        scratch.rename(target)
    except OSError:
        aside.rename(target)
        raise
    if aside.is_dir():
        shutil.rmtree(aside)
    else:
        aside.unlink()
