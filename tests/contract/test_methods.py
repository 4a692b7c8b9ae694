"""What every fine-tuning method must hold to, on every family that it claims.

Each method goes once through its life on each model: attached, tried, trained for a few steps,
saved, loaded onto a fresh model, merged. The tests look at what was seen on the way.
"""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

import pytest
import torch
from peft import PeftModel

import formulas
import tiny
from crossed import thinned
from loratory.errors import ModelError
from loratory.methods.base import EXPECTED, METHODS, attach_peft, target_names
from loratory.registry import field_docs
from loratory.tuning.adapter import save_adapter
from loratory.tuning.loss import loss_sum
from loratory.tuning.model import empty, heads_of, load

FAMILIES = {"causal", "seq2seq", "classifier"}
LABELS = ("negative", "positive")
MODELS = {"llama": "causal", "gpt2": "causal", "t5": "seq2seq", "distilbert": "classifier"}
SMALL: dict[str, dict[str, Any]] = {
    "alora": {"alora_invocation_tokens": (203,), "r": 4},
    "c3a": {"block_size": 8},
    "fourierft": {"n_frequency": 50},
    "oft": {"oft_block_size": 8},
    "p_tuning": {"num_virtual_tokens": 4, "encoder_hidden_size": 16},
    "prefix_tuning": {"num_virtual_tokens": 4},
    "prompt_tuning": {"num_virtual_tokens": 4},
    "randlora": {"r": 4},
    "shira": {"r": 4},
    "trainable_tokens": {"token_indices": (5, 6, 70)},
    "vera": {"r": 16},
}
"""Settings that suit models 32 wide where the defaults are meant for larger ones."""
ELSEWHERE = {"p_tuning", "prefix_tuning", "prompt_tuning"}
"""Methods that cannot start at the base model: what they add is seen from the first step."""
OURS = [name for name in METHODS.names() if METHODS.get(name).__module__.startswith("loratory.")]
CASES = [
    (name, model)
    for name in OURS
    for model, family in MODELS.items()
    if family in METHODS.get(name).families
    and (model != "gpt2" or getattr(METHODS.get(name), "conv1d", True))
]
every_method = pytest.mark.parametrize("name", OURS)
FEW = [
    pytest.param(case.values, marks=case.marks, id="-".join(case.values)) for case in thinned(CASES)
]
every_case = pytest.mark.parametrize("life", FEW, indirect=True)
every_counted_case = pytest.mark.parametrize(
    "life", [case for case in FEW if case.values[0][0] in formulas.COUNTS], indirect=True
)
pytestmark = [pytest.mark.filterwarnings(f"ignore:{message}") for message in EXPECTED]


def made(name, **values):
    return METHODS.get(name)(**{**SMALL.get(name, {}), **values})


def loaded_of(model_name, tiny_models, seed=0):
    family = MODELS[model_name]
    spec = tiny.spec(tiny_models(model_name), classify=family == "classifier")
    assert spec.family == family
    return load(spec, LABELS, seed)


def trainable(model):
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


@dataclasses.dataclass
class Life:
    """What was seen of one method on one model."""

    name: str
    model_name: str
    loaded: Any
    model: Any
    head_parameters: int
    losses: dict[str, float]
    """Summed loss of one batch: `base`, `start`, `end`, `reloaded`, `merged`."""
    steps: list[float]
    moved: dict[str, bool]
    unwanted: list[str]
    """Parameters of the base model whose frozen values changed."""
    merge_error: str


@pytest.fixture(scope="module")
def life(request, tiny_models, tmp_path_factory):
    name, model_name = request.param
    loaded = loaded_of(model_name, tiny_models)
    head_parameters = sum(
        p.numel() for head in loaded.heads for p in loaded.model.get_submodule(head).parameters()
    )
    batch = tiny.collated(loaded.spec, loaded.model, tiny.rows(loaded.spec, 6))

    def loss(model):
        with torch.no_grad():
            return loss_sum(model.eval(), batch)[0]

    losses = {"base": loss(loaded.model)}
    model = made(name).attach(loaded.model, loaded.spec.family, 0, loaded.heads)
    losses["start"] = loss(model)
    before = {key: p.detach().clone() for key, p in model.named_parameters()}
    optimiser = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-3)
    steps = []
    for _ in range(4):  # in evaluation mode: without dropout losses can be compared
        total, n = loss_sum(model, batch)
        (total / n).backward()
        optimiser.step()
        optimiser.zero_grad()
        steps.append(float(total.detach() / n))
    moved = {key: not torch.equal(p, before[key]) for key, p in model.named_parameters()}
    unwanted = [key for key, p in model.named_parameters() if moved[key] and not p.requires_grad]
    losses["end"] = loss(model)
    folder = tmp_path_factory.mktemp("saved")
    save_adapter(model, loaded.spec, folder)
    fresh = load(loaded.spec, LABELS, 77).model
    again = PeftModel.from_pretrained(fresh, str(folder / "adapter"))
    losses["reloaded"] = loss(again)
    merge_error = ""
    try:
        losses["merged"] = loss(again.merge_and_unload())
    except (AttributeError, NotImplementedError, ValueError) as error:
        merge_error = str(error)
    return Life(
        name,
        model_name,
        loaded,
        model,
        head_parameters,
        losses,
        steps,
        moved,
        unwanted,
        merge_error,
    )


@every_method
def test_it_is_a_frozen_dataclass_with_a_source_and_sound_defaults(name):
    cls = METHODS.get(name)
    assert dataclasses.is_dataclass(cls) and cls.__dataclass_params__.frozen
    assert cls.name == name
    assert cls.__doc__ and cls.paper
    assert cls.families and cls.families <= FAMILIES
    assert isinstance(cls.merges, bool) and cls.quantised <= {"8bit", "4bit"}
    assert cls().problems() == [] and made(name).problems() == []


