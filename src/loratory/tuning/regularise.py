"""What is added to the loss so that a model stays near its base: replay, KL, and L2 on the update.

The divergence is KL(base ‖ tuned) over the vocabulary at each supervised place, which is learning
without forgetting (Li and Hoiem 2016, arXiv 1606.09282) on the training rows. The base model is at
hand: it is the tuned one with its adapter switched off. L2 on the update is weight decay towards
the start (Xuhong et al. 2018, arXiv 1802.01483). For LoRA it is of the product s B A, whose
squared Frobenius norm is s² tr((BᵀB)(AAᵀ)): two matrices of rank by rank, never the product.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from peft.tuners.lora.layer import LoraLayer
from torch import Tensor
from torch.nn import functional

from loratory.config import TrainConfig
from loratory.config.remedy import RemedyConfig
from loratory.errors import ConfigError
from loratory.methods.base import Family, quiet
from loratory.tuning.loss import loss_sum, supervised_logits
from loratory.tuning.model import Resolved
from loratory.tuning.replay import Replay
from loratory.tuning.starts import A0, B0

__all__ = ["Remedies", "Update", "base_logits", "check_remedies", "divergence", "remedies_of"]


def check_remedies(config: RemedyConfig, family: Family, method: Any) -> None:
    """Refuse remedies that a model or a method cannot have.

    Args:
        config: the recipe's remedy section.
        family: of the model.
        method: the recipe's method.

    Raises:
        ConfigError: one sentence for each field.
    """
    problems = []
    if family == "classifier":
        if config.replays:
            problems.append(
                "remedy.replay_share: a classification head predicts no text, so there is nothing "
                "to replay. Leave it at 0."
            )
        if config.kl_weight:
            problems.append(
                "remedy.kl_weight: the head is new, so the base model has no answers to stay near. "
                "Leave it at 0."
            )
    if config.kl_weight and getattr(method, "bias", "none") != "none":
        problems.append(
            f"remedy.kl_weight: method.bias: {method.bias} trains terms of the base model, which "
            "are not switched off with the adapter. Set method.bias: none."
        )
    if problems:
        raise ConfigError(problems)


class Update:
    """How far an adapter has moved the model from its base.

    Layers with LoRA's A and B count by their product, everything else that is trained by its
    distance from where it stood when this was made. Modules that are trained whole, such as a new
    head, are left out: they have no start worth keeping.

    Args:
        model: with the adapter attached and not yet trained.
    """

    def __init__(self, model: Any) -> None:
        self._layers: list[tuple[Any, str]] = []
        seen: set[int] = set()
        adapter = model.active_adapter
        for module in model.modules():
            if isinstance(module, LoraLayer) and (pair := _factors(module, adapter)):
                self._layers.append((module, adapter))
                seen |= {id(factor) for factor in pair}
        self._others = [
            (parameter, parameter.detach().clone())
            for name, parameter in model.named_parameters()
            if parameter.requires_grad
            and id(parameter) not in seen
            and "modules_to_save" not in name
        ]

    @property
    def kept_bytes(self) -> int:
        """Return the size of the starts that are kept."""
        return sum(start.numel() * start.element_size() for _, start in self._others)

    def squared_norm(self) -> Tensor:
        """Return the squared Frobenius norm of the whole update, a scalar in float32."""
        parts = [_squared_product(*pair) for pair in map(self._scaled, self._layers)]
        parts += [(now - start).float().square().sum() for now, start in self._others]
        return torch.stack(parts).sum() if parts else torch.zeros(())

    def _scaled(self, layer: tuple[Any, str]) -> tuple[Tensor, Tensor]:
        module, adapter = layer
        pair = _factors(module, adapter)
        assert pair is not None
        a, b = (factor.float() for factor in pair)
        if hasattr(module, A0):  # a start that is taken off the layer's result
            a = torch.cat([a, getattr(module, A0).float()])
            b = torch.cat([b, -getattr(module, B0).float()], dim=1)
        return a, module.scaling[adapter] * b


def _factors(module: Any, adapter: str) -> tuple[Tensor, Tensor] | None:
    """Return A, shape (r, in), and B, shape (out, r), of a layer that has both as matrices."""
    for first, second in (("lora_A", "lora_B"), ("lora_embedding_A", "lora_embedding_B")):
        a, b = (dict(getattr(module, name, {})).get(adapter) for name in (first, second))
        if isinstance(a, torch.nn.Linear) and isinstance(b, torch.nn.Linear):
            return a.weight, b.weight
        # AdaLoRA's are parameters too, but a third factor stands between them.
        if isinstance(a, torch.nn.Parameter) and first == "lora_embedding_A":
            return a, b
    return None


def _squared_product(a: Tensor, b: Tensor) -> Tensor:
    """Return ‖B A‖² as tr((BᵀB)(AAᵀ))."""
    return ((b.T @ b) * (a @ a.T)).sum()


def base_logits(model: Any, batch: dict[str, Any]) -> Tensor:
    """Return the base model's logits of the supervised places, shape (N, V), without a graph.

    Args:
        model: with the adapter on it; it is switched off meanwhile.
        batch: what `collate` gave.
    """
    inner = getattr(model, "module", model)  # out of torch's wrapper for several processes
    training = inner.training
    inner.eval()  # the base model as it answers, without dropout
    try:
        with torch.no_grad(), quiet(), inner.disable_adapter():
            logits, _ = supervised_logits(inner, batch)
    finally:
        inner.train(training)
    return logits


def divergence(base: Tensor, tuned: Tensor) -> Tensor:
    """Return the mean KL(base ‖ tuned) of rows of logits, in nats; both of shape (N, V)."""
    old, new = (logits.float().log_softmax(dim=-1) for logits in (base, tuned))
    return functional.kl_div(new, old, reduction="batchmean", log_target=True)


class Remedies:
    """What a recipe's remedies add to the mean loss of a step.

    Args:
        config: the recipe's remedy section.
        model: with the adapter attached and not yet trained.
        replay: general texts; None without replay.
        accumulation: forward passes in an optimiser step.
        rank: number of this process, from 0.
        world: processes.
    """

    def __init__(
        self,
        config: RemedyConfig,
        model: Any,
        replay: Replay | None,
        *,
        accumulation: int = 1,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self.config = config
        self.replay = replay
        self.update = Update(model) if config.l2_weight else None
        self.accumulation = accumulation
        self.rank, self.world = rank, world
        self._step, self._pass = -1, 0

    @property
    def compares(self) -> bool:
        """Return whether the logits of training rows are held against the base model's."""
        return bool(self.config.kl_weight)

    def added(self, model: Any, batch: dict[str, Any], logits: Tensor | None, step: int) -> Tensor:
        """Return what is added to the mean loss of one forward pass, a scalar in nats.

        Args:
            model: as the training has it.
            batch: training rows, on the model's device.
            logits: of their supervised places, shape (N, V), with a graph; where `compares`.
            step: optimiser steps already taken.
        """
        self._pass = self._pass + 1 if step == self._step else 0
        self._step = step
        device = batch["labels"].device
        total = torch.zeros((), device=device)
        if self.compares:
            assert logits is not None
            total = total + self.config.kl_weight * divergence(base_logits(model, batch), logits)
        if self.update is not None:
            norm = self.update.squared_norm().to(device)
            total = total + self.config.l2_weight * norm
        if self.replay is not None:
            number = (step * self.accumulation + self._pass) * self.world + self.rank
            texts = {k: v.to(device) for k, v in self.replay.batch(number).items()}
            loss, count = loss_sum(model, texts)
            total = total + self.config.replay_weight * loss / count
        return total


def remedies_of(
    config: RemedyConfig,
    model: Any,
    spec: Resolved,
    texts: Sequence[str],
    train: TrainConfig,
    *,
    seed: int,
    rank: int = 0,
    world: int = 1,
) -> Remedies | None:
    """Return the remedies of a recipe, or None where all are off.

    Args:
        config: the recipe's remedy section.
        model: with the adapter attached and not yet trained.
        spec: the base model.
        texts: to replay; unused without replay.
        train: the recipe's train section.
        seed: of the texts' order.
        rank: number of this process, from 0.
        world: processes.

    Raises:
        ConfigError: texts without a token.
    """
    if not config.active:
        return None
    replay = None
    if config.replays:
        replay = Replay(
            spec,
            texts,
            share=config.replay_share,
            batch_size=train.per_device_train_batch_size,
            max_tokens=config.replay_tokens,
            seed=seed,
            shift_right=getattr(model, "prepare_decoder_input_ids_from_labels", None),
        )
    return Remedies(
        config,
        model,
        replay,
        accumulation=train.gradient_accumulation_steps,
        rank=rank,
        world=world,
    )
