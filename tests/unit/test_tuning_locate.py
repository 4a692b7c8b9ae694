"""Where a model is: folders, GGUF files, and the Hub's cache; pickles are never opened."""

from __future__ import annotations

import json
import pickle
import shutil
import time
from pathlib import Path

import huggingface_hub
import pytest
import torch
from huggingface_hub.errors import (
    GatedRepoError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

import tiny
from loratory.errors import ModelError
from loratory.tuning.model import fingerprint, load

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Bomb:
    """Unpickled, it writes a file."""

    def __init__(self, touched: Path) -> None:
        self.touched = touched

    def __reduce__(self):
        return (Path.touch, (self.touched,))


@pytest.mark.parametrize("file", ["pytorch_model.bin", "model.pt", "model.ckpt"])
def test_a_pickle_alone_is_refused_and_never_opened(file, tiny_models, tmp_path):
    folder = Path(shutil.copytree(tiny_models("llama"), tmp_path / "model"))
    (folder / "model.safetensors").unlink()
    touched = tmp_path / "touched"
    (folder / file).write_bytes(pickle.dumps(Bomb(touched)))
    with pytest.raises(ModelError, match=rf"only {file}, which can run code when opened"):
        tiny.spec(folder)
    assert not touched.exists()


def test_a_pickle_beside_safetensors_is_never_opened(tiny_models, tmp_path):
    folder = Path(shutil.copytree(tiny_models("llama"), tmp_path / "model"))
    touched = tmp_path / "touched"
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Bomb(touched)))
    load(tiny.spec(folder), (), 0)
    assert not touched.exists()


def test_a_folder_without_weights_is_refused(tiny_models, tmp_path):
    folder = Path(shutil.copytree(tiny_models("llama"), tmp_path / "model"))
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="must have safetensors weights; it has none"):
        tiny.spec(folder)


@pytest.mark.parametrize("name", ["./nowhere", "/no/where", "~/no-such-folder", "a/b/c"])
def test_a_missing_folder_is_not_asked_of_the_hub(name, monkeypatch):
    monkeypatch.setattr(huggingface_hub, "HfApi", None)
    with pytest.raises(ModelError, match=r"model\.name: there is no folder"):
        tiny.spec(name)


def test_gguf_files_that_are_none(tmp_path, monkeypatch):
    monkeypatch.setenv("LORATORY_CACHE", str(tmp_path / "cache"))
    with pytest.raises(ModelError, match=r"there is no file .*absent\.gguf"):
        tiny.spec(tmp_path / "absent.gguf")
    text = tmp_path / "text.gguf"
    text.write_text("hello")
    with pytest.raises(ModelError, match=r"text\.gguf is not a GGUF file"):
        tiny.spec(text)
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(b"GGUF\x03\0\0\0")
    with pytest.raises(ModelError, match=r"cut\.gguf"):
        tiny.spec(cut)
    assert not list((tmp_path / "cache").rglob("config.json"))


@pytest.fixture
def hub_cache(tiny_models, tmp_path, monkeypatch):
    """A cache as the Hub client lays it out, with the model acme/tiny in it."""
    root = tmp_path / "hub"
    repo = root / "models--acme--tiny"
    snapshot, blobs = repo / "snapshots" / COMMIT, repo / "blobs"
    for folder in (snapshot, blobs, repo / "refs"):
        folder.mkdir(parents=True)
    (repo / "refs" / "main").write_text(COMMIT)
    for i, file in enumerate(sorted(tiny_models("llama").iterdir())):
        shutil.copy(file, blobs / f"{i:040x}")
        (snapshot / file.name).symlink_to(Path("../../blobs") / f"{i:040x}")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(root))
    monkeypatch.setattr("transformers.utils.hub.constants.HF_HUB_CACHE", str(root))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    return snapshot


@pytest.mark.parametrize("revision", [None, "main", COMMIT])
def test_a_hub_name_in_the_cache_needs_no_network(revision, hub_cache, tiny_models):
    spec = tiny.spec("acme/tiny", revision=revision)
    assert (spec.path, spec.family, spec.revision) == ("acme/tiny", "causal", revision)
    assert fingerprint(spec) == f"hub:{COMMIT}"
    ours = load(spec, (), 0).model
    theirs = load(tiny.spec(tiny_models("llama")), (), 0).model
    assert all(
        torch.equal(a, b) for a, b in zip(ours.parameters(), theirs.parameters(), strict=True)
    )


def test_a_pickle_in_the_cache_is_refused(hub_cache, tmp_path):
    touched = tmp_path / "touched"
    (hub_cache / "model.safetensors").unlink()
    (hub_cache / "pytorch_model.bin").write_bytes(pickle.dumps(Bomb(touched)))
    with pytest.raises(ModelError):
        tiny.spec("acme/tiny")
    assert not touched.exists()


def test_a_hub_name_outside_the_cache_is_refused_at_once_offline(hub_cache):
    began = time.monotonic()
    with pytest.raises(ModelError, match=r"acme/other is neither a folder here nor in the Hub's"):
        tiny.spec("acme/other")
    with pytest.raises(ModelError, match="neither a folder here nor in the Hub's cache"):
        tiny.spec("acme/tiny", revision="v2")
    assert time.monotonic() - began < 1


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        (GatedRepoError, "is gated. Accept its terms"),
        (RevisionNotFoundError, "has no revision 'v2'"),
        (RepositoryNotFoundError, "neither a folder here nor a model on the Hub"),
        (ConnectionError, r"the Hub cannot be reached \(ConnectionError\)"),
    ],
)
def test_what_the_hub_says_is_told(kind, sentence, hub_cache, monkeypatch):
    def refuse(*args, **kwargs):
        raise kind.__new__(kind)  # without the response that its __init__ asks for

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", refuse)
    with pytest.raises(ModelError, match=sentence):
        tiny.spec("acme/other", revision="v2")


def test_an_unreachable_hub_is_one_sentence(hub_cache, monkeypatch):
    """A port where nobody listens, asked for real: no retry makes the user wait."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    began = time.monotonic()
    with pytest.raises(ModelError, match="the Hub cannot be reached"):
        tiny.spec("acme/other")
    assert time.monotonic() - began < 3


def test_the_safetensors_may_be_sharded(tiny_models, tmp_path):
    spec = tiny.spec(tiny_models("llama"))
    whole = load(spec, (), 0).model
    folder = tmp_path / "sharded"
    whole.save_pretrained(folder, max_shard_size="20KB")
    spec.tokenizer.save_pretrained(folder)
    assert len(list(folder.glob("*.safetensors"))) > 1
    assert json.loads((folder / "model.safetensors.index.json").read_text())
    parts = load(tiny.spec(folder), (), 0).model
    assert all(
        torch.equal(a, b) for a, b in zip(whole.parameters(), parts.parameters(), strict=True)
    )
