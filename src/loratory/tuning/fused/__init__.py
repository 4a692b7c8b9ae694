"""Training and answers made fast: fused LoRA layers, attention by products, fewer passes for norms.

Each part stands for one of peft's or transformers' and gives the same, in float32 to the order of
sums; `accelerated` puts in those that serve a model, and takes them out again, and `layers` lays a
whole decoder out to answer.
"""

from loratory.tuning.fused.accelerate import Accelerated, accelerated, can_pack

__all__ = ["Accelerated", "accelerated", "can_pack"]
