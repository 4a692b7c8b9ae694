"""Where a model is: a folder, a GGUF file, an installed package, or the Hub.

Only safetensors count as weights. A pickled file can run code when it is opened, so a model
that has nothing else is refused before anything of it is read.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from loratory.config import ModelConfig
from loratory.errors import ModelError
from loratory.progress import Progress
from loratory.tuning.embedded import embedded_path
from loratory.tuning.gguf import dequantised

__all__ = ["commit", "locate"]


def locate(config: ModelConfig, progress: Progress) -> str:
    """Return the local folder, or the Hub name, of a recipe's model.

    Raises:
        ModelError: not there, not reachable, or without safetensors.
        MissingDependencyError: an embedded model's package is not installed.
    """
    name = config.name
    if name.startswith("embedded:"):
        path = embedded_path(name.removeprefix("embedded:"))
    else:
        path = Path(name).expanduser()
    if path.suffix == ".gguf":
        if not path.is_file():
            raise ModelError(f"model.name: there is no file {path}.")
        path = dequantised(path, progress)
    if path.is_dir():
        _only_safetensors(config, [file.name for file in path.iterdir()])
        return str(path)
    if name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise ModelError(f"model.name: there is no folder {path}.")
    _only_safetensors(config, _hub_files(config))
    return name


def commit(name: str, revision: str | None) -> str | None:
    """Return the commit of a Hub model's cached configuration, or None where there is none."""
    from huggingface_hub import try_to_load_from_cache

    file = try_to_load_from_cache(name, "config.json", revision=revision)
    # …/snapshots/COMMIT/config.json; a file known to be absent gives an object instead.
    return Path(file).parent.name if isinstance(file, str) else None


def _hub_files(config: ModelConfig) -> list[str]:
    """Return what a Hub repository holds; from the cache where there is no network."""
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    where = f"model.name: {config.name}"
    try:
        # What is in the cache needs no question to the Hub, and works offline.
        folder = snapshot_download(config.name, revision=config.revision, local_files_only=True)
        files = [file.name for file in Path(folder).iterdir()]
        if "config.json" in files and any(name.endswith(".safetensors") for name in files):
            return files
    except Exception:  # noqa: S110 - whatever the cache lacks, the Hub is asked next
        pass
    try:
        info = HfApi().model_info(config.name, revision=config.revision, timeout=20)
        return [file.rfilename for file in info.siblings or ()]
    except GatedRepoError:
        raise ModelError(f"{where} is gated. Accept its terms on the Hub and log in.") from None
    except RevisionNotFoundError:
        raise ModelError(f"{where} has no revision '{config.revision}'.") from None
    except RepositoryNotFoundError:
        raise ModelError(
            f"{where} is neither a folder here nor a model on the Hub (or it is private)."
        ) from None
    except Exception as error:
        raise ModelError(
            f"{where} is neither a folder here nor in the Hub's cache, and the Hub cannot be "
            f"reached ({type(error).__name__}). Without a network, use a local folder, a .gguf "
            "file or embedded:smollm2-135m."
        ) from None


def _only_safetensors(config: ModelConfig, files: Sequence[str]) -> None:
    if any(name.endswith(".safetensors") for name in files):
        return
    pickled = sorted(name for name in files if name.endswith((".bin", ".pt", ".pth", ".ckpt")))
    found = f"only {pickled[0]}, which can run code when opened" if pickled else "none"
    raise ModelError(
        f"model.name: {config.name} must have safetensors weights; it has {found}. "
        "Convert them with save_pretrained(…, safe_serialization=True) where you trust them."
    )
