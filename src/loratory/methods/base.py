"""What a fine-tuning method is: parameters, and a function that attaches them to a model.

One method is one file with a frozen dataclass and one decorator. Its field names are
peft's own. torch and peft are imported inside `attach` and `training` only, so that listing
and checking methods costs nothing.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, TypeVar, cast

from loratory.errors import ModelError
from loratory.registry import Registry

if TYPE_CHECKING:
    from peft import PeftConfig, PeftModel

__all__ = [
    "METHODS",
    "Family",
    "Method",
    "PeftMethod",
    "Quantisation",
    "TrainingHooks",
    "attach_peft",
    "method",
    "quiet",
    "target_names",
]

Family = Literal["causal", "seq2seq", "classifier"]
"""Decoder-only; encoder-decoder; an encoder or decoder with a classification head."""
Quantisation = Literal["8bit", "4bit"]
"""How a frozen base model may be stored, in bitsandbytes' formats."""
EVERY_FAMILY: frozenset[Family] = frozenset({"causal", "seq2seq", "classifier"})
EVERY_BASE: frozenset[Quantisation] = frozenset({"8bit", "4bit"})


@dataclass(frozen=True)
class TrainingHooks:
    """What a method asks of the training loop, beside gradient steps."""

    begin: Callable[[int, int], None] | None = None
    """Called before the first step with the steps already taken, and those of the whole."""
    after_step: Callable[[int], None] | None = None
    """Called with a step's number, from 1, when the optimiser has moved the parameters and their
    gradients are still there."""
    learning_rates: Mapping[str, float] = field(default_factory=dict)
    """Part of a parameter's name to the factor on its learning rate."""
    penalty: Callable[[], Any] | None = None
    """Gives a scalar that is added to the mean loss of an optimiser step."""
    start: Callable[[Iterable[dict[str, Any]]], None] | None = None
    """Sees batches of training rows before the first step, to set the parameters' start by them
    or to refuse them; not called on a resume."""
    start_on_texts: Callable[[Iterable[dict[str, Any]]], None] | None = None
    """As `start`, but sees general texts, one a batch, in the place of training rows: those of
    `remedy.replay_data`."""
    finish: Callable[[], None] | None = None
    """Called when training is over and the best state is there, before it is saved."""
    state: Callable[[], Sequence[dict[str, Any]]] | None = None
    """Gives mappings of tensors that change in training and that a resume must find again. Where
    it is given, a checkpoint also holds the trained parameters as they are, since peft's file
    holds something that is made of them."""


class Method(Protocol):
    """A frozen dataclass registered with `@method(name)`; inherit it for the defaults."""

    name: ClassVar[str]
    paper: ClassVar[str]
    """Where the method comes from, as `arXiv 2106.09685`."""
    families: ClassVar[frozenset[Family]]
    """The model families it can be attached to."""
    merges: ClassVar[bool] = False
    """Whether its trained weights can be merged into the base model's, by peft's
    `merge_and_unload`, so that a plain model of the same architecture remains."""
    quantised: ClassVar[frozenset[Quantisation]] = frozenset()
    """The quantised bases it can be trained on; empty for floating-point weights alone."""
    defined_in: ClassVar[str] = ""
    """A module to import before peft can read the method's files; empty if peft has it."""

    def problems(self) -> list[str]:
        """Return what is wrong with these values, one `field: sentence` each."""

    def unfit(self, quantization: str) -> str:
        """Return why it cannot be trained on a base model stored so, or an empty text.

        Args:
            quantization: `none`, `8bit` or `4bit`.
        """
        if quantization == "none" or quantization in self.quantised:
            return ""
        able = sorted(
            name for name in METHODS.names() if quantization in METHODS.get(name).quantised
        )
        return (
            f"model.quantization: {self.name} cannot be trained on a {quantization} base model. "
            f"Take model.quantization: none, or one of the methods that can: {', '.join(able)}."
        )

    def attach(self, model: Any, family: Family, seed: int, heads: Sequence[str] = ()) -> PeftModel:
        """Return `model` with the method's parameters added and everything else frozen.

        `heads` names modules without pre-trained weights: trained whole, and saved along.

        Raises:
            ModelError: the method does not fit the model, such as target modules that match
                nothing.
        """

    def training(self, model: Any) -> TrainingHooks:  # noqa: ARG002
        """Return what the training loop must do for this method.

        Args:
            model: what `attach` returned.
        """
        return TrainingHooks()


METHODS: Registry[Method] = Registry("method", "loratory.methods")

T = TypeVar("T")
OPTIONAL = ("merges", "quantised", "defined_in", "unfit", "training")


def method(name: str) -> Callable[[type[T]], type[T]]:
    """Return a class decorator that files a method; what it leaves out is as in `Method`."""

    def decorate(cls: type[T]) -> type[T]:
        for member in OPTIONAL:
            if not hasattr(cls, member):
                setattr(cls, member, getattr(Method, member))
        METHODS.register(name)(cast("type[Method]", cls))
        return cls

    return decorate


TASK_TYPES: dict[Family, str] = {
    "causal": "CAUSAL_LM",
    "seq2seq": "SEQ_2_SEQ_LM",
    "classifier": "SEQ_CLS",
}
"""peft's name for each family's task."""


