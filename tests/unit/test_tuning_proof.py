"""The proof that what is saved is what was trained: it passes, and it catches each fault."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file

from crossed import few
from loratory.config import ModelConfig
from loratory.errors import RunError
from loratory.methods.lora import Lora
from loratory.tuning.adapter import save_adapter
from loratory.tuning.proof import Frozen, observe, prove
from loratory.tuning.saved import WEIGHTS
from tiny_adapter import head_moved, moved
from tiny_run import Run

LABELS = ("negative", "positive")
SCALED = (Lora(r=2, use_dora=True), Lora(r=4, use_rslora=True))
MODELS = {"llama": False, "gpt2": False, "t5": False, "bert": True, "distilbert": True}


def trained(name, tiny_models, tmp_path: Path, method=None, **fields) -> tuple[Run, Frozen]:
    """A saved adapter whose every value was moved, and the digests from before."""
    run = Run(tiny_models(name), tmp_path / "run", MODELS[name], method, **fields)
    frozen = Frozen(run.spec)
    frozen.take(run.model.get_base_model())
    frozen.note()
    moved(run)
    save_adapter(run.model, run.spec, run.folder)
    return run, frozen


def heads_of(run: Run) -> tuple[str, ...]:
    from loratory.tuning.model import heads_of as found

    base = run.model.get_base_model()
    return found(base) if run.spec.family == "classifier" else ()


def proved(run: Run, frozen: Frozen, *, merges=True, **fields):
    seen = observe(run.spec, run.model, heads_of(run), run.validation, frozen)
    dtype = str(run.spec.dtype).removeprefix("torch.")
    config = ModelConfig(name=run.spec.name, dtype=dtype, **fields)
    return prove(seen, run.folder / "adapter", config, LABELS, merges=merges)


def the_problem(proof) -> str:
    assert not proof.passed and len(proof.problems) == 1, proof.problems
    with pytest.raises(RunError, match="failed its proof"):
        proof.check(Path("run"))
    return proof.problems[0]


def change(run: Run, edit) -> None:
    """Edit the saved tensors in place."""
    file = run.folder / "adapter" / WEIGHTS
    tensors = load_file(file)
    edit(tensors)
    save_file(tensors, file, metadata={"format": "pt"})


@pytest.mark.parametrize("name", few(MODELS, ("llama", "bert")))
def test_what_was_saved_is_what_was_trained(name, tiny_models, tmp_path):
    run, frozen = trained(name, tiny_models, tmp_path)
    proof = proved(run, frozen)
    assert proof.passed, proof.problems
    assert proof.reload["same_bits"] and proof.reload["largest_difference"] == 0
    assert 0 <= proof.merge["largest_difference"] <= proof.merge["bound"]
    assert proof.merge["mean_effect_of_adapter"] > 100 * proof.merge["mean_difference"]
    assert proof.merge["changed_tensors"] > 0
    assert proof.rows == 4 and proof.frozen_tensors == len(frozen.digests) > 10
    if MODELS[name]:
        assert proof.heads == list(heads_of(run)) != []
    else:
        assert proof.merge["same_texts"] == proof.merge["texts"] == 2
    proof.check(run.folder)
    json.dumps(proof.facts(), allow_nan=False)


@pytest.mark.parametrize("method", few(SCALED, SCALED[:1]))
def test_scaled_and_decomposed_updates_are_proved(method, tiny_models, tmp_path):
    assert proved(*trained("llama", tiny_models, tmp_path, method)).passed


@pytest.mark.parametrize("name", few(["llama", "bert"], ["llama"]))
def test_in_bfloat16_the_bound_is_wider_and_holds(name, tiny_models, tmp_path):
    proof = proved(*trained(name, tiny_models, tmp_path, dtype="bfloat16"))
    assert proof.passed, proof.problems
    assert 0 < proof.merge["largest_difference"] <= proof.merge["bound"]


@pytest.mark.parametrize("quantization", few(["8bit", "4bit"], ["4bit"]))
def test_a_quantised_base_is_proved_but_not_merged(quantization, tiny_models, tmp_path):
    pytest.importorskip("bitsandbytes")
    run, frozen = trained("llama", tiny_models, tmp_path, quantization=quantization)
    proof = proved(run, frozen, quantization=quantization)
    assert proof.passed, proof.problems
    assert proof.reload["same_bits"] and proof.frozen_tensors > 10
    assert proof.merge == {"skipped": "the base model is quantised"}


@pytest.mark.slow  # it loads torch once more
def test_a_process_of_its_own_gives_the_same_bits(tiny_models, tmp_path, fresh_process):
    run, frozen = trained("llama", tiny_models, tmp_path)
    began = time.monotonic()
    proof = proved(run, frozen)
    assert proof.passed, proof.problems
    assert proof.reload["same_bits"]
    assert 0.5 < proof.seconds <= time.monotonic() - began


def test_a_tampered_file_is_caught(tiny_models, tmp_path):
    run, frozen = trained("llama", tiny_models, tmp_path)
    change(run, lambda tensors: next(iter(tensors.values())).add_(0.01))
    problem = the_problem(proved(run, frozen))
    assert "gives other logits than the trained model: they differ by up to 0." in problem


def test_a_scale_that_was_not_saved_is_caught(tiny_models, tmp_path):
    run, frozen = trained("llama", tiny_models, tmp_path)
    file = run.folder / "adapter" / "adapter_config.json"
    config = json.loads(file.read_text())
    file.write_text(json.dumps(config | {"lora_alpha": config["lora_alpha"] * 2}))
    assert "gives other logits than the trained model" in the_problem(proved(run, frozen))


def test_a_file_cut_short_is_caught(tiny_models, tmp_path):
    run, frozen = trained("llama", tiny_models, tmp_path)
    file = run.folder / "adapter" / WEIGHTS
    file.write_bytes(file.read_bytes()[:-100])
    proof = proved(run, frozen)
    assert not proof.passed and "damaged or cut short" in proof.problems[0]
    assert "cannot be loaded in a fresh process" in proof.problems[1]


@pytest.mark.parametrize("name", few(["bert", "distilbert"], ["bert"]))
def test_a_lost_head_is_caught_and_named(name, tiny_models, tmp_path):
    """As peft#577 and peft#876: the head came back random, and nobody was told."""
    run, frozen = trained(name, tiny_models, tmp_path)
    head = heads_of(run)[-1]

    def lose(tensors):
        for key in [key for key in tensors if f".{head}." in key]:
            del tensors[key]

    change(run, lose)
    proof = proved(run, frozen)
    assert not proof.passed
    assert proof.problems[0].startswith(f"The module {head}, which has no pre-trained weights,")
    assert "cannot be loaded in a fresh process" in proof.problems[1]  # peft misses it too


