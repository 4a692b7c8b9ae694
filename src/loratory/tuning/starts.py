"""LoRA's starts that are taken from the weights: PiSSA, OLoRA and LoftQ. `corda` has CorDA's.

PiSSA (Meng et al. 2024, arXiv 2404.02948) and OLoRA (Büyükakyüz 2024, arXiv 2406.01775) train a
part of W itself: W₀ = s B₀ A₀ is taken out of W and becomes the start of B and A. The papers
change W. Here W stays as it is, and each layer takes s B₀ A₀ x off its result: the same function
and the same gradients, exact where W is bfloat16 or quantised too. At the end
s (B A − B₀ A₀) is written as one plain LoRA of rank 2r, [B, −B₀] [A; A₀], which goes onto the
unchanged base model anywhere.

LoftQ (Li et al. 2023, arXiv 2310.08659) starts A and B at the best approximation of rank r to
what quantising took from the weights: one step of the paper's alternation, the quantised
weights being what they are.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from peft.tuners.lora.layer import LoraLayer, LoraVariant
from peft.utils.integrations import dequantize_module_weight
from safetensors import safe_open
from torch import Tensor
from transformers.pytorch_utils import Conv1D

from loratory.errors import ModelError

__all__ = [
    "compensate",
    "fill",
    "held",
    "hold",
    "linear_layers",
    "olora",
    "pissa",
    "settle",
    "split",
    "weight_of",
]

A0, B0 = "loratory_start_A", "loratory_start_B"
"""Names of the buffers that hold a layer's start; they are not saved."""


def pissa(weight: Tensor, r: int, iterations: int | None = None) -> tuple[Tensor, Tensor]:
    """Return A (r, in) and B (out, r) whose product B A is the best approximation of rank r.

    Both get the square roots of the singular values.

    Args:
        weight: shape (out, in).
        r: at most the smaller side.
        iterations: of the power method, for an approximate decomposition; None is exact.
    """
    if iterations is None:
        u, s, vt = torch.linalg.svd(weight, full_matrices=False)
    else:
        u, s, v = torch.svd_lowrank(weight, q=r, niter=iterations)
        vt = v.T
    root = s[:r].sqrt()
    return root[:, None] * vt[:r], u[:, :r] * root


def olora(weight: Tensor, r: int) -> tuple[Tensor, Tensor]:
    """Return the first r rows of R and columns of Q, of the weight's QR decomposition.

    Args:
        weight: shape (out, in).
        r: at most the smaller side.
    """
    q, upper = torch.linalg.qr(weight)
    return upper[:r].contiguous(), q[:, :r].contiguous()


class WithoutStart(LoraVariant):  # type: ignore[misc,unused-ignore]
    """A LoRA layer that takes its start off its result."""

    @staticmethod
    def forward(module: Any, active_adapter: str, x: Tensor, result: Tensor, **_: Any) -> Tensor:
        """Return the layer's result, to which `result` is what its frozen weight gives."""
        a, b = module.lora_A[active_adapter], module.lora_B[active_adapter]
        x = x.to(a.weight.dtype)
        trained = b(a(module.lora_dropout[active_adapter](x)))
        start = x @ getattr(module, A0).T @ getattr(module, B0).T
        return result + module.scaling[active_adapter] * (trained - start)


def split(model: Any, start: str) -> None:
    """Start A and B at a part of each weight, and take that part off the layers' results.

    The model gives what it gave before. A model without storage gets tensors of the right shape.

    Args:
        model: with peft's LoRA attached.
        start: `pissa`, `pissa_niter_N` or `olora`.

    Raises:
        ModelError: an adapted layer is no linear one.
    """
    adapter = model.active_adapter
    for name, layer in linear_layers(model):
        a, b = layer.lora_A[adapter].weight, layer.lora_B[adapter].weight
        if not a.is_meta:
            first, second = _part(start, weight_of(layer), layer.r[adapter])
            if start != "olora":
                # s B A is the weight's main part. OLoRA leaves Q and R as they are, as peft does.
                root = math.sqrt(layer.scaling[adapter])
                first, second = first / root, second / root
            fill(a, first, name)
            fill(b, second, name)
    hold(model)


def hold(model: Any) -> None:
    """Let each layer take what its A and B are now off its result, in the place of any before.

    The model then gives what its base gives.

    Args:
        model: with peft's LoRA attached.

    Raises:
        ModelError: an adapted layer is no linear one.
    """
    adapter = model.active_adapter
    for _, layer in linear_layers(model):
        for name, factor in ((A0, layer.lora_A[adapter]), (B0, layer.lora_B[adapter])):
            layer.register_buffer(name, factor.weight.detach().clone(), persistent=False)
        layer.lora_variant[adapter] = WithoutStart()


def held(model: Any) -> list[dict[str, Any]]:
    """Return the start that each layer holds, as mappings a resume can fill anew."""
    return [layer._buffers for _, layer in linear_layers(model)]


def _part(start: str, weight: Tensor, r: int) -> tuple[Tensor, Tensor]:
    if start == "olora":
        return olora(weight, r)
    steps = start.removeprefix("pissa").removeprefix("_niter_")
    return pissa(weight, r, int(steps) if steps else None)


