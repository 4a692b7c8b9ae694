"""peft's types without a file of their own: the table holds against the installed peft."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING

import tiny
from crossed import crossed, few
from loratory.config import from_mapping, to_mapping
from loratory.errors import ConfigError, ModelError
from loratory.methods.base import EXPECTED, METHODS, TASK_TYPES
from loratory.methods.peft_types import REFUSED, TYPES
from loratory.registry import Registry
from loratory.tuning.adapter import save_adapter
from loratory.tuning.loss import loss_sum
from loratory.tuning.model import empty, load

pytestmark = [pytest.mark.filterwarnings(f"ignore:{message}") for message in EXPECTED]
TUNERS = Path(importlib.util.find_spec("peft").origin).parent / "tuners"
SMALL = {
    "adamss": {"r": 8},
    "adaption_prompt": {"adapter_len": 4, "adapter_layers": 2},
    "c3a": {"block_size": 8},
    "cartridge": {"num_virtual_tokens": 4},
    "gralora": {"r": 8},
    "psoft": {"r": 8},
    "pvera": {"r": 16},
    "road": {"group_size": 8},
    "vblora": {"vector_length": 8},
    "waveft": {"n_frequency": 50},
}
every_type = pytest.mark.parametrize("name", sorted(TYPES))
# Of the types that are trained, a few are among the fast tests.
few_types = pytest.mark.parametrize("name", few(sorted(TYPES), sorted(TYPES)[::5]))


def made(name, **values):
    return METHODS.get(name)(**{**SMALL.get(name, {}), **values})


def recipe(method):
    return {"model": "m", "data": "d.csv", "task": "classification", "method": method}


def problems(method) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        from_mapping(recipe(method))
    return caught.value.problems


def test_every_type_of_the_installed_peft_is_known_one_way():
    # Those that Loratory has registered with peft itself are no folder of peft's.
    installed = {
        str(kind.value).lower()
        for kind, cls in PEFT_TYPE_TO_CONFIG_MAPPING.items()
        if cls.__module__.startswith("peft.")
    }
    own = set(METHODS.names()) & installed
    assert own | set(TYPES) | set(REFUSED) == installed
    assert not own & set(TYPES) and not set(REFUSED) & (own | set(TYPES))


@pytest.mark.parametrize("name", [*sorted(TYPES), *METHODS.names()])
def test_quantised_bases_are_those_that_peft_has_layers_for(name):
    cls = METHODS.get(name)
    folder = TUNERS / name
    adapts_weights = folder.is_dir() and "layer.py" in {file.name for file in folder.iterdir()}
    if not adapts_weights or name in ("ln_tuning", "trainable_tokens"):
        pytest.skip("it leaves linear layers alone, or is not peft's")
    assert (cls.quantised == {"8bit", "4bit"}) == (folder / "bnb.py").is_file()


@every_type
def test_it_survives_a_recipe(name):
    config = from_mapping(recipe({"name": name, **SMALL.get(name, {})}))
    assert from_mapping(to_mapping(config)) == config
    assert METHODS.holds(config.method) and config.method.paper and config.method.__doc__


@few_types
def test_it_trains_saves_loads_and_merges_as_the_table_says(name, tiny_models, tmp_path):
    spec = tiny.spec(tiny_models("llama"))
    method = made(name)
    bare = method.attach(empty(spec, ()), "causal", 0)
    model = method.attach(load(spec, (), 0).model, "causal", 0).eval()
    chosen = [p for p in model.parameters() if p.requires_grad]
    count = sum(p.numel() for p in chosen)
    if name != "adamss":  # its subspaces depend on the weights
        assert sum(p.numel() for p in bare.parameters() if p.requires_grad) == count > 0
    batch = tiny.collated(spec, model, tiny.rows(spec, 6))
    optimiser, losses = torch.optim.AdamW(chosen, lr=1e-3), []
    for _ in range(3):
        total, _ = loss_sum(model, batch)
        total.backward()
        optimiser.step()
        optimiser.zero_grad()
        losses.append(float(total.detach()))
    assert losses[2] < losses[0]
    save_adapter(model, spec, tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        again = PeftModel.from_pretrained(load(spec, (), 9).model, str(tmp_path / "adapter"))
    with torch.no_grad():
        tuned = loss_sum(again.eval(), batch)[0]
        assert torch.equal(tuned, loss_sum(model, batch)[0])
        if METHODS.get(name).merges:
            merged = loss_sum(again.merge_and_unload().eval(), batch)[0]
            torch.testing.assert_close(merged, tuned, atol=1e-3, rtol=1e-4)
        else:
            with pytest.raises((AttributeError, ValueError, NotImplementedError)):
                again.merge_and_unload()


@every_type
def test_gpt2s_layers_are_adapted_or_refused_as_the_table_says(name, tiny_models):
    spec = tiny.spec(tiny_models("gpt2"))
    if METHODS.get(name).conv1d:
        model = made(name).attach(empty(spec, ()), "causal", 0)
        assert any(p.requires_grad for p in model.parameters())
    else:
        with pytest.raises(ModelError, match=rf"^method\.{name}: it cannot adapt Conv1D, "):
            made(name).attach(empty(spec, ()), "causal", 0)


@crossed(
    name=[n for n in sorted(TYPES) if len(TYPES[n].families) == 3],
    model_name=["t5", "distilbert"],
)
def test_the_other_families_can_be_tried_without_storage(name, model_name, tiny_models):
    classify = model_name == "distilbert"
    spec = tiny.spec(tiny_models(model_name), classify=classify)
    bare = empty(spec, ("negative", "positive"))
    heads = ("pre_classifier", "classifier") if classify else ()
    model = made(name).attach(bare, spec.family, 0, heads)
    assert TASK_TYPES[spec.family] == model.active_peft_config.task_type
    trained = {key for key, p in model.named_parameters() if p.requires_grad}
    assert any("modules_to_save" not in key for key in trained)
    assert all(any(f".{head}.modules_to_save." in key for key in trained) for head in heads)


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_what_a_recipe_cannot_use_is_refused_with_the_reason(name):
    (sentence,) = problems(name)
    assert sentence.startswith(f"method.name: '{name}' cannot be used in a recipe: {REFUSED[name]}")


def test_mistakes_are_one_sentence_each():
    assert problems("gralor")[0].startswith("method.name: unknown 'gralor'. Did you mean 'gralora'")
    (sentence,) = problems({"name": "gralora", "gralora_kk": 3})
    assert sentence.startswith("method.gralora_kk: unknown field. Did you mean 'gralora_k'?")
    assert problems({"name": "gralora", "r": "many"}) == (
        "method.r: got 'many'; it must be a valid integer.",
    )
    (sentence,) = problems({"name": "gralora", "r": 7})
    assert sentence.startswith("method.name: peft refuses these values: r should be divisible by")


def test_without_peft_the_sentence_says_what_to_install():
    script = (
        "import sys; sys.modules['peft'] = None\n"
        "from loratory.methods.base import METHODS\n"
        "from loratory.errors import MissingDependencyError\n"
        "try: METHODS.get('hira')\n"
        "except MissingDependencyError as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True
    )
    assert done.stdout.startswith("method.name: 'hira' is made from peft's own settings, and the")


def test_listing_and_naming_a_method_of_its_own_loads_no_peft():
    script = (
        "import sys; from loratory.methods.base import METHODS\n"
        "METHODS.names(), METHODS.further(), METHODS.get('lora')\n"
        "print(*{'peft', 'torch', 'transformers'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True
    )
    assert done.stdout.split() == []


def test_a_registry_without_further_components_has_none():
    assert Registry("thing", "loratory.runs").further() == []
