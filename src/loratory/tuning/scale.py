"""An adapter at other strengths than it was trained at: what each brings to the task and costs.

Walking the straight line from the base model to the tuned one, and beyond, needs no training
(Wortsman et al. 2021, arXiv 2109.01903). The adapter is scaled in memory; `loratory interpolate`
writes the one that is chosen.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from peft import PeftConfig

from loratory.errors import ConfigError, ModelError
from loratory.metrics.likelihood import Perplexity
from loratory.progress import Progress, Silent
from loratory.records import ScalePoint
from loratory.tasks.probes.base import Item
from loratory.tuning.arithmetic import SCALED
from loratory.tuning.encode import Encoded
from loratory.tuning.judge import judge
from loratory.tuning.model import Resolved
from loratory.tuning.validation import mean_loss

__all__ = ["SCALES", "check_scalable", "scaled", "sweep_scales"]

SCALES = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25)
QUIET = Silent()


def check_scalable(adapter: Path) -> None:
    """Refuse an adapter whose update no factor can turn down.

    Args:
        adapter: its folder.

    Raises:
        ModelError: a method whose update cannot be scaled by one factor, or one that trains
            modules whole, such as a head, of which the base model has none.
    """
    _check(PeftConfig.from_pretrained(adapter))


@contextmanager
def scaled(model: Any, scale: float) -> Iterator[None]:
    """Let the adapter's update count `scale` times within the context: 0 is the base model.

    Raises:
        ModelError: as for `check_scalable`.
    """
    adapter = model.active_adapter
    _check(model.peft_config[adapter])
    kind = _kind(model.peft_config[adapter])
    parts = ("ia3_l",) if kind == "IA3" else SCALED[kind]
    chosen = [
        parameter
        for name, parameter in model.named_parameters()
        if _own_name(name, adapter) in parts
    ]
    kept = [parameter.detach().clone() for parameter in chosen]
    try:
        with torch.no_grad():
            for parameter in chosen:
                if kind == "IA3":  # it multiplies: 1 leaves the activations as they are
                    parameter.sub_(1).mul_(scale).add_(1)
                else:
                    parameter.mul_(scale)
        yield
    finally:
        with torch.no_grad():
            for parameter, value in zip(chosen, kept, strict=True):
                parameter.copy_(value)


def _check(config: Any) -> None:
    if refused := _refused(_kind(config), config):
        raise ModelError(f"the scale of this adapter cannot be swept: {refused}")


def _kind(config: Any) -> str:
    return str(getattr(config.peft_type, "value", config.peft_type))


def _own_name(name: str, adapter: str) -> str:
    """Return `lora_B` of `….q_proj.lora_B.default.weight`."""
    return [part for part in name.split(".") if part not in (adapter, "weight")][-1]


def _refused(kind: str, config: Any) -> str:
    if kind != "IA3" and kind not in SCALED:
        known = ", ".join(sorted([*SCALED, "IA3"]))
        return f"it is {kind}, and these can be scaled: {known}."
    if getattr(config, "use_dora", False):
        return "DoRA's update is not linear."
    if getattr(config, "bias", "none") != "none" or getattr(
        config, "trainable_token_indices", None
    ):
        return "it has trained biases or tokens."
    if getattr(config, "modules_to_save", None):
        return "it has modules trained whole, such as a head, and the base model has none of them."
    return ""


def sweep_scales(
    model: Any,
    spec: Resolved,
    rows: Sequence[Encoded],
    texts: Sequence[Item],
    scales: Sequence[float] = SCALES,
    *,
    batch_size: int = 16,
    max_tokens: int = 256,
    progress: Progress = QUIET,
) -> list[ScalePoint]:
    """Return gain on the task against forgetting for each scale of an adapter, by scale.

    The gain is how much the loss of a supervised token falls, the forgetting how much that of a
    token of general text rises, both in nats and against the base model. Take validation rows:
    a scale chosen on the test rows would make their scores too good.

    Args:
        model: with a trained adapter on it.
        spec: the base model.
        rows: of the task, encoded with their answers.
        texts: plain texts, as of embedded:text.
        scales: 0, the base model, is added where it is missing.
        batch_size: rows in one forward pass.
        max_tokens: texts are cut to so many.
        progress: hears of every scale.

    Raises:
        ConfigError: no rows, no texts, or a text that is a question.
        ModelError: as for `scaled`.
    """
    if not rows:
        raise ConfigError("scales: there are no rows of the task to measure the gain on.")
    if not texts or not all(item.plain for item in texts):
        raise ConfigError("scales: forgetting is measured on plain texts, such as embedded:text.")
    wanted = sorted({0.0, *scales})
    progress.begin("scale", len(wanted))
    found = []
    for scale in wanted:
        with scaled(model, scale):
            task = mean_loss(model, spec, rows, batch_size)
            judged = judge(
                model,
                spec,
                texts,
                batch_size=batch_size,
                max_tokens=max_tokens,
                progress=QUIET,
                title="scale",
            )
        nats, tokens, _ = Perplexity().statistics(judged).sum(axis=0)
        found.append((scale, task, float(nats / tokens)))
        progress.advance(1)
    start = next(item for item in found if item[0] == 0)
    return [ScalePoint(scale, start[1] - task, text - start[2]) for scale, task, text in found]
