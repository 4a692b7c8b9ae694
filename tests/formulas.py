"""Trainable parameters of each method by its paper's formula, from the tiny models' dimensions.

The dimensions stand here as numbers, read off the configurations in `tiny.py`; nothing is asked
of a model or of peft. Where peft holds more numbers than the paper needs, that is said.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

Layers = list[tuple[str, int, int]]


class Model(NamedTuple):
    """What the formulas need of a model: 32 wide, of two layers in every stack."""

    layers: Layers
    """Name, inputs and outputs of each linear layer outside output head and heads."""
    stacks: int = 1
    """Stacks of layers that trained vectors stand before: encoder and decoder, or one."""
    keys: int = 32
    """Width of all keys of a layer of the decoder, as of all its values."""
    scaled: int = 0
    """Numbers that (IA)³ scales: outputs of keys and values, inputs of the last feed-forward."""
    norms: int = 0
    """Scales and shifts in the normalisation layers."""


WIDTH, DEPTH = 32, 2


def squares(*names: str) -> Layers:
    return [(name, WIDTH, WIDTH) for name in names]


LLAMA = [*squares("q_proj", "o_proj"), ("k_proj", 32, 16), ("v_proj", 32, 16)]
LLAMA += [("gate_proj", 32, 64), ("up_proj", 32, 64), ("down_proj", 64, 32)]
GPT2 = [("c_attn", 32, 96), *squares("c_proj"), ("c_fc", 32, 128), ("c_proj", 128, 32)]
T5_FORWARD: Layers = [("wi", 32, 64), ("wo", 64, 32)]
T5_ENCODER = [*squares(*"qkvo"), *T5_FORWARD]
T5_DECODER = [*squares(*"qkvoqkvo"), *T5_FORWARD]  # attention to itself and to the encoder
DISTILBERT = [*squares("q_lin", "k_lin", "v_lin", "out_lin"), ("lin1", 32, 64), ("lin2", 64, 32)]

MODELS = {
    # RMSNorm has a scale alone: two in a layer and one at the end. Keys: two heads of eight.
    "llama": Model(LLAMA * DEPTH, keys=16, scaled=DEPTH * (16 + 16 + 64), norms=5 * 32),
    # Queries, keys and values are one layer, all of whose outputs are scaled.
    "gpt2": Model(GPT2 * DEPTH, scaled=DEPTH * (96 + 128), norms=5 * 64),
    # Two norms in a layer of the encoder, three in the decoder's, one at the end of each.
    "t5": Model(
        (T5_ENCODER + T5_DECODER) * DEPTH,
        stacks=2,
        scaled=DEPTH * ((32 + 32 + 64) + (4 * 32 + 64)),
        norms=(2 * DEPTH + 1 + 3 * DEPTH + 1) * 32,
    ),
    # One norm behind the embeddings.
    "distilbert": Model(DISTILBERT * DEPTH, scaled=DEPTH * (32 + 32 + 64), norms=5 * 64),
}


def adapted(method: Any, model: Model) -> list[tuple[int, int]]:
    """Return inputs and outputs of the layers that a method targets."""
    return [
        (inputs, outputs)
        for name, inputs, outputs in model.layers
        if method.target_modules == ("all-linear",) or name in method.target_modules
    ]


def by_layer(count: Callable[[Any, int, int], int]) -> Callable[[Any, Model], int]:
    """Return the sum over the adapted layers of a count from method, inputs and outputs."""
    return lambda method, model: sum(count(method, i, o) for i, o in adapted(method, model))


def lora(m: Any, inputs: int, outputs: int) -> int:
    """A is r × inputs, B is outputs × r; DoRA adds the length of each output's row."""
    return m.r * (inputs + outputs) + (outputs if m.use_dora else 0)


