"""An adapter or a merged model to the Hugging Face Hub, and what exactly would go there."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from loratory.errors import ConfigError, ModelError, RunError
from loratory.runs import Run
from loratory.tuning.adapter import CONFIG
from loratory.tuning.saved import find

__all__ = ["Parcel", "parcel", "push"]

REPOSITORY = re.compile(r"^[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}$")
GOES = {".json", ".safetensors", ".model", ".txt", ".jinja", ".md", ".gguf"}
"""Kinds of files that are sent; of others a folder may hold anything."""


@dataclass(frozen=True)
class Parcel:
    """What goes to the Hub."""

    repository: str
    private: bool
    revision: str | None
    files: dict[str, Path]
    """Path in the repository to the file here."""
    base: str | None
    """The base model that adapter_config.json and the model card name on the Hub."""
    places: dict[str, str] = field(default_factory=dict)
    """Names of this machine in the model card, and what is written for them."""

    def facts(self) -> dict[str, Any]:
        """Return the parcel with the bytes of each file."""
        sizes = {name: file.stat().st_size for name, file in sorted(self.files.items())}
        return {
            "repository": self.repository,
            "private": self.private,
            "revision": self.revision,
            "base_model": self.base,
            "files": sizes,
            "bytes": sum(sizes.values()),
        }


def parcel(
    source: Path,
    repository: str,
    *,
    base: str | None = None,
    private: bool = False,
    revision: str | None = None,
) -> Parcel:
    """Say what of a source would go to a repository.

    Of a run that is its adapter and its model card, no predictions and no data.

    Args:
        source: a run, an adapter folder, or a folder with a merged model.
        repository: as `OWNER/NAME`.
        base: the base model's name on the Hub, where the adapter names a folder of this
            machine.
        private: whether a new repository is.
        revision: the branch to write to; by default the main one.

    Raises:
        ConfigError: no repository's name, or a base model that nobody else has.
        ModelError: neither an adapter nor a model, or damaged.
    """
    if not REPOSITORY.match(repository):
        raise ConfigError(f"REPO: got '{repository}'; it must be OWNER/NAME, as on the Hub.")
    if (source / "config.json").is_file() and not (source / "manifest.json").is_file():
        folder, card, named = source, source / "README.md", None
        places: dict[str, str] = {}
        if base is not None:
            raise ConfigError("--base: only for adapters; a merged model needs no base model.")
    else:
        saved = find(source, base)
        folder, card = saved.folder, saved.folder / "README.md"
        if saved.run is not None:
            card = saved.run.folder / "README.md"
            _refuse_unproved(saved.run)
        own = str(saved.config.get("base_model_name_or_path"))
        named = base or own
        places = _places(saved.run, own, named)
        if Path(named).is_absolute() or Path(named).exists():
            raise ConfigError(
                f"{folder}: names its base model by a folder of this machine ({named}), which "
                "nobody else has. Give its name on the Hub with --base, or push a merged model."
            )
    files = {f.name: f for f in folder.iterdir() if f.is_file() and f.suffix in GOES}
    if not any(name.endswith((".safetensors", ".gguf")) for name in files):
        raise ModelError(f"{folder}: has no safetensors to push.")
    if card.is_file():
        files["README.md"] = card
    return Parcel(repository, private, revision, files, named, places)


def _places(run: Run | None, own: str, named: str) -> dict[str, str]:
    """Return what in a model card is a path of this machine, and what others shall read."""
    found = {own: named}
    if run is not None:
        found[run.config.model.name] = named
        data = run.config.data.name
        found[data] = Path(data).name if "/" in data and Path(data).exists() else data
    return {old: new for old, new in found.items() if old != new and "/" in old}


def _refuse_unproved(run: Run) -> None:
    if not run.manifest().get("proof", {}).get("passed", True):
        raise RunError(
            f"{run.folder}: its adapter failed the proof that it is what was trained; "
            "manifest.json says how. It is not pushed."
        )


def push(sent: Parcel) -> str:
    """Send a parcel; return the address of the commit.

    The token is the one `hf auth login` has kept, or that of the environment variable
    `HF_TOKEN`.

    Raises:
        RunError: the Hub refuses it, or cannot be reached.
    """
    from huggingface_hub import HfApi

    api = HfApi()
    try:
        with _laid_out(sent) as folder:
            api.create_repo(sent.repository, private=sent.private, exist_ok=True)
            if sent.revision is not None:
                api.create_branch(sent.repository, branch=sent.revision, exist_ok=True)
            done = api.upload_folder(
                repo_id=sent.repository,
                folder_path=str(folder),
                revision=sent.revision,
                commit_message="Upload with Loratory",
            )
    except Exception as error:  # of the network and of the Hub anything may come
        text = " ".join(str(error).split())[:300] or type(error).__name__
        raise RunError(
            f"{sent.repository}: could not be pushed: {text} Log in with `hf auth login`, and see "
            "that you may write there."
        ) from None
    return str(done)


@contextmanager
def _laid_out(sent: Parcel) -> Iterator[Path]:
    """Give a folder that holds exactly what is sent, the base model named as on the Hub."""
    folder = Path(tempfile.mkdtemp(prefix="loratory-push-"))
    try:
        for name, file in sent.files.items():
            shutil.copyfile(file, folder / name)
        if sent.places and (card := folder / "README.md").is_file():
            text = card.read_text(encoding="utf-8")
            # The longest first: one path may begin another.
            for old in sorted(sent.places, key=len, reverse=True):
                text = text.replace(old, sent.places[old])
            card.write_text(text, encoding="utf-8")
        if sent.base is not None:
            config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
            if config.get("base_model_name_or_path") != sent.base:
                config |= {"base_model_name_or_path": sent.base, "revision": None}
                text = json.dumps(config, indent=2, sort_keys=True) + "\n"
                (folder / CONFIG).write_text(text, encoding="utf-8")
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
