"""`python -m benchmarks.scale`: training 7B and 70B bases by several GPUs, on paper.

Arithmetic, and no measurement: parameters are counted on models without storage, memory and traffic
follow from how each engine shares them. That two processes exchange as many bytes for a step as it
says is looked up in PyTorch's own account of a small training. What scoring a billion rows takes is
reckoned from the measured rate (results/stream.json).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, LlamaConfig

RESULTS = Path(__file__).parent / "results"
GIB = 2**30
RANK = 16
GPUS = (8, 64)
TOKENS = 4_096
"""Of a GPU's batch."""
SHAPES = {
    "7B": {
        "hidden_size": 4096,
        "intermediate_size": 11008,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 32,
    },
    "70B": {
        "hidden_size": 8192,
        "intermediate_size": 28672,
        "num_hidden_layers": 80,
        "num_attention_heads": 64,
        "num_key_value_heads": 8,
    },
}
LINK = 50e9
"""Bytes a second between two GPUs that the times are reckoned with: 400 Gbit/s."""


def counted(shape: dict[str, int]) -> dict[str, int]:
    """Return the parameters of a base, of its adapter, and of one layer."""
    with torch.device("meta"):
        base = AutoModelForCausalLM.from_config(LlamaConfig(vocab_size=32_000, **shape))
        lora = LoraConfig(r=RANK, target_modules="all-linear", task_type="CAUSAL_LM")
        model = get_peft_model(base, lora)
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    whole = sum(p.numel() for p in model.parameters())
    layer = sum(p.numel() for p in base.model.layers[0].parameters() if not p.requires_grad)
    return {"base": whole - trained, "adapter": trained, "layer": layer}


def engines(
    numbers: dict[str, int], shape: dict[str, int], gpus: int
) -> dict[str, dict[str, float]]:
    """Return bytes on a GPU and bytes it sends for a step, by engine.

    Frozen weights are bfloat16; the adapter's are float32 with two moments and a gradient. A ring
    of W processes sends 2 (W - 1) / W of what is summed, and (W - 1) / W of what is gathered.
    Activations are recomputed: a layer's input is kept for each token.
    """
    base, adapter, layer = 2 * numbers["base"], 16 * numbers["adapter"], 2 * numbers["layer"]
    kept = 2 * shape["num_hidden_layers"] * shape["hidden_size"] * TOKENS
    others = (gpus - 1) / gpus
    summed = 2 * others * 4 * numbers["adapter"]
    return {
        "DDP": {"memory": base + adapter + kept, "traffic": summed},
        # A layer is there as a whole while it computes, and the next one on its way.
        "FSDP2, ZeRO-3": {
            "memory": (base + adapter) / gpus + 2 * layer + kept,
            # Gathered forward, and again backward; of gradients only the adapter's are scattered.
            "traffic": 2 * others * base + others * 4 * numbers["adapter"],
        },
    }


STEP = """
import os, torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, LlamaConfig
torch.distributed.init_process_group("gloo")
torch.manual_seed(0)
config = LlamaConfig(vocab_size=64, hidden_size=32, intermediate_size=64, num_hidden_layers=2,
                     num_attention_heads=4, num_key_value_heads=2)
lora = LoraConfig(r=16, target_modules="all-linear", task_type="CAUSAL_LM")
model = get_peft_model(AutoModelForCausalLM.from_config(config), lora)
trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
model = torch.nn.parallel.DistributedDataParallel(model)
ids = torch.arange(16)[None]
model(input_ids=ids, labels=ids).loss.backward()
summed = model._get_ddp_logging_data()["total_parameter_size_bytes"]
if os.environ["RANK"] == "0":
    print("SUMMED", summed, 4 * trained)
"""


def looked_up() -> tuple[int, int]:
    """Return the bytes that two processes sum for a step, and those of the arithmetic."""
    command = [sys.executable, "-W", "ignore", "-m", "torch.distributed.run", "--standalone"]
    file = RESULTS / ".scale-step.py"
    file.write_text(STEP, encoding="utf-8")
    try:
        done = subprocess.run(
            [*command, "--nproc-per-node=2", str(file)],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
    finally:
        file.unlink()
    (line,) = (line for line in done.stdout.splitlines() if line.startswith("SUMMED"))
    _, summed, expected = line.split()
    return int(summed), int(expected)


def main() -> None:
    """Reckon, look up, and write the tables."""
    found: dict[str, Any] = {"rank": RANK, "tokens": TOKENS, "link": LINK, "bases": {}}
    lines = [
        "# Several GPUs, on paper",
        "",
        f"Written by `python -m benchmarks.scale`. Arithmetic: LoRA of rank {RANK} on all linear "
        f"layers, bfloat16 bases, {TOKENS:,} tokens a GPU, activations recomputed. Times are of "
        f"{LINK / 1e9:.0f} GB/s a GPU and nothing hidden behind computing. None of it was run.",
        "",
        "| base | GPUs | engine | memory a GPU | sent for a step by a GPU | at that link |",
        "|---|--:|---|--:|--:|--:|",
    ]
    for name, shape in SHAPES.items():
        numbers = counted(shape)
        found["bases"][name] = {"parameters": numbers, "gpus": {}}
        for gpus in GPUS:
            each = engines(numbers, shape, gpus)
            found["bases"][name]["gpus"][gpus] = each
            for engine, facts in each.items():
                lines.append(
                    f"| {name} | {gpus} | {engine} | {facts['memory'] / GIB:.1f} GiB | "
                    f"{facts['traffic'] / GIB:.2f} GiB | {facts['traffic'] / LINK:.2f} s |"
                )
    summed, expected = looked_up()
    assert summed == expected, (summed, expected)
    found["step"] = {"summed": summed, "expected": expected}
    stream = json.loads((RESULTS / "stream.json").read_text(encoding="utf-8"))
    lines += [
        "",
        f"Two processes that train a small model by DDP sum {summed:,} bytes for a step, by "
        f"PyTorch's own account: the adapter's gradients, as the arithmetic has it ({expected:,}).",
    ]
    found["stream"] = rate = stream["rows_per_second"]
    hours = 1e9 / rate / 3600
    lines += [
        "",
        f"Scoring: `loratory score` scores {rate:,.0f} pairs a second on two cores "
        f"([measured](stream.md)); its statistics are sums, so that machines share rows and their "
        f"sums are added. A billion pairs take {hours:.1f} hours on two cores, and "
        f"{60 * hours / 32:.0f} minutes on 64.",
    ]
    (RESULTS / "scale.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    (RESULTS / "scale.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