def test_a_base_model_that_training_touched_is_caught(tiny_models, tmp_path):
    run, frozen = trained("llama", tiny_models, tmp_path)
    layer = run.model.get_base_model().model.layers[1].self_attn.q_proj.base_layer
    with torch.no_grad():
        layer.weight[3, 5] += 1e-7
    proof = proved(run, frozen)
    assert not proof.passed and proof.frozen_tensors == len(frozen.digests) - 1
    assert "changed 1 of the base model's frozen weights" in proof.problems[0]
    assert "layers.1.self_attn.q_proj" in proof.problems[0]


def test_files_of_the_base_model_that_changed_are_caught(tiny_models, tmp_path):
    copy = shutil.copytree(tiny_models("llama"), tmp_path / "base")
    run, frozen = trained("llama", lambda _: copy, tmp_path)
    file = copy / "generation_config.json"
    file.write_text(file.read_text() + "\n")
    assert the_problem(proved(run, frozen)).startswith("The files of the base model")


def test_another_vocabulary_is_caught(tiny_models, tmp_path, monkeypatch):
    run, frozen = trained("llama", tiny_models, tmp_path)
    run.spec.tokenizer.add_tokens(["<extra>"])
    problem = the_problem(proved(run, frozen))
    assert "the vocabulary is another one" in problem and "6 added tokens" in problem


