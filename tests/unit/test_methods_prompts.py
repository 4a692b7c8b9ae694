"""Trained vectors before the input: predictions are what the model trained on would say.

What is expected comes from plain forward passes over one row at a time, without cache, padding
or generation: the way the loss is computed.
"""

from __future__ import annotations

import pytest
import torch

import tiny
from crossed import crossed
from loratory.config import DecodeConfig
from loratory.errors import ModelError
from loratory.methods.base import EXPECTED
from loratory.methods.p_tuning import PTuning
from loratory.methods.prefix_tuning import PrefixTuning
from loratory.methods.prompt_tuning import PromptTuning
from loratory.progress import Silent
from loratory.tuning.adapter import save_adapter, with_adapter
from loratory.tuning.encode import check_lengths
from loratory.tuning.generate import generate
from loratory.tuning.likelihood import Query, loglikelihoods
from loratory.tuning.model import load
from loratory.tuning.predict import predict

pytestmark = [pytest.mark.filterwarnings(f"ignore:{message}") for message in EXPECTED]
METHOD = {
    "prompt_tuning": PromptTuning(num_virtual_tokens=3),
    "prefix_tuning": PrefixTuning(num_virtual_tokens=3),
    "p_tuning": PTuning(num_virtual_tokens=3, encoder_hidden_size=8),
}
every_pair = crossed(model_name=["llama", "gpt2", "t5", "bart"], name=list(METHOD))


def lively(spec):
    """The tiny model with larger weights, since as it is it repeats its last token."""
    loaded = load(spec, (), 0)
    torch.manual_seed(3)
    with torch.no_grad():
        for parameter in loaded.model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    return loaded


@pytest.fixture
def tuned(tiny_models, tmp_path):
    """Return a function to a model with vectors that matter, read back from disk."""

    def make(model_name, name):
        spec = tiny.spec(tiny_models(model_name))
        model = METHOD[name].attach(lively(spec).model, spec.family, 1)
        save_adapter(tiny.shaken(model, 2, 1.0), spec, tmp_path)
        return spec, with_adapter(lively(spec), tmp_path / "adapter")

    return make


def logits(spec, model, prompt, answer):
    """Scores of the token after prompt and answer, of one row: (V,)."""
    with torch.no_grad():
        if spec.family == "causal":
            ids = torch.tensor([prompt + answer])
            return model(input_ids=ids, use_cache=False).logits[0, -1]
        start = model.generation_config.decoder_start_token_id
        ids = torch.tensor([[start, *answer]])
        return model(input_ids=torch.tensor([prompt]), decoder_input_ids=ids).logits[0, -1]


@every_pair
def test_generated_is_what_plain_forward_passes_give(model_name, name, tuned):
    spec, model = tuned(model_name, name)
    encoder = tiny.encoder(spec)
    prompts = [row.prompt for row in encoder.all(tiny.examples(5))]
    assert len({len(prompt) for prompt in prompts}) > 1
    asked = {"max_new_tokens": 4, "num_beams": 1, "no_repeat_ngram_size": 0, "batch_size": 4}
    found = {answer.row: answer.text for answer in generate(model, encoder, prompts, **asked)}
    forced = getattr(model.generation_config, "forced_bos_token_id", None)
    for i, prompt in enumerate(prompts):
        said: list[int] = [] if forced is None else [forced]
        while len(said) < 4:
            token = int(logits(spec, model, prompt, said).argmax())
            if token in encoder.stop_ids:
                break
            said.append(token)
        assert found[i] == spec.tokenizer.decode(said, skip_special_tokens=True).strip()
    assert len(set(found.values())) > 1, "they all say the same"


@every_pair
def test_likelihoods_are_those_of_plain_forward_passes(model_name, name, tuned):
    spec, model = tuned(model_name, name)
    prompts = [row.prompt for row in tiny.encoder(spec).all(tiny.examples(3))]
    answers = [[[20, 21, 1], [22, 1]]] * 3
    asked = [Query(*pair) for pair in zip(prompts, answers, strict=True)]
    for row, found in loglikelihoods(model, spec, asked, 3):
        for answer, (value, _) in zip(answers[row], found, strict=True):
            total = 0.0
            for place, token in enumerate(answer):
                scores = logits(spec, model, prompts[row], answer[:place])
                total += float(scores.log_softmax(-1)[token])
            assert value == pytest.approx(total, abs=2e-4)


@pytest.mark.parametrize("name", list(METHOD))
def test_the_vectors_change_what_is_said(name, tuned):
    spec, model = tuned("llama", name)
    rows = tiny.examples(3)
    encoder = tiny.encoder(spec)
    decode = DecodeConfig(max_new_tokens=5)
    base = lively(spec).model
    texts = [
        [p.text for p in predict(m, encoder, rows, decode, Silent(), "t")] for m in (base, model)
    ]
    assert texts[0] != texts[1]


def test_vectors_that_leave_the_limits_no_positions_are_refused(tiny_models):
    spec = tiny.spec(tiny_models("gpt2"))
    check_lengths(spec, 1000, 21, 3)
    with pytest.raises(
        ModelError, match=r"1025 tokens \(4 of them the method's num_virtual_tokens"
    ):
        check_lengths(spec, 1000, 21, 4)
