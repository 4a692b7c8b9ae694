"""Every method passes the proof that what is saved is what was trained."""

from __future__ import annotations

import pytest

from loratory.config import ModelConfig
from loratory.methods.base import EXPECTED, METHODS
from loratory.tuning.adapter import save_adapter
from loratory.tuning.model import heads_of
from loratory.tuning.proof import Frozen, observe, prove
from tiny_adapter import moved
from tiny_run import Run

MODELS = {"llama": "causal", "t5": "seq2seq", "distilbert": "classifier"}
SMALL = {
    "alora": {"r": 4, "alora_invocation_tokens": (203,)},
    "fourierft": {"n_frequency": 50},
    "shira": {"r": 4},
}
"""Settings for layers of 32, which are smaller than the defaults allow."""


def model_for(place: int, name: str) -> str:
    """Take the models in turn, so that each method is tried on one that it claims."""
    able = [model for model, family in MODELS.items() if family in METHODS.get(name).families]
    return able[place % len(able)]


# Those that peft implements go one way; of them a few are among the fast tests.
FAST = {"adalora", "ia3", "lora", "prompt_tuning"}
CASES = [
    pytest.param(
        name,
        model_for(place, name),
        marks=() if name in FAST or METHODS.get(name).defined_in else pytest.mark.slow,
    )
    for place, name in enumerate(METHODS.names())
]
pytestmark = [pytest.mark.filterwarnings(f"ignore:{message}") for message in EXPECTED]


@pytest.mark.parametrize(("name", "model"), CASES)
def test_it_is_proved_and_merged_where_it_merges(name, model, tiny_models, tmp_path):
    method = METHODS.get(name)(**SMALL.get(name, {}))
    classify = model == "distilbert"
    run = Run(tiny_models(model), tmp_path / "run", classify, method)
    base = run.model.get_base_model()
    frozen = Frozen(run.spec)
    frozen.take(base)
    frozen.note()
    # By little: methods such as VeRA would else throw a model of random weights far off.
    moved(run, by=0.01)
    save_adapter(run.model, run.spec, run.folder)
    heads = heads_of(base) if classify else ()
    seen = observe(run.spec, run.model, heads, run.validation, frozen)
    config = ModelConfig(name=run.spec.name, dtype="float32")
    labels = ("negative", "positive")
    proof = prove(seen, run.folder / "adapter", config, labels, merges=method.merges)
    assert proof.passed, proof.problems
    assert proof.reload["same_bits"]
    assert ("skipped" in proof.merge) == (not method.merges)
    if method.merges:
        assert proof.merge["changed_tensors"] > 0