def settle(model: Any) -> None:
    """Make a trained model of `hold` one with a plain LoRA of rank 2r, which gives the same.

    Its trained A and B, and the start with a minus, become one A and one B.
    """
    adapter = model.active_adapter
    config = model.peft_config[adapter]
    for _, layer in linear_layers(model):
        a, b = layer.lora_A[adapter], layer.lora_B[adapter]
        with torch.no_grad():
            first = torch.cat([a.weight, getattr(layer, A0)])
            second = torch.cat([b.weight, -getattr(layer, B0)], dim=1)
        a.weight, b.weight = torch.nn.Parameter(first), torch.nn.Parameter(second)
        a.out_features = b.in_features = len(first)
        delattr(layer, A0)
        delattr(layer, B0)
        del layer.lora_variant[adapter]
        layer.r[adapter] = len(first)
        layer.lora_alpha[adapter] = _doubled(layer.lora_alpha[adapter], config.use_rslora)
    config.lora_alpha = _doubled(config.lora_alpha, config.use_rslora)
    config.r = 2 * config.r


def _doubled(alpha: float, use_rslora: bool) -> float:
    """Return the alpha with which twice the rank has the scale it had."""
    return alpha * (math.sqrt(2) if use_rslora else 2)


def compensate(model: Any) -> None:
    """Start A and B at what quantising took from each weight: LoftQ.

    Args:
        model: quantised by bitsandbytes, with peft's LoRA attached; without storage, nothing is
            done.

    Raises:
        ModelError: the unquantised weights are not at hand, or an adapted layer is no linear one.
    """
    adapter = model.active_adapter
    layers = dict(linear_layers(model))
    if any(layer.lora_A[adapter].weight.is_meta for layer in layers.values()):
        return
    with ExitStack() as opened:
        files = [
            opened.enter_context(safe_open(file, framework="pt"))
            for file in sorted(_folder(model).glob("*.safetensors"))
        ]
        held = {key: file for file in files for key in file.keys()}  # noqa: SIM118
        for name, layer in layers.items():
            key = _key(name, model.get_base_model().base_model_prefix, held)
            original = held[key].get_tensor(key).float()
            if issubclass(getattr(layer.get_base_layer(), "source_cls", object), Conv1D):
                original = original.T
            quantised = weight_of(layer)
            lost = original.to(quantised.device) - quantised
            first, second = pissa(lost / layer.scaling[adapter], layer.r[adapter])
            fill(layer.lora_A[adapter].weight, first, name)
            fill(layer.lora_B[adapter].weight, second, name)


def _folder(model: Any) -> Path:
    """Return the folder with the base model's files, a Hub model's in its cache."""
    base = model.get_base_model()
    path = Path(base.name_or_path)
    if path.is_dir():
        return path
    from huggingface_hub import snapshot_download

    commit = getattr(base.config, "_commit_hash", None)
    try:
        return Path(snapshot_download(base.name_or_path, revision=commit, local_files_only=True))
    except Exception:
        raise ModelError(
            f"method.init_lora_weights: loftq needs the unquantised weights of "
            f"{base.name_or_path}, whose files are not on this machine. Download the model first, "
            "or leave it at true."
        ) from None


def _key(name: str, prefix: str, held: Any) -> str:
    """Return a layer's name in the files, with or without the body's name before it."""
    for key in (name, name.removeprefix(f"{prefix}."), f"{prefix}.{name}"):
        if f"{key}.weight" in held:
            return f"{key}.weight"
    raise ModelError(
        f"method.init_lora_weights: loftq finds no unquantised weight of {name} in the model's "
        "files. Leave it at true, or leave that layer out of target_modules."
    )


def linear_layers(model: Any) -> Iterator[tuple[str, Any]]:
    """Give the adapted layers by their name in the base model."""
    adapter = model.active_adapter
    for name, module in model.get_base_model().named_modules():
        if not isinstance(module, LoraLayer):
            continue
        adapted = dict(module.lora_A).get(adapter)  # an embedding has none
        if not isinstance(adapted, torch.nn.Linear):
            raise ModelError(
                f"method.target_modules: {name} is no linear layer, and init_lora_weights starts "
                "linear layers alone. Leave it out, or leave init_lora_weights at true."
            )
        yield name, module


def weight_of(layer: Any) -> Tensor:
    """Return a layer's weight in float32, dequantised, of shape (out, in)."""
    base = layer.get_base_layer()
    kept = base.weight
    with torch.no_grad():
        weight: Tensor = dequantize_module_weight(base).detach().float()
    # peft puts a copy in its place, without the scales of an 8-bit weight that was used before.
    base.weight = kept
    return weight.T if layer.fan_in_fan_out else weight


def fill(parameter: Any, value: Tensor, name: str) -> None:
    """Set a layer's A or B.

    Raises:
        ModelError: a value is not finite; the sentence names the layer.
    """
    if not bool(torch.isfinite(value).all()):
        raise ModelError(
            f"method.init_lora_weights: the weight of {name} holds values that are not finite."
        )
    parameter.data.copy_(value)