@every_method
def test_every_field_has_a_default_and_its_sentence(name):
    cls = METHODS.get(name)
    docs = field_docs(cls)
    for field in dataclasses.fields(cls):
        assert docs.get(field.name, "").endswith("."), field.name
        assert field.default is not dataclasses.MISSING, field.name


@every_case
def test_something_is_trainable_and_not_everything(life):
    total = sum(p.numel() for p in life.model.parameters())
    assert 0 < trainable(life.model) <= total
    for head in life.loaded.heads:
        inside = [
            p for key, p in life.model.named_parameters() if f".{head}.modules_to_save." in key
        ]
        assert inside and all(p.requires_grad for p in inside), f"{head} stays frozen"
    chosen = [p for p in life.model.parameters() if p.requires_grad]
    assert all(p.dtype == torch.float32 for p in chosen)


@every_counted_case
def test_the_count_is_the_papers(life):
    expected = formulas.COUNTS[life.name](made(life.name), formulas.MODELS[life.model_name])
    assert trainable(life.model) - life.head_parameters == expected


@every_case
def test_training_starts_at_the_base_model(life):
    if life.name in ELSEWHERE:
        assert not torch.equal(life.losses["base"], life.losses["start"])
    else:
        torch.testing.assert_close(life.losses["base"], life.losses["start"], atol=1e-4, rtol=1e-5)


@every_case
def test_a_few_steps_lower_the_loss_and_move_only_what_is_trainable(life):
    assert life.steps[1] < life.steps[0] and life.steps[3] < life.steps[1]
    assert life.unwanted == []
    wanted = [key for key, p in life.model.named_parameters() if p.requires_grad]
    assert all(life.moved[key] for key in wanted), [key for key in wanted if not life.moved[key]]


@every_case
def test_saved_and_read_back_it_gives_the_same_logits(life):
    assert life.losses["end"] != life.losses["start"]
    assert torch.equal(life.losses["end"], life.losses["reloaded"])


@every_case
def test_merged_weights_are_the_adapters_or_merging_is_refused(life):
    if METHODS.get(life.name).merges:
        assert life.merge_error == ""
        torch.testing.assert_close(life.losses["merged"], life.losses["end"], atol=1e-3, rtol=1e-4)
    else:
        assert life.merge_error


@every_method
def test_the_start_is_drawn_under_the_seed(name, tiny_models):
    loaded = loaded_of(next(m for n, m in CASES if n == name), tiny_models)
    bases = [copy.deepcopy(loaded.model) for _ in range(3)]
    one, two, other = (
        dict(made(name).attach(base, loaded.spec.family, seed, loaded.heads).named_parameters())
        for base, seed in zip(bases, (1, 1, 2), strict=True)
    )
    assert all(torch.equal(one[key], two[key]) for key in one)
    assert one.keys() == other.keys()


@every_case
def test_it_can_be_tried_on_a_model_without_storage(life):
    spec = life.loaded.spec
    bare = empty(spec, LABELS)
    heads = heads_of(bare) if spec.family == "classifier" else ()
    model = made(life.name).attach(bare, spec.family, 0, heads)
    fresh_pooler = sum(
        p.numel() for key, p in life.model.named_parameters() if p.requires_grad and "pooler" in key
    )
    assert trainable(model) == trainable(life.model) - fresh_pooler


@every_method
def test_target_modules_that_match_nothing_list_what_there_is(name, tiny_models):
    cls = METHODS.get(name)
    if "target_modules" not in {field.name for field in dataclasses.fields(cls)}:
        pytest.skip("it targets no modules")
    loaded = loaded_of("llama", tiny_models)
    with pytest.raises(ModelError) as caught:
        made(name, target_modules=("q_porj",)).attach(loaded.model, "causal", 0)
    assert str(caught.value).startswith("method.target_modules: q_porj matches no layer")
    for module in ("q_proj", "k_proj", "v_proj", "o_proj", "up_proj", "down_proj", "gate_proj"):
        assert module in str(caught.value)


@every_method
def test_a_layer_of_gpt2s_kind_is_adapted_or_refused_in_a_sentence(name, tiny_models):
    cls = METHODS.get(name)
    if getattr(cls, "conv1d", True):
        pytest.skip("it adapts them; the life above shows it")
    loaded = loaded_of("gpt2", tiny_models)
    with pytest.raises(ModelError, match=rf"^method.{name}: it cannot adapt Conv1D, the kind of"):
        made(name).attach(loaded.model, "causal", 0)


RANKS = [name for name in OURS if getattr(METHODS.get(name), "rank", None)]


@pytest.mark.parametrize("name", RANKS)
def test_a_rank_above_a_layers_width_is_refused(name, tiny_models):
    field = METHODS.get(name).rank
    loaded = loaded_of("llama", tiny_models)
    with pytest.raises(ModelError, match=rf"^method.{field}: got 34, above the width of .*_proj"):
        made(name, **{field: 34}).attach(loaded.model, "causal", 0)


def test_conv1d_layers_are_among_the_targets(tiny_models):
    loaded = loaded_of("gpt2", tiny_models)
    assert target_names(loaded.model) == ["c_attn", "c_fc", "c_proj", "lm_head"]


def test_what_peft_refuses_is_one_sentence(tiny_models):
    from peft import LoraConfig

    lora = METHODS.get("lora")(r=0)
    loaded = loaded_of("llama", tiny_models)
    with pytest.raises(ModelError, match=r"method\.lora: peft refuses it"):
        attach_peft(LoraConfig, lora, loaded.model, "causal", 0, ())
