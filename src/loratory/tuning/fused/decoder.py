"""A decoder's layers as one function each, for training, with the backward pass written out.

Between the products of a layer stand norms, rotations, copies and sums, each of them a pass over
activations that are too large for where a processor works fastest. Here what reads one input is one
product each way (`joint`), queries, keys and values go to their rows and back in one step, and
residuals are added by the products themselves. For the backward pass less is kept than the plain
layer keeps: what takes one pass to make again is made again.

It serves layers of Llama's plan with plain LoRA on them, or none, on a CPU, and reads packed rows;
whatever else a model is given goes the plain way. That a model computes the same is tried out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from loratory.tuning.fused import lora
from loratory.tuning.fused.joint import Joint, can_join, joint, refresh
from loratory.tuning.fused.norm import of_input
from loratory.tuning.fused.plan import Plan, plans
from loratory.tuning.fused.products import Kept, Way, products, products_backward
from loratory.tuning.fused.rotary import rotate, rotate_back, turns
from loratory.tuning.packing import Layout

__all__ = ["can_lay", "laid_to_train"]


class _Layer:
    """A layer laid out.

    Args:
        plan: of the layer.
        adapter: the one that is trained.
        last: no layer follows: behind its attention it is for the tokens alone that are asked for.
    """

    def __init__(self, plan: Plan, adapter: str, *, last: bool) -> None:
        self.plan, self._adapter, self._last = plan, adapter, last
        self.joints = [joint(modules, adapter) for modules in plan.linear]
        self.qkv, self.out, self.gated, self.down = self.joints
        attend = plan.layer.self_attn
        self.width, self.way = attend.head_dim, Way(attend.scaling, causal=True)
        few = self.qkv.given // self.width // (attend.num_key_value_groups + 2)
        self.groups = (few * attend.num_key_value_groups, few, few)
        """Heads of queries, keys and values."""

    def put_in(self, outdated: Sequence[Joint]) -> None:
        """Let the layer compute by this one where rows are packed.

        Args:
            outdated: joints whose trained numbers may have changed when it is called.
        """
        plain = self.plan.layer.forward

        def forward(x: Tensor, *args: Any, **kwargs: Any) -> Any:
            if args or not self._applies(x, kwargs):
                return plain(x, *args, **kwargs)
            refresh(outdated)
            trained = [one for part in self.joints for one in part.trained]
            layout, positions = kwargs["packed"], kwargs["position_embeddings"]
            asked = layout.asked if self._last else None
            return _Function.apply(x[0], self, layout, asked, *positions, *trained)[None]

        self.plan.layer.forward = forward

    def take_out(self) -> None:
        """Leave the layer as it was."""
        del self.plan.layer.forward
        for part in self.joints:
            part.put_back()

    def _applies(self, x: Tensor, given: dict[str, Any]) -> bool:
        adapted = (m for modules in self.plan.linear for m in modules if hasattr(m, "base_layer"))
        return (
            given.get("packed") is not None
            and given.get("position_embeddings") is not None
            and given.get("past_key_values") is None
            and x.dtype == self.plan.before.weight.dtype
            and not torch.is_autocast_enabled(x.device.type)
            and all(lora.is_active(module, self._adapter) for module in adapted)
        )


class _Function(torch.autograd.Function):  # type: ignore[misc]
    """One layer, of packed rows: (N, d) to (N, d), or to (M, d) of the tokens asked for."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        layer: _Layer,
        layout: Layout,
        asked: Tensor | None,
        cos: Tensor,
        sin: Tensor,
        *_: Tensor,
    ) -> Tensor:
        h, few = layer.qkv.input(x), layer.groups[2]
        inverse = layer.plan.before.write(x, h[:, : layer.qkv.read])
        qkv, inner = layer.qkv.forward(h)
        turn, states = turns(cos, sin), qkv.view(len(x), -1, layer.width)
        rotate(states[:, :-few], *turn)
        q, k, v = _in_rows(layer, layout, states)
        found, kept = products(q, k, v, layer.way)
        looked, through = _as_tokens(layer, layout, found), x
        if asked is not None:
            looked, through = looked[asked], x[asked]
        seen = layer.out.as_input(looked)
        mid, inner_seen = layer.out.forward(seen, through)
        g = layer.gated.input(mid)
        inverse_mid = layer.plan.between.write(mid, g[:, : layer.gated.read])
        both, inner_g = layer.gated.forward(g)
        half = both.shape[1] // 2
        bent, wide = nn.functional.silu(both[:, :half]), layer.down.input(mid)
        torch.mul(bent, both[:, half:], out=wide[:, :half])
        y, inner_wide = layer.down.forward(wide, mid)
        ctx.layer, ctx.layout, ctx.asked = layer, layout, asked
        ctx.save_for_backward(
            *(x, inverse, inner, *turn, q, k, v, seen, inner_seen),
            *(mid, inverse_mid, inner_g, both, bent, inner_wide),
            *kept.chances,
        )
        return y

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        layer, saved = ctx.layer, ctx.saved_tensors
        x, inverse, inner, cos, sin, q, k, v, seen, inner_seen = saved[:10]
        mid, inverse_mid, inner_g, both, bent, inner_wide, *chances = saved[10:]
        before, between = layer.plan.before.weight, layer.plan.between.weight

        # What takes one pass to make again is not kept: it would be a fifth of what is.
        half = both.shape[1] // 2
        gate, up = both[:, :half], both[:, half:]
        of_y = layer.down.as_output(gradient)
        of_wide, of_down = layer.down.backward(bent * up, inner_wide, of_y)

        of_both = layer.gated.output(gradient)
        of_gate, of_up = of_both[:, :half], of_both[:, half : 2 * half]
        torch.mul(of_wide, bent, out=of_up)
        torch.ops.aten.silu_backward.grad_input(of_wide.mul_(up), gate, grad_input=of_gate)
        of_g, of_gated = layer.gated.backward(mid, inner_g, of_both, scale=(inverse_mid, between))

        of_mid = layer.out.output(gradient)
        through = of_input(of_g, mid, between, inverse_mid)
        torch.add(gradient, through, out=of_mid[:, : layer.out.given])
        of_seen, of_out = layer.out.backward(seen[:, : layer.out.read], inner_seen, of_mid)

        of_through = of_mid[:, : layer.out.given]
        if ctx.asked is not None:
            of_seen, of_through = (_among(len(x), ctx.asked, one) for one in (of_seen, of_through))
        kept = Kept(chances, [])
        of_qkv = _attention_backward(layer, ctx.layout, of_seen, (q, k, v), kept, (cos, sin))
        of_h, of_first = layer.qkv.backward(
            x, inner, of_qkv, scale=(inverse, before), wanted=ctx.needs_input_grad[0]
        )
        of_x = None
        if of_h is not None:
            of_x = of_input(of_h, x, before, inverse).add_(of_through)
        return of_x, None, None, None, None, None, *of_first, *of_out, *of_gated, *of_down


