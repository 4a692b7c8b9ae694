"""What vLLM is asked and how its answers are read; a stand-in of that name answers on the CPU."""

from __future__ import annotations

import textwrap
from dataclasses import replace

import pytest

import tiny
from loratory.config import DecodeConfig
from loratory.errors import ConfigError, MissingDependencyError, RunError
from loratory.methods.base import METHODS
from loratory.methods.lora import Lora
from loratory.progress import Silent
from loratory.tuning import vllm
from loratory.tuning.adapter import save_adapter, with_adapter
from loratory.tuning.generate import generate
from loratory.tuning.model import load
from loratory.tuning.predict import predict
from loratory.tuning.vllm import Served, check_engine

STAND_IN = """
    import json, os
    from types import SimpleNamespace

    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM


    class SamplingParams:
        def __init__(self, **options):
            self.__dict__.update(options)


    class LLM:
        def __init__(self, **options):
            self.options = options
            self.model = AutoModelForCausalLM.from_pretrained(
                options["model"], dtype=getattr(torch, options["dtype"])
            ).eval()

        def generate(self, prompts, params, *, use_tqdm, lora_request):
            with open(os.environ["ASKED"], "w") as file:
                json.dump([self.options, vars(params), len(prompts)], file)
            if lora_request is not None:
                assert self.options["enable_lora"] and lora_request.number == 1
                self.model = PeftModel.from_pretrained(self.model, lora_request.path).eval()
            said = [tuple(self.one(prompt, params)) for prompt in prompts]
            return [SimpleNamespace(outputs=[SimpleNamespace(token_ids=ids)]) for ids in said]

        @torch.no_grad()
        def one(self, prompt, params):
            ids = list(prompt["prompt_token_ids"])
            assert len(ids) + params.max_tokens <= self.options["max_model_len"]
            for _ in range(params.max_tokens):
                token = int(self.model(input_ids=torch.tensor([ids])).logits[0, -1].argmax())
                ids.append(token)
                yield token
                if token in params.stop_token_ids:
                    return
"""
REQUEST = """
    from typing import NamedTuple


    class LoRARequest(NamedTuple):
        name: str
        number: int
        path: str
"""


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    """A package of vLLM's name, for this process's children."""
    package = tmp_path / "packages" / "vllm"
    (package / "lora").mkdir(parents=True)
    (package / "__init__.py").write_text(textwrap.dedent(STAND_IN))
    (package / "lora" / "__init__.py").write_text("")
    (package / "lora" / "request.py").write_text(textwrap.dedent(REQUEST))
    monkeypatch.setenv("PYTHONPATH", str(package.parent))
    monkeypatch.setenv("ASKED", str(tmp_path / "asked.json"))
    return tmp_path


def test_base_and_tuned_answer_as_they_do_without_it(tiny_models, stand_in):
    spec = tiny.spec(tiny_models("llama"))
    encoder = tiny.encoder(spec)
    loaded = load(spec, (), 0)
    model = Lora(r=9).attach(loaded.model, spec.family, 1, ())
    tiny.shaken(model, 5, 0.5)
    adapter = stand_in / "adapter"
    save_adapter(model, spec, stand_in)
    examples, decode = tiny.examples(4), DecodeConfig(max_new_tokens=6)
    texts = {}
    for name, path in (("base", None), ("tuned", adapter)):
        asked = load(spec, (), 0)
        plain = asked.model if path is None else with_adapter(asked, path)
        given = (encoder, examples, decode, Silent(), "")
        expected = predict(plain, *given)
        assert predict(plain, *given, served=Served(spec, path)) == expected
        texts[name] = [answer.text for answer in expected]
    assert texts["base"] != texts["tuned"]
    options, params, count = vllm.json.loads((stand_in / "asked.json").read_text())
    assert options["max_lora_rank"] == 16 and options["dtype"] == "float32"
    assert params["temperature"] == 0 and params["ignore_eos"] and not params["detokenize"]
    assert params["stop_token_ids"] == sorted(encoder.stop_ids) and count == 4


def test_a_process_that_fails_says_why(tiny_models, stand_in):
    spec = replace(tiny.spec(tiny_models("llama")), path=str(stand_in / "nothing"))
    answers = generate(
        None,
        tiny.encoder(spec),
        [[3, 4]],
        max_new_tokens=2,
        num_beams=1,
        no_repeat_ngram_size=0,
        batch_size=1,
        served=Served(spec, None),
    )
    with pytest.raises(RunError, match="vllm failed in a process of its own"):
        list(answers)


REFUSED = {
    "num_beams must be 1": {"decode": {"num_beams": 2}},
    "no_repeat_ngram_size but 0": {"decode": {"no_repeat_ngram_size": 3}},
    "writes texts": {"kind": "classification"},
    "without use_dora": {"method": Lora(use_dora=True)},
    "plain LoRA": {"method": METHODS.get("ia3")()},
    "ranks up to 256": {"method": Lora(r=300)},
    "quantization none": {"spec": {"quantization": "4bit"}},
    "needs a GPU": {"device": "cpu"},
}


@pytest.mark.parametrize("why", REFUSED)
def test_what_it_cannot_serve_is_refused(why, tiny_models, monkeypatch):
    change = REFUSED[why]
    monkeypatch.setattr(vllm, "device", lambda: change.get("device", "cuda"))
    spec = replace(tiny.spec(tiny_models("llama")), **change.get("spec", {}))
    given = (spec, change.get("kind", "generation"), change.get("method", Lora()))
    with pytest.raises(ConfigError, match=why) as caught:
        check_engine(DecodeConfig(engine="vllm", **change.get("decode", {})), *given)
    assert str(caught.value).startswith("decode.engine: vllm")
    check_engine(DecodeConfig(**change.get("decode", {})), *given)  # not asked for


def test_where_it_is_not_installed_the_command_is_told(tiny_models, monkeypatch):
    monkeypatch.setattr(vllm, "device", lambda: "cuda")
    monkeypatch.setattr(vllm.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(MissingDependencyError, match="pip install vllm"):
        check_engine(
            DecodeConfig(engine="vllm"), tiny.spec(tiny_models("llama")), "generation", Lora()
        )
