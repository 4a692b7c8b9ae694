"""What a fine-tuning method is: parameters, and a function that attaches them to a model.

One method is one file with a frozen dataclass and one decorator. Its field names are
peft's own. torch and peft are imported inside `attach` only, so that listing and checking
methods costs nothing.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

from loratory.errors import ModelError
from loratory.registry import Registry

if TYPE_CHECKING:
    from peft import PeftConfig, PeftModel

__all__ = ["METHODS", "Family", "Method", "attach_peft", "method", "target_names"]

Family = Literal["causal", "seq2seq", "classifier"]
"""Decoder-only; encoder-decoder; an encoder or decoder with a classification head."""


class Method(Protocol):
    """A frozen dataclass registered with `@method(name)`."""

    name: ClassVar[str]
    paper: ClassVar[str]
    """Where the method comes from, as `arXiv 2106.09685`."""
    families: ClassVar[frozenset[Family]]
    """The model families it can be attached to."""

    def problems(self) -> list[str]:
        """Return what is wrong with these values, one `field: sentence` each."""

    def attach(self, model: Any, family: Family, seed: int, heads: Sequence[str] = ()) -> PeftModel:
        """Return `model` with the method's parameters added and everything else frozen.

        `heads` names modules without pre-trained weights: trained whole, and saved along.

        Raises:
            ModelError: the method does not fit the model, such as target modules that match
                nothing.
        """


METHODS: Registry[Method] = Registry("method", "loratory.methods")
method = METHODS.register


TASK_TYPES: dict[Family, str] = {
    "causal": "CAUSAL_LM",
    "seq2seq": "SEQ_2_SEQ_LM",
    "classifier": "SEQ_CLS",
}
"""peft's name for each family's task."""


def attach_peft(
    config_class: type[PeftConfig],
    settings: Any,
    model: Any,
    family: Family,
    seed: int,
    heads: Sequence[str],
) -> PeftModel:
    """Attach a method that peft implements, handing its fields on under peft's own names.

    The base weights keep their dtype, the method's are float32: small, and updated by steps
    that bfloat16 would round away. The start is drawn under `seed`.

    Raises:
        ModelError: the target modules match nothing, or peft refuses the combination.
    """
    import torch
    from peft import get_peft_model

    values = dataclasses.asdict(settings)
    targets = values.get("target_modules")
    if targets is not None:
        # peft wants its shorthand as a word and names as a list.
        values["target_modules"] = targets[0] if targets == ("all-linear",) else list(targets)
    if heads and "exclude_modules" in config_class.__dataclass_fields__:
        values["exclude_modules"] = list(heads)  # trained whole, they need no update beside
    config = config_class(
        task_type=TASK_TYPES[family], modules_to_save=list(heads) or None, **values
    )
    torch.manual_seed(seed)
    try:
        with warnings.catch_warnings():
            # peft sees by itself that GPT-2 stores its weights the other way round.
            warnings.filterwarnings("ignore", message="fan_in_fan_out is set to False")
            return get_peft_model(model, config)
    except ValueError as error:
        if "target" in str(error).lower():
            raise ModelError(
                f"method.target_modules: {', '.join(targets or ())} matches no layer of this "
                f"model. Available: {', '.join(target_names(model))}."
            ) from None
        raise ModelError(f"method.{settings.name}: peft refuses it: {error}") from None


def target_names(model: Any) -> list[str]:
    """Return the last name of every linear layer: what `target_modules` may hold."""
    kinds = ("Linear", "Conv1D")
    found = {
        name.rpartition(".")[2]
        for name, module in model.named_modules()
        if type(module).__name__ in kinds
    }
    return sorted(found)
