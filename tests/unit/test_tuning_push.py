"""What goes to the Hub, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from loratory.errors import ConfigError, ModelError, RunError
from loratory.tuning.push import parcel, push
from tiny_adapter import adapter


class Hub:
    """Stands for the Hub's client: keeps what it is given."""

    def __init__(self):
        self.calls = []
        self.sent: dict[str, bytes] = {}
        self.fault: Exception | None = None

    def create_repo(self, repository, **options):
        if self.fault:
            raise self.fault
        self.calls.append(("repo", repository, options))

    def create_branch(self, repository, **options):
        self.calls.append(("branch", repository, options))

    def upload_folder(self, *, repo_id, folder_path, **options):
        self.calls.append(("upload", repo_id, options))
        self.sent = {f.name: f.read_bytes() for f in Path(folder_path).iterdir()}
        return "https://hub/commit/1"


@pytest.fixture
def hub(monkeypatch) -> Hub:
    import huggingface_hub

    made = Hub()
    monkeypatch.setattr(huggingface_hub, "HfApi", lambda: made)
    return made


@pytest.fixture
def folder(tiny_models, tmp_path) -> Path:
    return adapter("llama", tiny_models, tmp_path)


def test_an_adapter_and_the_hubs_name_of_its_base(folder, hub):
    (folder / "notes.pt").write_bytes(b"a pickle")
    own = json.loads((folder / "adapter_config.json").read_text())["base_model_name_or_path"]
    (folder / "README.md").write_text(f"base_model: {own}\n")
    sent = parcel(folder, "me/mine", base="org/model", private=True, revision="v1")
    facts = sent.facts()
    assert sorted(facts["files"]) == [
        "README.md",
        "adapter_config.json",
        "adapter_model.safetensors",
    ]
    assert facts["bytes"] == sum(facts["files"].values()) and facts["base_model"] == "org/model"
    before = (folder / "adapter_config.json").read_bytes()
    assert push(sent) == "https://hub/commit/1"
    assert sorted(hub.sent) == sorted(facts["files"])
    assert hub.sent["README.md"] == b"base_model: org/model\n"
    assert (
        hub.sent["adapter_model.safetensors"] == (folder / "adapter_model.safetensors").read_bytes()
    )
    config = json.loads(hub.sent["adapter_config.json"])
    assert (config["base_model_name_or_path"], config["revision"]) == ("org/model", None)
    assert (folder / "adapter_config.json").read_bytes() == before
    assert [call[0] for call in hub.calls] == ["repo", "branch", "upload"]
    assert hub.calls[0][2]["private"] and hub.calls[2][2]["revision"] == "v1"


def test_a_base_model_of_this_machine_is_not_named_to_others(folder):
    with pytest.raises(ConfigError, match="names its base model by a folder of this machine"):
        parcel(folder, "me/mine")


@pytest.mark.parametrize("name", ["mine", "a/b/c", "/b", "a/", "a b/c", ""])
def test_names_of_repositories(name, folder):
    with pytest.raises(ConfigError, match="it must be OWNER/NAME"):
        parcel(folder, name, base="org/model")


def test_a_merged_model_goes_whole(tiny_models, tmp_path, hub):
    sent = parcel(tiny_models("llama"), "me/mine")
    push(sent)
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= set(hub.sent)
    assert sent.base is None
    with pytest.raises(ConfigError, match="--base: only for adapters"):
        parcel(tiny_models("llama"), "me/mine", base="org/model")


def test_a_folder_without_weights(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ModelError, match="has no safetensors to push"):
        parcel(tmp_path, "me/mine")
    with pytest.raises(ModelError, match="neither a run folder"):
        parcel(tmp_path / "nowhere", "me/mine")


def test_what_the_hub_refuses_is_one_sentence(folder, hub):
    hub.fault = OSError("403\nForbidden")
    with pytest.raises(RunError, match="me/mine: could not be pushed: 403 Forbidden Log in"):
        push(parcel(folder, "me/mine", base="org/model"))
