"""AdaLoRA: adaptive budget allocation (Zhang et al. 2023, arXiv 2303.10512).

The update is B E A with E diagonal: a singular value decomposition, kept near orthogonal by a
penalty. Every layer starts with rank init_r; in training, singular values of little importance
are set to zero, wherever they are, until target_r is left on average.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from loratory.errors import ConfigError
from loratory.methods.base import (
    EVERY_BASE,
    EVERY_FAMILY,
    Family,
    PeftMethod,
    Quantisation,
    TrainingHooks,
    method,
)
from loratory.methods.checks import above_zero, at_least_one, names_layers, share

if TYPE_CHECKING:
    from collections.abc import Sequence

    from peft import PeftModel

__all__ = ["AdaLora"]


@method("adalora")
@dataclass(frozen=True)
class AdaLora(PeftMethod):
    """LoRA whose ranks move, while it is trained, to the layers that need them."""

    name: ClassVar[str]
    paper: ClassVar[str] = "arXiv 2303.10512"
    families: ClassVar[frozenset[Family]] = EVERY_FAMILY
    merges: ClassVar[bool] = True
    quantised: ClassVar[frozenset[Quantisation]] = EVERY_BASE
    rank: ClassVar[str | None] = "init_r"
    peft_config: ClassVar[str] = "AdaLoraConfig"

    init_r: int = 12
    """Rank of every layer at the start."""
    target_r: int = 8
    """Mean rank at the end."""
    tinit: float = 0.1
    """Steps before the first reallocation; below 1 a share of all steps."""
    tfinal: float = 0.3
    """Steps after the last reallocation; below 1 a share of all steps."""
    deltaT: int = 1  # noqa: N815 - peft's name
    """Steps from one reallocation to the next."""
    beta1: float = 0.85
    """Smoothing of a weight's importance over the steps."""
    beta2: float = 0.85
    """Smoothing of that importance's uncertainty."""
    orth_reg_weight: float = 0.5
    """Weight of the penalty that keeps A and B near orthogonal."""
    lora_alpha: float = 16.0
    """Scale of the update, divided by init_r."""
    lora_dropout: float = 0.0
    """Share of the update's inputs dropped in training."""
    target_modules: tuple[str, ...] = ("all-linear",)
    """Names of the layers that are adapted; all-linear is every linear layer but the head."""
    bias: Literal["none", "all", "lora_only"] = "none"
    """Which bias terms are trained as well."""

    def problems(self) -> list[str]:
        found = [
            *at_least_one("target_r", self.target_r),
            *at_least_one("deltaT", self.deltaT),
            *above_zero("lora_alpha", self.lora_alpha),
            *share("lora_dropout", self.lora_dropout),
            *names_layers(self.target_modules),
        ]
        if self.init_r <= self.target_r:
            found.append(f"init_r: got {self.init_r}; it must be above target_r {self.target_r}.")
        for field in ("beta1", "beta2"):
            value = getattr(self, field)
            if not 0 < value < 1:
                found.append(f"{field}: got {value}; it must be in (0, 1).")
        for field in ("tinit", "tfinal"):
            value = getattr(self, field)
            if not value >= 0 or (value >= 1 and not float(value).is_integer()):
                found.append(
                    f"{field}: got {value}; a whole number of steps, or below 1 a share of all."
                )
        if self.tinit < 1 and self.tfinal < 1 and self.tinit + self.tfinal >= 1:
            found.append("tfinal: with tinit it leaves no step for reallocating; lower it.")
        if not self.orth_reg_weight >= 0:
            found.append(f"orth_reg_weight: got {self.orth_reg_weight}; it must not be below 0.")
        return found

    def fill(self, model: Any) -> dict[str, Any]:  # noqa: ARG002
        # The number of steps is known, and set, when training begins.
        return {"tinit": 0, "tfinal": 0, "total_step": 1}

    def attach(self, model: Any, family: Family, seed: int, heads: Sequence[str] = ()) -> PeftModel:
        attached = super().attach(model, family, seed, heads)
        for name, parameter in attached.named_parameters():
            if ".ranknum." in name:  # a constant; on a model without storage peft forgets that
                parameter.requires_grad = False
        return attached

    def training(self, model: Any) -> TrainingHooks:
        allocation = _Allocation(self, model)
        return TrainingHooks(
            begin=allocation.begin,
            after_step=allocation.after_step,
            penalty=lambda: self.orth_reg_weight * _departure(model),
            state=lambda: _importance(model.base_model.rankallocator),
        )

    def phases(self, total: int) -> tuple[int, int]:
        """Return `tinit` and `tfinal` in whole steps of a training of `total`.

        Raises:
            ConfigError: they leave no step for reallocating.
        """
        first, last = (
            int(value * total) if value < 1 else int(value) for value in (self.tinit, self.tfinal)
        )
        if first + last >= total:
            raise ConfigError(
                f"method.tfinal: {last} steps, with tinit {first}, leave none of the {total} steps "
                "for reallocating ranks. Lower them, or train longer."
            )
        return first, last


def _departure(model: Any) -> Any:
    """Return how far A and B are from orthogonal: the mean Frobenius norm of P Pᵀ − I."""
    import torch

    norms = []
    for name, p in model.named_parameters():
        if ".lora_A." in name or ".lora_B." in name:
            gram = p @ p.T if ".lora_A." in name else p.T @ p
            norms.append(torch.linalg.matrix_norm(gram - torch.eye(len(gram), device=p.device)))
    return torch.stack(norms).mean()


def _importance(allocator: Any) -> list[dict[str, Any]]:
    """Return how important each weight has been so far: what a resume must not forget."""
    return [allocator.ipt, allocator.exp_avg_ipt, allocator.exp_avg_unc]


class _Allocation:
    """Calls peft's `update_and_allocate` at every step, which nothing in transformers does.

    Meanwhile the pattern of ranks is kept from peft's config: with it a checkpoint would hold
    matrices cut to their ranks, which do not fit back on the model being trained.
    """

    def __init__(self, settings: AdaLora, model: Any) -> None:
        self.settings = settings
        self.model = model
        self.pattern: dict[str, list[bool]] | None = None

    def begin(self, step: int, total: int) -> None:
        config = self.model.peft_config[self.model.active_adapter]
        config.total_step = total
        config.tinit, config.tfinal = self.settings.phases(total)
        if step >= total - config.tfinal:
            # Resumed after the last allocation: what was set to zero stays so.
            self.pattern = {
                name: (p != 0).flatten().tolist()
                for name, p in self.model.base_model.model.named_parameters()
                if ".lora_E." in name
            }

    def after_step(self, step: int) -> None:
        config = self.model.peft_config[self.model.active_adapter]
        config.rank_pattern = self.pattern
        self.model.base_model.update_and_allocate(step)
        self.pattern, config.rank_pattern = config.rank_pattern, None