def boft(m: Any, inputs: int, outputs: int) -> int:
    """Butterfly factors of whole blocks, and a scale an output.

    The paper counts the b (b - 1) / 2 numbers of a skew-symmetric block; peft holds all b².
    """
    size = m.boft_block_size or inputs // m.boft_block_num
    return m.boft_n_butterfly_factor * inputs // size * size**2 + outputs


def oft(m: Any, inputs: int, _: int) -> int:
    """The numbers above the diagonal of each skew-symmetric block, or of one for all."""
    size = m.oft_block_size or inputs // m.r
    return (1 if m.block_share else inputs // size) * (size * (size - 1) // 2)


def divisors(number: int, factor: int) -> tuple[int, int]:
    """A number as a product: of `factor`, or for -1 of two that are as equal as can be."""
    if factor == -1:
        factor = max(d for d in range(1, math.isqrt(number) + 1) if number % d == 0)
    return factor, number // factor


def lokr(m: Any, inputs: int, outputs: int) -> int:
    """C is c × d, and B A, of (outputs / c) × (inputs / d), is low-rank where that is smaller."""

    def factor(rows: int, columns: int, may_be_low: bool) -> int:
        low = may_be_low and m.r < max(rows, columns) / 2
        return m.r * (rows + columns) if low else rows * columns

    d, in_rest = divisors(inputs, m.decompose_factor)
    c, out_rest = divisors(outputs, m.decompose_factor)
    return factor(c, d, m.decompose_both) + factor(out_rest, in_rest, True)


def randlora(m: Any, inputs: int, outputs: int) -> int:
    """So many random matrices of rank r that the sum has full rank, each with two diagonals."""
    rank = min(inputs, outputs)
    return math.ceil(rank / m.r) * (m.r + rank)


def miss(m: Any, _: int, outputs: int) -> int:
    """One matrix of r × outputs, of which mini keeps mini_r columns."""
    return m.r * (m.mini_r if m.init_weights == "mini" else outputs)


def p_tuning(m: Any, model: Model) -> int:
    """The vectors, and a network of three layers, or of an LSTM both ways and two layers."""
    width, tokens = m.encoder_hidden_size, m.num_virtual_tokens * model.stacks
    if m.encoder_reparameterization_type == "MLP":
        network = (WIDTH + 1) * width + (width + 1) * width + (width + 1) * WIDTH
    else:
        inputs = [WIDTH] + [2 * width] * (m.encoder_num_layers - 1)
        # Four gates, each with weights of input and state and, as torch has it, two biases.
        network = sum(2 * 4 * width * (i + width + 2) for i in inputs)
        network += (2 * width + 1) * 2 * width + (2 * width + 1) * WIDTH
    return tokens * WIDTH + network


COUNTS: dict[str, Callable[[Any, Model], int]] = {
    "adalora": by_layer(lambda m, i, o: m.init_r * (i + o + 1)),
    "alora": by_layer(lambda m, i, o: m.r * (i + o)),
    "boft": by_layer(boft),
    "fourierft": by_layer(lambda m, i, o: m.n_frequency),
    "hra": by_layer(lambda m, i, o: m.r * i),
    "ia3": lambda m, model: model.scaled,
    "ln_tuning": lambda m, model: model.norms,
    "loha": by_layer(lambda m, i, o: 2 * m.r * (i + o)),
    "lokr": by_layer(lokr),
    "lora": by_layer(lora),
    "miss": by_layer(miss),
    "oft": by_layer(oft),
    "p_tuning": p_tuning,
    "prefix_tuning": lambda m, model: m.num_virtual_tokens * DEPTH * 2 * model.keys,
    "prompt_tuning": lambda m, model: m.num_virtual_tokens * model.stacks * WIDTH,
    "randlora": by_layer(randlora),
    "shira": by_layer(lambda m, i, o: m.r * (i + o)),
    "trainable_tokens": lambda m, model: len(m.token_indices) * WIDTH,
    "vera": by_layer(lambda m, i, o: m.r + o),
}
"""Method to its count on a model, heads apart; our own tuners have theirs in the method."""
