"""Wrong values of every method's settings: one sentence each, which begins with the field."""

from __future__ import annotations

import pytest

import tiny
from loratory.config import from_mapping
from loratory.errors import ConfigError, ModelError
from loratory.methods.base import METHODS
from loratory.methods.checks import above_zero, at_least_one, names_layers, share
from loratory.methods.trainable_tokens import TrainableTokens
from loratory.tuning.model import load

CASES = [
    ("lora", {"r": 0}, "r"),
    ("lora", {"lora_alpha": 0.0}, "lora_alpha"),
    ("lora", {"lora_alpha": float("nan")}, "lora_alpha"),
    ("lora", {"lora_dropout": 1.0}, "lora_dropout"),
    ("lora", {"lora_dropout": -0.1}, "lora_dropout"),
    ("lora", {"target_modules": ()}, "target_modules"),
    ("lora", {"loraplus_lr_ratio": 0.0}, "loraplus_lr_ratio"),
    ("lora", {"r": 3, "init_lora_weights": "orthogonal"}, "r"),
    ("adalora", {"init_r": 8, "target_r": 8}, "init_r"),
    ("adalora", {"target_r": 0}, "target_r"),
    ("adalora", {"deltaT": 0}, "deltaT"),
    ("adalora", {"beta1": 1.0}, "beta1"),
    ("adalora", {"beta2": 0.0}, "beta2"),
    ("adalora", {"tinit": 1.5}, "tinit"),
    ("adalora", {"tfinal": -1.0}, "tfinal"),
    ("adalora", {"tinit": 0.5, "tfinal": 0.5}, "tfinal"),
    ("adalora", {"orth_reg_weight": -1.0}, "orth_reg_weight"),
    ("vera", {"r": 0}, "r"),
    ("vera", {"vera_dropout": 1.0}, "vera_dropout"),
    ("ia3", {"target_modules": ("k",), "feedforward_modules": ("wo",)}, "feedforward_modules"),
    ("loha", {"alpha": 0.0}, "alpha"),
    ("loha", {"module_dropout": 1.0}, "module_dropout"),
    ("lokr", {"decompose_factor": 0}, "decompose_factor"),
    ("oft", {"r": 2}, "r"),
    ("oft", {"oft_block_size": 0}, "r"),
    ("boft", {"boft_block_num": 2}, "boft_block_num"),
    ("boft", {"boft_n_butterfly_factor": 0}, "boft_n_butterfly_factor"),
    ("miss", {"mini_r": 0}, "mini_r"),
    ("fourierft", {"n_frequency": 0}, "n_frequency"),
    ("fourierft", {"scaling": 0.0}, "scaling"),
    ("hra", {"r": 3}, "r"),
    ("randlora", {"sparse": True, "very_sparse": True}, "very_sparse"),
    ("shira", {"target_modules": ()}, "target_modules"),
    ("prompt_tuning", {"num_virtual_tokens": 0}, "num_virtual_tokens"),
    ("prefix_tuning", {"num_virtual_tokens": 0}, "num_virtual_tokens"),
    ("p_tuning", {"encoder_hidden_size": 0}, "encoder_hidden_size"),
    ("p_tuning", {"encoder_dropout": 1.0}, "encoder_dropout"),
    ("trainable_tokens", {"token_indices": ()}, "token_indices"),
    ("trainable_tokens", {"token_indices": (3, 3)}, "token_indices"),
    ("trainable_tokens", {"token_indices": (-1,)}, "token_indices"),
]


@pytest.mark.parametrize(("name", "values", "field"), CASES)
def test_a_wrong_value_is_one_sentence_about_its_field(name, values, field):
    (sentence,) = METHODS.get(name)(**values).problems()
    assert sentence.startswith(f"{field}: ") and sentence.endswith(".")


@pytest.mark.parametrize(
    ("method", "start"),
    [
        ("lorra", "method.name: unknown 'lorra'. Did you mean 'lora'? Available: adalora, "),
        ({"name": "ia3", "r": 3}, "method.r: unknown field. "),
        (
            {"name": "vera", "d_inital": 1},
            "method.d_inital: unknown field. Did you mean 'd_initial'",
        ),
        ({"name": "oft", "coft": 1}, "method.coft: got 1; it must be a valid boolean."),
        (
            {"name": "lora", "init_lora_weights": "pisa"},
            "method.init_lora_weights: unknown 'pisa'. ",
        ),
        ({"name": "hra", "r": "8"}, "method.r: got '8'; it must be a valid integer."),
    ],
)
def test_a_wrong_recipe_is_one_sentence(method, start):
    data = {"model": "m", "data": "d.csv", "task": "classification", "method": method}
    with pytest.raises(ConfigError) as caught:
        from_mapping(data)
    (sentence,) = caught.value.problems
    assert sentence.startswith(start)


def test_the_shared_checks():
    assert (
        at_least_one("r", 1) == above_zero("a", 0.1) == share("d", 0.0) == names_layers("q") == []
    )
    for value in (-1.0, 1.0, float("nan")):
        assert share("d", value) == [f"d: got {value}; it must be in [0, 1)."]
    assert above_zero("a", float("nan")) and at_least_one("r", 0) and names_layers(())


def test_a_token_beyond_the_vocabulary_is_refused(tiny_models):
    loaded = load(tiny.spec(tiny_models("llama")), (), 0)
    size = loaded.model.get_input_embeddings().weight.shape[0]
    with pytest.raises(
        ModelError, match=rf"^method.token_indices: {size} is beyond .* is {size - 1}"
    ):
        TrainableTokens(token_indices=(1, size)).attach(loaded.model, "causal", 0)


def test_ia3_on_an_architecture_without_a_default_says_what_to_name(tiny_models):
    loaded = load(tiny.spec(tiny_models("llama")), (), 0)
    loaded.model.config.model_type = "unheard"
    with pytest.raises(ModelError, match=r"^method.target_modules: no default for unheard models"):
        METHODS.get("ia3")().attach(loaded.model, "causal", 0)
