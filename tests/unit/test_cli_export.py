"""merge, export, push, combine and interpolate from the command line."""

from __future__ import annotations

import json
import shutil
import warnings
from pathlib import Path

import pytest
from transformers import AutoModelForCausalLM

from loratory import pipeline
from loratory.tuning import fresh, process
from loratory.tuning.saved import find
from tiny_adapter import adapter


@pytest.fixture(scope="module")
def trained(tiny_models, tmp_path_factory) -> Path:
    """A run that was trained, and is left as it is."""
    folder = tmp_path_factory.mktemp("runs")
    rows = [
        {"document": f"the quick brown fox {i} jumps over a lazy dog", "summary": f"fox {i}"}
        for i in range(40)
    ]
    data = folder / "rows.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    run = pipeline.prepare(
        {
            "model": {"name": str(tiny_models("llama")), "dtype": "float32"},
            "data": {"name": str(data), "max_target_tokens": 8, "test_size": 4},
            "task": "summarization",
            "method": {"name": "lora", "r": 2},
            "train": {"max_steps": 3, "eval_steps": 3, "learning_rate": 0.05},
            "output_dir": str(folder),
        }
    )
    with warnings.catch_warnings(), pytest.MonkeyPatch.context() as patch:
        warnings.simplefilter("ignore")
        # As tests/conftest.py does for each test: a fresh process takes seconds to load torch.
        patch.setattr(process, "run_module", lambda _, *arguments: fresh.main(*arguments))
        pipeline.train(run)
    return run.folder


@pytest.fixture
def run(trained, tmp_path) -> Path:
    """A copy, for what is written beside."""
    return Path(shutil.copytree(trained, tmp_path / "run"))


def test_training_left_its_proof(trained):
    manifest = json.loads((trained / "manifest.json").read_text())
    proof = manifest["proof"]
    assert proof["passed"] and proof["problems"] == [] and proof["rows"] == 4
    assert proof["reload"]["same_bits"] and proof["merge"]["same_texts"] == 2
    assert proof["seconds"] > 0 and proof["frozen_tensors"] > 10


def test_merge_a_run(run, cli):
    code, out, err = cli("merge", run)
    assert code == 0, err
    assert out.startswith(f"Merged into {run}/merged: float32, ")
    assert "Logits differ from those of base model and adapter by at most" in out
    AutoModelForCausalLM.from_pretrained(run / "merged")
    card = (run / "merged" / "README.md").read_text()
    assert "Data: rows.jsonl. Task: summarization." in card and str(run.parent) not in card
    code, out, err = cli("merge", run)
    assert code == 2 and out == "" and "is there already" in err
    code, out, err = cli("merge", run, "--overwrite", "--dtype", "bfloat16", "--json")
    facts = json.loads(out)
    assert code == 0 and facts["dtype"] == "bfloat16" and facts["folder"] == f"{run}/merged"
    assert facts["largest_difference"] <= facts["bound"]


def test_the_adapter_folder_of_a_run_is_the_run(run, cli, tmp_path):
    saved = find(run / "adapter")
    assert saved.run is not None and len(saved.rows()) > 0
    assert cli("merge", run / "adapter", "--to", tmp_path / "m")[0] == 0


def test_a_base_model_that_is_not_the_one_trained_on(run, cli, tiny_models, tmp_path):
    other = Path(shutil.copytree(tiny_models("llama"), tmp_path / "other"))
    assert cli("merge", run, "--base", other, "--to", tmp_path / "same")[0] == 0
    file = other / "config.json"
    file.write_text(file.read_text() + " ")
    code, out, err = cli("merge", run, "--base", other, "--to", tmp_path / "m")
    assert code == 2 and out == "" and not (tmp_path / "m").exists()
    assert "is not the base model that was trained on; its files have changed" in err
    assert len(err.strip().splitlines()[-1]) < 500 and "Traceback" not in err


def test_export(run, cli, tmp_path):
    code, out, err = cli("export", run, "--gguf", tmp_path / "x.gguf", "--type", "f32")
    assert code == 0, err
    assert out.startswith(f"Wrote {tmp_path}/x.gguf: f32, ") and "by at most" in out
    code, out, err = cli("export", run, "--gguf", tmp_path / "y.gguf", "--type", "q9", "--json")
    assert code == 2 and err == ""
    error = json.loads(out)["error"]
    assert error["type"] == "ConfigError" and "--type: unknown 'q9'" in error["problems"][0]
    assert cli("export", run)[0] == 2  # no file is named