class PeftMethod(Method):
    """A method that peft implements: its fields are handed on under peft's own names."""

    peft_config: ClassVar[str]
    """Name of peft's class of settings, such as `LoraConfig`."""
    conv1d: ClassVar[bool] = True
    """Whether it can adapt `Conv1D`, the kind of layer that GPT-2 is made of."""
    rank: ClassVar[str | None] = None
    """The field that is a rank, and so must not be above the width of a layer."""
    reads_weights: ClassVar[bool] = False
    """Whether attaching looks at the weights, so that they cannot be without storage."""

    def attach(self, model: Any, family: Family, seed: int, heads: Sequence[str] = ()) -> PeftModel:
        settings = self.fill(model)
        return attach_peft(self.config_class(), self, model, family, seed, heads, **settings)

    def config_class(self) -> type[PeftConfig]:
        """Return peft's class of settings."""
        import peft

        found: type[PeftConfig] = getattr(peft, self.peft_config)
        return found

    def fill(self, model: Any) -> dict[str, Any]:  # noqa: ARG002
        """Return settings of peft's that hang on the model, or replace fields."""
        return {}


NO_MATCH = ("not found in the base model", "No layers types compatible")
"""Parts of what peft says when target modules match nothing."""
EXPECTED = (
    "fan_in_fan_out is set to False",  # peft sees by itself how GPT-2 stores its weights
    "Failed to load the CUDA extension",  # BOFT does without it
    "Setting boft_n_butterfly_factor to 1",
    "Unsupported layer type",  # normalisation layers are what LN tuning is for
    "Sparse invariant checks are implicitly disabled",
    "Detected that the base layer has no bias term",  # BEFT is not merged anyway
    "Position ids are not supported",  # predictions are made so that none are needed
)


def attach_peft(
    config_class: type[PeftConfig],
    settings: Any,
    model: Any,
    family: Family,
    seed: int,
    heads: Sequence[str],
    **given: Any,
) -> PeftModel:
    """Attach a method that peft implements, handing its fields on under peft's own names.

    The base weights keep their dtype, the method's are float32: small, and updated by steps
    that bfloat16 would round away. The start is drawn under `seed`. A field whose metadata says
    `peft: False` is not handed on; what is given besides is, and replaces fields.

    Raises:
        ModelError: the target modules match nothing, or peft refuses the combination.
    """
    import torch
    from peft import get_peft_model

    values = {
        f.name: _listed(getattr(settings, f.name))
        for f in dataclasses.fields(settings)
        if f.metadata.get("peft", True)
    } | given
    known = config_class.__dataclass_fields__
    targets = values.get("target_modules")
    if targets == ["all-linear"]:
        values["target_modules"] = "all-linear"  # peft wants its shorthand as a word
    if heads and "exclude_modules" in known:
        values["exclude_modules"] = list(heads)  # trained whole, they need no update beside
    elif heads and targets == ["all-linear"]:
        values["target_modules"] = _linear_layers(model, heads)
    if "modules_to_save" in known:
        values["modules_to_save"] = list(heads) or None
    made_of_conv1d = any(type(module).__name__ == "Conv1D" for module in model.modules())
    if made_of_conv1d and not getattr(settings, "conv1d", True):
        raise ModelError(
            f"method.{settings.name}: it cannot adapt Conv1D, the kind of layer this model is made "
            "of. Take another method, such as lora, or another model."
        )
    if getattr(settings, "reads_weights", False) and next(model.parameters()).is_meta:
        model = _with_storage(model)
    torch.manual_seed(seed)
    try:
        with quiet():
            attached = get_peft_model(model, config_class(task_type=TASK_TYPES[family], **values))
    except (ValueError, TypeError, NotImplementedError, AttributeError, AssertionError) as error:
        text = " ".join(str(error).split())
        if targets and any(part in text for part in NO_MATCH):
            raise ModelError(
                f"method.target_modules: {', '.join(targets)} matches no layer of this "
                f"model. Available: {', '.join(target_names(model))}."
            ) from None
        if isinstance(error, (AttributeError, AssertionError)) and not text:
            raise
        raise ModelError(f"method.{settings.name}: peft refuses it: {text}") from None
    _check_rank(settings, attached)
    return attached


@contextmanager
def quiet() -> Iterator[None]:
    """Keep back what peft warns of where nothing is wrong."""
    with warnings.catch_warnings():
        for message in EXPECTED:
            warnings.filterwarnings("ignore", message=message)
        yield


def _check_rank(settings: Any, attached: Any) -> None:
    """Refuse a rank above the width of an adapted layer: it would add parameters, not freedom."""
    field_name = getattr(settings, "rank", None)
    if field_name is None:
        return
    rank = getattr(settings, field_name)
    for name, module in attached.named_modules():
        if not (hasattr(module, "get_base_layer") and hasattr(module, "in_features")):
            continue
        sizes = (module.in_features, module.out_features)
        if rank > (width := min(sizes)):
            layer = name.removeprefix("base_model.model.")
            raise ModelError(
                f"method.{field_name}: got {rank}, above the width of {layer} "
                f"({sizes[0]} inputs, {sizes[1]} outputs). Choose at most {width}, or leave that "
                "layer out of target_modules."
            )


def _with_storage(model: Any) -> Any:
    """Give a model without storage random weights, for methods that look at them."""
    model = model.to_empty(device="cpu")
    for parameter in model.parameters():
        parameter.data.normal_(std=0.02)
    return model


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _linear_layers(model: Any, heads: Sequence[str]) -> list[str]:
    """Return the paths of the linear layers outside the heads."""
    output = model.get_output_embeddings()
    return [
        name
        for name, module in model.named_modules()
        if type(module).__name__ in LINEAR
        and module is not output
        and not any(name == head or name.startswith(f"{head}.") for head in heads)
    ]


LINEAR = ("Linear", "Conv1D", "Linear8bitLt", "Linear4bit")


def target_names(model: Any) -> list[str]:
    """Return the last name of every linear layer: what `target_modules` may hold."""
    found = {
        name.rpartition(".")[2]
        for name, module in model.named_modules()
        if type(module).__name__ in LINEAR
    }
    return sorted(found)