def test_a_merge_that_leaves_the_base_model_is_caught(tiny_models, tmp_path, monkeypatch):
    """As unsloth#2142: the merged model was the base model's, bit for bit."""
    run, frozen = trained("llama", tiny_models, tmp_path)
    monkeypatch.setattr(PeftModel, "merge_and_unload", lambda self, **_: self.unload(), False)
    problems = proved(run, frozen).problems
    assert problems[0] == "Merged, the weights are still the base model's."
    assert all("Merged, it writes" in problem for problem in problems[1:])


def with_its_head_alone_trained(name, tiny_models, tmp_path) -> tuple[Run, Frozen]:
    """A saved classifier with an adapter without effect, and the digests from before."""
    run = Run(tiny_models(name), tmp_path / "run", True)
    frozen = Frozen(run.spec)
    frozen.take(run.model.get_base_model())
    frozen.note()
    head_moved(run)
    save_adapter(run.model, run.spec, run.folder)
    return run, frozen


@pytest.mark.parametrize("name", ["bert", "distilbert"])
def test_a_head_trained_beside_an_adapter_without_effect_is_proved(name, tiny_models, tmp_path):
    """Merging rightly changes no weight of the base model then, and keeps the head."""
    proof = proved(*with_its_head_alone_trained(name, tiny_models, tmp_path))
    assert proof.passed, proof.problems
    assert proof.merge["changed_tensors"] == 0
    assert proof.merge["mean_difference"] < 1e-6 * proof.merge["mean_effect_of_adapter"]


def test_a_merge_that_loses_such_a_head_is_caught(tiny_models, tmp_path, monkeypatch):
    run, frozen = with_its_head_alone_trained("bert", tiny_models, tmp_path)

    def lose(self, **_):
        modules = dict(self.get_base_model().named_modules())
        heads = {k: m.original_module for k, m in modules.items() if hasattr(m, "original_module")}
        plain = self.unload()
        for name, head in heads.items():
            plain.set_submodule(name, head)
        return plain

    monkeypatch.setattr(PeftModel, "merge_and_unload", lose, False)
    problem = the_problem(proved(run, frozen))
    assert problem == "Merged, the weights are still the base model's."


def test_a_merge_of_half_the_update_is_caught(tiny_models, tmp_path, monkeypatch):
    run, frozen = trained("llama", tiny_models, tmp_path)
    from peft.tuners.lora import Linear

    whole = Linear.get_delta_weight
    monkeypatch.setattr(Linear, "get_delta_weight", lambda self, name: whole(self, name) / 2)
    assert "Merged, it gives other logits: they differ by up to" in proved(run, frozen).problems[0]


def test_a_merge_that_fails_is_told(tiny_models, tmp_path, monkeypatch):
    run, frozen = trained("llama", tiny_models, tmp_path)

    def refuse(self, **_):
        raise ValueError("cannot\nmerge")

    monkeypatch.setattr(PeftModel, "merge_and_unload", refuse, False)
    assert the_problem(proved(run, frozen)) == "It cannot be merged: cannot merge"


def test_a_method_that_does_not_merge_says_so(tiny_models, tmp_path):
    proof = proved(*trained("llama", tiny_models, tmp_path), merges=False)
    assert proof.passed and proof.merge == {"skipped": "the method does not merge"}


def test_observing_leaves_the_model_as_it_was(tiny_models, tmp_path):
    run, frozen = trained("llama", tiny_models, tmp_path)
    run.model.train()
    observe(run.spec, run.model, (), run.validation, frozen)
    assert run.model.training