def test_push_shows_what_would_go(run, cli, monkeypatch):
    import huggingface_hub

    def refuse(*_, **__):
        raise AssertionError("a dry run asks nobody")

    monkeypatch.setattr(huggingface_hub, "HfApi", refuse)
    code, out, err = cli("push", run, "me/mine", "--base", "org/model", "--dry-run")
    assert code == 0, err
    assert out.startswith("me/mine (public, branch main):\n")
    assert "adapter_model.safetensors" in out and "Base model: org/model" in out
    assert out.endswith("Nothing was sent (--dry-run).\n")
    assert not {"manifest", "train.jsonl", "predictions", "data"} & set(out.split())
    args = ("push", run, "me/mine", "--base", "org/model", "--private", "--dry-run", "--json")
    code, out, _ = cli(*args)
    facts = json.loads(out)
    assert facts["private"] and facts["sent"] is None and facts["bytes"] > 0
    code, _, err = cli("push", run, "mine", "--dry-run")
    assert code == 2 and "REPO: got 'mine'; it must be OWNER/NAME" in err
    code, _, err = cli("push", run, "me/mine", "--dry-run")
    assert code == 2 and "Give its name on the Hub with --base" in err


def test_an_adapter_that_failed_its_proof_is_neither_pushed_nor_used(run, cli):
    file = run / "manifest.json"
    manifest = json.loads(file.read_text())
    manifest["proof"]["passed"] = False
    file.write_text(json.dumps(manifest))
    code, _, err = cli("push", run, "me/mine", "--base", "org/model", "--dry-run")
    assert code == 2 and "failed the proof" in err
    code, _, err = cli("predict", run)
    assert code == 2 and "failed the proof" in err and "loratory train" in err


def test_combine(tiny_models, tmp_path, cli):
    one, two = (adapter("llama", tiny_models, tmp_path, seed=seed) for seed in (1, 2))
    code, out, err = cli("combine", one, two, "--weights", "0.7,0.3", "--to", tmp_path / "sum")
    assert code == 0, err
    assert out == f"Wrote {tmp_path}/sum: linear of [0.7, 0.3].\n"
    args = ("--method", "ties", "--density", "0.5", "--to", tmp_path / "ties", "--json")
    code, out, _ = cli("combine", one, two, *args)
    assert code == 0 and json.loads(out)["weights"] == [0.5, 0.5]
    for folder in ("sum", "ties"):
        assert cli("merge", tmp_path / folder, "--to", tmp_path / f"{folder}-merged")[0] == 0
    code, _, err = cli("combine", one, two, "--weights", "a,b", "--to", tmp_path / "x")
    assert code == 2 and "--weights: got 'a,b'" in err
    other = adapter("gpt2", tiny_models, tmp_path, seed=5)
    code, _, err = cli("combine", one, other, "--to", tmp_path / "x")
    assert code == 2 and "Only adapters of one base model can be summed" in err
    assert not (tmp_path / "x").exists()


def test_interpolate(run, cli, tmp_path):
    code, out, err = cli("interpolate", run, "--scale", "0.5")
    assert code == 0, err
    assert out == f"Wrote {run}/adapter-0.5: the update times 0.5.\n"
    assert find(run / "adapter-0.5").kind == "LORA"
    code, out, _ = cli("interpolate", run, "--scale", "0", "--to", tmp_path / "zero", "--json")
    assert json.loads(out)["scaled_tensors"] == 14
    code, _, err = cli("merge", tmp_path / "zero", "--to", tmp_path / "merged")
    assert code == 0, err
    code, _, err = cli("interpolate", run, "--scale", "much")
    assert code == 2


@pytest.mark.parametrize("command", ["merge", "export", "interpolate"])
def test_a_damaged_adapter_is_one_sentence(command, run, cli, tmp_path):
    file = run / "adapter" / "adapter_model.safetensors"
    file.write_bytes(file.read_bytes()[:-7])
    options = {
        "merge": (),
        "export": ("--gguf", tmp_path / "x.gguf"),
        "interpolate": ("--scale", "0.5"),
    }[command]
    code, out, err = cli(command, run, *options)
    assert code == 2 and out == "" and "Traceback" not in err
    said = [line for line in err.splitlines() if line.startswith("loratory:")]
    assert len(said) == 1 and "damaged or cut short" in said[0]


def test_a_run_without_an_adapter_says_what_to_do(run, cli):
    shutil.rmtree(run / "adapter")
    code, _, err = cli("merge", run)
    assert code == 2 and f"Run: loratory train {run}" in err


def test_a_proof_that_fails_fails_the_run(run, cli, monkeypatch):
    """The scale is lost between training and saving; the words are in the manifest."""
    from loratory.tuning import adapter as adapters

    settled = adapters._settled

    def lose(config, spec):
        return settled({**config, "lora_alpha": 160}, spec)

    monkeypatch.setattr(adapters, "_settled", lose)
    code, _, err = cli("train", run)
    assert code == 2 and "failed its proof" in err and "gives other logits" in err
    manifest = json.loads((run / "manifest.json").read_text())
    assert manifest["status"] == "failed" and manifest["failed"]["stage"] == "train"
    assert "failed its proof" in manifest["failed"]["reason"]
    assert not manifest["proof"]["passed"] and (run / "adapter").is_dir()
