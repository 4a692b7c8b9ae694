"""The verdict of the proof: what was compared, what may differ by how much, and what did.

Each judgement adds its numbers to the `Proof`, and a sentence for what is not as it must be.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from loratory.errors import ModelError, RunError
from loratory.tuning.model import Resolved
from loratory.tuning.saved import weights

__all__ = ["Proof", "Trained", "judge_base", "judge_heads", "judge_merge", "judge_reload"]

RELOAD = {torch.float32: 1e-4, torch.float16: 0.02, torch.bfloat16: 0.1}
"""How far a reloaded adapter's logits may be off, as a share of the largest logit. They are
the same bits wherever both processes take the same kernels; where they do not, rounding adds
up over the layers."""
MERGE = 1e-3
"""The same for merged weights, both sides computed in float32."""
NOISE = 1e-6
"""An effect of the adapter below this share of the largest logit is lost in rounding."""


@dataclass(frozen=True)
class Trained:
    """What the trained model in memory gives, so that the model itself may be let go."""

    spec: Resolved
    heads: tuple[str, ...]
    rows: tuple[dict[str, torch.Tensor], ...]
    prompts: tuple[list[int], ...]
    logits: tuple[torch.Tensor, ...]
    vocabulary: dict[str, Any]
    changed: tuple[str, ...]
    """Frozen weights that training has changed: there must be none."""
    files_changed: bool
    frozen: int
    """Base weights that were compared, in tensors."""


@dataclass
class Proof:
    """What was compared and what was found, for the manifest."""

    passed: bool
    problems: list[str]
    """A sentence for each thing that differs."""
    rows: int
    """Validation rows whose logits were compared."""
    reload: dict[str, Any] = field(default_factory=dict)
    """Whether the bits are the same; the largest difference of a logit, and its bound."""
    merge: dict[str, Any] = field(default_factory=dict)
    """The same for merged weights, and the texts that are the same; or why there is no merge."""
    heads: list[str] = field(default_factory=list)
    """Modules found whole among what was saved."""
    frozen_tensors: int = 0
    """Base weights that are byte for byte what they were."""
    vocabulary: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0

    def facts(self) -> dict[str, Any]:
        """Return the proof as the manifest keeps it; what is not finite becomes null."""
        return {
            key: {k: _finite(v) for k, v in value.items()} if isinstance(value, dict) else value
            for key, value in asdict(self).items()
        }

    def check(self, folder: Path) -> None:
        """Raise `RunError` unless everything was as it must be."""
        if not self.passed:
            raise RunError(
                f"{folder}: the saved adapter failed its proof. {' '.join(self.problems)}"
            )


def judge_base(proof: Proof, trained: Trained) -> None:
    """Judge whether what was frozen stayed as it was."""
    proof.frozen_tensors = trained.frozen - len(trained.changed)
    if trained.changed:
        proof.problems.append(
            f"Training changed {len(trained.changed)} of the base model's frozen weights, "
            f"{trained.changed[0]} among them: the adapter alone is not what was trained."
        )
    if trained.files_changed:
        proof.problems.append(
            f"The files of the base model {trained.spec.name} changed during the training."
        )


def judge_heads(proof: Proof, trained: Trained, adapter: Path) -> None:
    """Judge whether each head is in the adapter's file."""
    try:
        names = list(weights(adapter))
    except ModelError as error:
        proof.problems.append(str(error))
        return
    for head in trained.heads:
        if any(f".{head}." in f".{name}" for name in names):
            proof.heads.append(head)
        else:
            proof.problems.append(
                f"The module {head}, which has no pre-trained weights, is not among what was saved."
            )


def judge_reload(
    proof: Proof, trained: Trained, found: Mapping[str, torch.Tensor], facts: Mapping[str, Any]
) -> None:
    """Judge the adapter loaded in a fresh process against the trained model."""
    tuned = _all(found, "tuned", len(trained.rows))
    expected = list(trained.logits)
    bound = RELOAD[trained.spec.dtype] * _largest(expected)
    worst = _worst(expected, tuned)
    same = all(torch.equal(a, b) for a, b in zip(expected, tuned, strict=True))
    proof.reload = {"same_bits": same, "largest_difference": worst, "bound": bound}
    if not worst <= bound:  # NaN included
        proof.problems.append(
            f"Loaded in a fresh process it gives other logits than the trained model: they differ "
            f"by up to {worst:.3g}, the bound is {bound:.3g}."
        )
    if facts["vocabulary"] != trained.vocabulary:
        proof.problems.append(
            "Loaded in a fresh process the vocabulary is another one: "
            f"{_sizes(facts['vocabulary'])} instead of {_sizes(trained.vocabulary)}."
        )