def _among(count: int, which: Tensor, rows: Tensor) -> Tensor:
    """Return (count, width), the rows where they belong and zeros elsewhere."""
    return rows.new_zeros(count, rows.shape[1]).index_copy_(0, which, rows)


def _in_rows(layer: _Layer, layout: Layout, states: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return q, (B K, G, T, D), k and v, (B K, T, D), of (N, heads, D)."""
    out, _ = layout.indices(*layer.groups)
    return _apart(layer, layout, states.view(-1, layer.width).index_select(0, out))


def _apart(layer: _Layer, layout: Layout, vectors: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    rows, length = layout.places.shape
    q, k, v = vectors.split([heads * rows * length for heads in layer.groups])
    shape = (rows * layer.groups[1], -1, length, layer.width)
    return q.view(shape), k.view(shape)[:, 0], v.view(shape)[:, 0]


def _as_tokens(layer: _Layer, layout: Layout, found: Tensor) -> Tensor:
    """Return what attention gave, token by token, (N, heads · D)."""
    _, back = layout.indices(layer.groups[0])
    vectors = found.view(-1, layer.width).index_select(0, back)
    return vectors.view(-1, layer.groups[0] * layer.width)


def _attention_backward(
    layer: _Layer,
    layout: Layout,
    gradient: Tensor,
    qkv: tuple[Tensor, Tensor, Tensor],
    kept: Kept,
    turn: tuple[Tensor, Tensor],
) -> Tensor:
    """Return the gradient of what q, k and v were made of, (N, out + R).

    Args:
        layer: whose attention it is.
        layout: of the rows.
        gradient: (N, heads · D), of what attention gave.
        qkv: in rows.
        kept: of the forward pass.
        turn: how q and k were rotated.
    """
    (q, k, v), width = qkv, layer.width
    given = layout.own_indices(layer.groups[0])
    whole = nn.functional.pad(gradient, (0, 0, 0, 1))  # zeros for places that have no token
    of_found = whole.view(-1, width).index_select(0, given).view_as(q)
    of_rows = q.new_empty((q.numel() + k.numel() + v.numel()) // width, width)
    to = _apart(layer, layout, of_rows)
    products_backward(of_found, q, k, v, layer.way, kept, to)
    _, back = layout.indices(*layer.groups)
    states = of_rows.index_select(0, back).view(-1, sum(layer.groups), width)
    if layout.prefix:  # every row has looked at it
        first, rows = 0, len(layout.places)
        for heads, part in zip(layer.groups, to, strict=True):
            looked = part.view(rows, heads, -1, width)[:, :, : layout.prefix]
            states[: layout.prefix, first : first + heads] = looked.sum(dim=0).transpose(0, 1)
            first += heads
    found, few = layer.qkv.output(states), layer.groups[2]
    split = found[:, : layer.qkv.given].view(len(found), -1, width)
    rotate_back(states[:, :-few], *turn, out=split[:, :-few])
    split[:, -few:] = states[:, -few:]
    return found


def can_lay(model: Any, adapter: str) -> bool:
    """Return whether a decoder's layers are of the plan, and have plain LoRA on them, or nothing.

    Args:
        model: with an adapter.
        adapter: the one that is trained.
    """
    found = plans(model) or []
    each_once = len({id(plan.layer) for plan in found}) == len(found)
    return (
        bool(found)
        and each_once
        and all(
            next(plan.layer.parameters()).device.type == "cpu"
            and "forward" not in vars(plan.layer)
            and not getattr(plan.layer.self_attn, "attention_dropout", 0)
            and all(can_join(modules, adapter) for modules in plan.linear)
            for plan in found
        )
    )


@contextmanager
def laid_to_train(model: Any, adapter: str) -> Iterator[None]:
    """Let a decoder that `can_lay` train with its layers laid out within the context.

    Args:
        model: with an adapter.
        adapter: the one that is trained.
    """
    joints: list[Joint] = []
    with ExitStack() as undo:
        known = plans(model) or []
        for number, plan in enumerate(known):
            layer = _Layer(plan, adapter, last=number == len(known) - 1)
            undo.callback(layer.take_out)
            # What is trained changes between the passes through all layers, and never within one.
            layer.put_in([] if number else joints)
            joints += layer.joints
        yield
