"""Rows of a data set on the Hugging Face Hub, or of its copy in the cache.

`datasets` downloads it, keeps it and reads it. Code that comes with a data set is never run.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from urllib.parse import urlsplit

from loratory.errors import DataError, MissingDependencyError
from loratory.tasks.embedded.base import DATASETS
from loratory.tasks.rows import SourceRow, Table

__all__ = ["hub_splits", "read_hub"]

PROBE_SECONDS = 3.0


def read_hub(name: str, config: str | None, revision: str | None, split: str) -> Table:
    """Read one split. Ids are `name:split:N`, N the 1-based row; classes become their names.

    Raises:
        DataError: no such data set, configuration or split, or it is neither in the cache
            nor is the Hub reachable, which is found out within seconds.
        MissingDependencyError: `datasets` is not installed.
    """
    datasets = _datasets(name)
    title = f"{name}/{config}" if config else name
    with _quiet_and_quick(datasets):
        try:
            # The prefix keeps a folder `imdb` in the working directory, or the name `csv`,
            # from being taken for the data set.
            data = datasets.load_dataset(
                f"hf://datasets/{name}", config, revision=revision, split=split
            )
        except Exception as error:
            raise DataError(f"{title}: {_reason(error, datasets)}") from error
    names = {
        column: feature.names
        for column, feature in data.features.items()
        if isinstance(feature, datasets.ClassLabel)
    }
    rows = []
    for number, values in enumerate(data, 1):
        for column, classes in names.items():
            index = values[column]
            # -1 is the Hub's mark for a label held back.
            values[column] = None if index is None or index < 0 else classes[index]
        rows.append(SourceRow(f"{title}:{split}:{number}", values))
    return Table(f"{title}:{split}", tuple(data.features), rows)


def hub_splits(name: str, config: str | None, revision: str | None) -> tuple[str, ...]:
    """Return the names of a data set's splits.

    Raises:
        DataError, MissingDependencyError: as for `read_hub`.
    """
    datasets = _datasets(name)
    with _quiet_and_quick(datasets):
        try:
            builder = datasets.load_dataset_builder(
                f"hf://datasets/{name}", config, revision=revision
            )
            found = builder.info.splits or datasets.get_dataset_split_names(
                f"hf://datasets/{name}", config, revision=revision
            )
        except Exception as error:
            title = f"{name}/{config}" if config else name
            raise DataError(f"{title}: {_reason(error, datasets)}") from error
    return tuple(str(split) for split in found)


def _datasets(name: str) -> Any:
    try:
        import datasets
    except ImportError:
        raise MissingDependencyError(
            f"{name}: a name on the Hub is read by datasets, which is not installed. "
            "Run: pip install 'loratory[train]'. Or give a local file."
        ) from None
    return datasets


def _reason(error: Exception, datasets: Any) -> str:
    if isinstance(error, ConnectionError):
        sets = ", ".join(f"embedded:{name}" for name in DATASETS.names())
        return (
            "cannot reach the Hub, and the data set is not in the cache either. "
            f"Use a local file, or one of {sets}."
        )
    if isinstance(error, datasets.exceptions.DatasetNotFoundError):
        return "no such data set on the Hub, or it needs a login (run: hf auth login)."
    first = next(iter(str(error).splitlines()), type(error).__name__).rstrip(".")
    return f"cannot be loaded from the Hub or its cache ({first})."


@contextmanager
def _quiet_and_quick(datasets: Any) -> Iterator[None]:
    """Let `datasets` neither print nor, without a network, retry for half a minute."""
    from huggingface_hub import constants

    with ExitStack() as stack:
        if not _reachable(constants.ENDPOINT):
            # What HF_HUB_OFFLINE=1 sets: go straight to the cache.
            modules: tuple[Any, ...] = (constants, datasets.config)
            for settings in modules:
                stack.callback(setattr, settings, "HF_HUB_OFFLINE", settings.HF_HUB_OFFLINE)
                settings.HF_HUB_OFFLINE = True
        logging = datasets.utils.logging
        stack.callback(logging.set_verbosity, logging.get_verbosity())
        logging.set_verbosity_error()
        if datasets.is_progress_bar_enabled():
            stack.callback(datasets.enable_progress_bars)
            datasets.disable_progress_bars()
        yield


def _reachable(endpoint: str) -> bool:
    from urllib.request import getproxies  # slow to import, and seldom needed

    if getproxies():
        return True  # the proxy knows names that this machine need not
    address = urlsplit(endpoint)
    port = address.port or (80 if address.scheme == "http" else 443)
    try:
        socket.create_connection((address.hostname or "", port), PROBE_SECONDS).close()
    except OSError:
        return False
    return True