def _sizes(vocabulary: Mapping[str, Any]) -> str:
    return (
        f"{vocabulary['embedding_rows']} rows of the embedding and "
        f"{len(vocabulary['added_tokens'])} added tokens"
    )


def judge_merge(
    proof: Proof,
    trained: Trained,
    found: Mapping[str, torch.Tensor],
    facts: Mapping[str, Any],
    merges: bool,
) -> None:
    """Judge merged weights against the adapter that was merged."""
    why = {
        "the method does not merge": not merges,
        "the base model is quantised": facts["quantised"],
        "the weights in float32 do not fit into memory": facts.get("no_memory", False),
    }
    if skipped := [reason for reason, holds in why.items() if holds]:
        proof.merge = {"skipped": skipped[0]}
        return
    if "merge_error" in facts:
        proof.merge = {"error": facts["merge_error"]}
        proof.problems.append(f"It cannot be merged: {facts['merge_error']}")
        return
    base, tuned, exact, merged = (
        _all(found, name, len(trained.rows)) for name in ("base", "tuned", "exact", "merged")
    )
    scale = _largest(exact)
    bound, worst = MERGE * scale, _worst(exact, merged)
    effect, off = _mean(base, tuned), _mean(exact, merged)
    proof.merge = {
        "largest_difference": worst,
        "bound": bound,
        "mean_difference": off,
        "mean_effect_of_adapter": effect,
        "changed_tensors": facts["changed"],
    }
    # A head that was trained beside an adapter without effect moves logits and no base weight.
    if effect > 0 and not facts["changed"] and off > effect / 2:
        proof.problems.append("Merged, the weights are still the base model's.")
    elif not worst <= bound:
        proof.problems.append(
            f"Merged, it gives other logits: they differ by up to {worst:.3g}, the bound is "
            f"{bound:.3g}."
        )
    elif effect > NOISE * scale and off > effect / 2:
        proof.problems.append(
            f"Merged, it is nearer to the base model than to the adapter: its logits are off by "
            f"{off:.3g} on average, where the adapter moves them by {effect:.3g}."
        )
    if "merged" in facts:
        _judge_texts(proof, facts["exact"], facts["merged"], bound, trained.spec.tokenizer)


def _judge_texts(
    proof: Proof,
    tuned: Sequence[Mapping[str, Any]],
    merged: Sequence[Mapping[str, Any]],
    bound: float,
    tokenizer: Any,
) -> None:
    same = ties = 0
    for left, right in zip(tuned, merged, strict=True):
        if left["ids"] == right["ids"]:
            same += 1
            continue
        place = next(
            (i for i, (a, b) in enumerate(zip(left["ids"], right["ids"], strict=False)) if a != b),
            min(len(left["ids"]), len(right["ids"])) - 1,
        )
        # Each logit may be off by the bound: two that are nearer than twice that may swap.
        if left["leads"][place] <= 2 * bound:
            ties += 1
        else:
            proof.problems.append(
                f"Merged, it writes {tokenizer.decode(right['ids'])!r} instead of "
                f"{tokenizer.decode(left['ids'])!r}."
            )
    proof.merge |= {"texts": len(tuned), "same_texts": same, "ties": ties}


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _all(found: Mapping[str, torch.Tensor], system: str, count: int) -> list[torch.Tensor]:
    return [found[f"{system}.{i}"] for i in range(count)]


def _largest(tensors: Sequence[torch.Tensor]) -> float:
    return max((float(t.abs().max()) for t in tensors if t.numel()), default=0.0)


def _worst(left: Sequence[torch.Tensor], right: Sequence[torch.Tensor]) -> float:
    if any(a.shape != b.shape for a, b in zip(left, right, strict=True)):
        return float("inf")
    return _largest([a - b for a, b in zip(left, right, strict=True)])


def _mean(left: Sequence[torch.Tensor], right: Sequence[torch.Tensor]) -> float:
    gaps = [(a - b).abs().reshape(-1) for a, b in zip(left, right, strict=True)]
    return float(torch.cat(gaps).double().mean()) if gaps else 0.0
