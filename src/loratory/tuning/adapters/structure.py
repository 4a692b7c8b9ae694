"""Where a transformer's sub-layers end, found by its structure rather than by a list of models.

The layers of a transformer are the members of its outermost `ModuleList`s. Within a layer a
module whose name says `attn` or `attention` is an attention sub-layer, and its output is its
last linear layer that gives the model's width. The feed-forward output is the last such layer
outside of attention, its input the first that takes the width.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils.other import AuxiliaryTrainingWrapper
from torch import nn

from loratory.errors import ModelError
from loratory.methods.base import target_names

__all__ = [
    "Block",
    "FeedForward",
    "attention_outputs",
    "blocks",
    "feed_forward",
    "is_linear",
    "is_norm",
    "last_norm",
    "matching",
    "not_found",
    "unwrapped",
    "walk",
    "width_of",
]


class Block(NamedTuple):
    """A transformer layer."""

    name: str
    module: Any
    post_norm: bool
    """Whether each sub-layer's sum is normalised, as in BERT; rather than its input."""


class FeedForward(NamedTuple):
    """Paths of the first and the last linear layer of a feed-forward sub-layer."""

    first: str
    last: str


def unwrapped(module: Any) -> Any:
    """Return the module of the base model beneath any adapter layers."""
    while isinstance(module, BaseTunerLayer):
        module = module.base_layer
    return module


def walk(module: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Yield path and module of the base model, as if no adapter were on it.

    A module that stands in two places is yielded twice. What is trained whole, such as a
    classification head that peft has wrapped, is left out.
    """
    module = unwrapped(module)
    if isinstance(module, AuxiliaryTrainingWrapper):
        return
    yield name, module
    for child, inner in module.named_children():
        yield from walk(inner, f"{name}.{child}" if name else child)


def is_linear(module: Any) -> bool:
    """Return whether a module is a linear layer, GPT-2's Conv1D included."""
    return isinstance(module, nn.Linear) or type(module).__name__ == "Conv1D"


def is_norm(module: Any) -> bool:
    """Return whether a module is a layer norm or one of its kind."""
    weight = getattr(module, "weight", None)
    return "norm" in type(module).__name__.lower() and getattr(weight, "dim", int)() == 1


def sizes(module: Any) -> tuple[int, int]:
    """Return how many features a linear layer takes and gives."""
    if isinstance(module, nn.Linear):
        return module.in_features, module.out_features
    return module.nx, module.nf


def width_of(model: Any) -> int:
    """Return the width of the model's hidden states."""
    return int(model.config.get_text_config().hidden_size)


def blocks(model: Any) -> list[Block]:
    """Return the transformer layers in the model's order, an encoder's before a decoder's."""
    return list(_blocks(model, ""))


def _blocks(owner: Any, name: str) -> Iterator[Block]:
    for child, module in owner.named_children():
        inner = unwrapped(module)
        path = f"{name}.{child}" if name else child
        if isinstance(inner, AuxiliaryTrainingWrapper):
            continue
        if isinstance(inner, nn.ModuleList) and len(inner) and all(map(_is_layer, inner)):
            # Where sums are normalised layer by layer, none is left over for the end.
            names = [n for n, m in owner.named_children() if is_norm(unwrapped(m))]
            post = all("emb" in n for n in names)
            for i, layer in enumerate(inner):
                yield Block(f"{path}.{i}", unwrapped(layer), post)
        else:
            yield from _blocks(inner, path)


def _is_layer(module: Any) -> bool:
    return sum(is_linear(inner) for _, inner in walk(module)) > 1


def attention_outputs(block: Block, width: int) -> list[str]:
    """Return the paths of the linear layers that end the attention sub-layers of a block."""
    found = []
    for root in _attention_roots(block):
        inside = [name for name, module in walk(root[1], root[0]) if _linear(module, gives=width)]
        found += inside[-1:]
    return found


def feed_forward(block: Block, width: int) -> FeedForward | None:
    """Return where the feed-forward sub-layer of a block begins and ends, or None."""
    roots = [f"{name}." for name, _ in _attention_roots(block)]
    outside = [
        (name, module)
        for name, module in walk(block.module, block.name)
        if is_linear(module) and not name.startswith(tuple(roots))
    ]
    first = [name for name, module in outside if _linear(module, takes=width)]
    last = [name for name, module in outside if _linear(module, gives=width)]
    return FeedForward(first[0], last[-1]) if first and last else None


def last_norm(block: Block) -> str | None:
    """Return the path of the norm that ends a block which normalises sums."""
    roots = [f"{name}." for name, _ in _attention_roots(block)]
    found = [
        name
        for name, module in walk(block.module, block.name)
        if is_norm(module) and not name.startswith(tuple(roots))
    ]
    return found[-1] if found else None


def _attention_roots(block: Block) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for name, module in walk(block.module, block.name):
        own = name.removeprefix(block.name).rpartition(".")[2].lower()
        inside = any(name.startswith(f"{root}.") for root, _ in found)
        if ("attn" in own or "attention" in own) and not inside and _is_layer(module):
            found.append((name, module))
    return found


def _linear(module: Any, takes: int | None = None, gives: int | None = None) -> bool:
    if not is_linear(module):
        return False
    i, o = sizes(module)
    return takes in (None, i) and gives in (None, o)


def matching(model: Any, targets: list[str]) -> list[str]:
    """Return the paths of the modules that have one of these names, or a path ending in it.

    Raises:
        ModelError: none has; the sentence lists the names of the model's linear layers.
    """
    found = [
        name
        for name, _ in walk(model)
        if any(name == target or name.endswith(f".{target}") for target in targets)
    ]
    if not found:
        raise not_found(model, targets)
    return found


def not_found(model: Any, targets: list[str]) -> ModelError:
    """Return the refusal of target modules that a model does not have."""
    if targets == ["auto"]:
        return ModelError(
            "method.target_modules: the sub-layers of this model cannot be told by their names. "
            f"Name the layers that end them. Available: {', '.join(target_names(model))}."
        )
    return ModelError(
        f"method.target_modules: {', '.join(targets)} matches no layer of this model. "
        f"Available: {', '.join(target_names(model))}."
    )
