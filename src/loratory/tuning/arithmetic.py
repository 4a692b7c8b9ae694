"""Sums of adapters, and adapters scaled: task arithmetic on what was trained.

Sums are peft's `add_weighted_adapter`: linear and exact ones, and those that settle
conflicts first, TIES (Yadav et al. 2023, arXiv 2306.01708) and DARE (Yu et al. 2023, arXiv
2311.03099). Scaling walks the straight line between base and tuned model, as in Wortsman et
al. 2021 (arXiv 2109.01903).
"""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from loratory.errors import ConfigError, ModelError, suggest
from loratory.progress import Progress
from loratory.runs.folder import free, whole_folder
from loratory.tuning.adapter import CONFIG
from loratory.tuning.saved import WEIGHTS, Saved, base_model, find, put_on, weights

__all__ = ["METHODS", "combine", "interpolate"]

SAME_RANK = ("linear", "ties", "dare_linear", "dare_ties", "magnitude_prune")
DENSE = ("linear", "cat", "svd")
"""Methods that keep every value, so that `density` means nothing to them."""
METHODS = (
    "cat",
    "dare_linear",
    "dare_linear_svd",
    "dare_ties",
    "dare_ties_svd",
    "linear",
    "magnitude_prune",
    "magnitude_prune_svd",
    "svd",
    "ties",
    "ties_svd",
)
SCALED: dict[str, tuple[str, ...]] = {
    "ADALORA": ("lora_E",),
    "FOURIERFT": ("fourierft_spectrum",),
    "LOHA": ("hada_w1_a",),
    "LOKR": ("lokr_w1", "lokr_w1_a"),
    "LORA": ("lora_B", "lora_embedding_B"),
    "VERA": ("vera_lambda_b",),
}
"""For each method whose update is a product, the factor that is scaled."""


def combine(
    sources: Sequence[Saved],
    shares: Sequence[float],
    to: Path,
    *,
    method: str = "linear",
    density: float | None = None,
    rank: int | None = None,
    seed: int = 0,
    overwrite: bool = False,
    progress: Progress,
) -> dict[str, Any]:
    """Write an adapter that is a weighted sum of others.

    Args:
        sources: adapters of one method, on one base model.
        shares: one for each; negative ones take away.
        to: the adapter folder to write; it appears whole or not at all.
        method: `cat` and `svd` sum the updates themselves: `cat` exactly, the ranks adding
            up; `svd` the nearest of rank `rank`. `linear` sums the factors, which is rough.
            TIES keeps the largest values and elects signs; DARE drops values at random and
            scales up the rest. `…_svd` works on the updates rather than the factors.
        density: share of the values that is kept, for methods that drop some.
        rank: of the result, for `svd` methods; by default the largest of the sources.
        seed: of what DARE drops.
        overwrite: replace what is there.
        progress: hears of slow steps.

    Returns:
        Folder, method, weights, and rank of the result.

    Raises:
        ConfigError: settings that do not fit each other, or the place is taken.
        ModelError: adapters that cannot be summed; the sentence says which and why.
    """
    _check_settings(len(sources), shares, method, density, rank)
    _check_alike(sources, method)
    free(to, overwrite=overwrite)
    loaded = base_model(sources[0], progress, dtype="float32", quantization="none")
    model: Any = put_on(loaded, sources[0].folder)
    names = ["default", *(f"adapter{i}" for i in range(1, len(sources)))]
    for name, source in zip(names[1:], sources[1:], strict=True):
        try:
            model.load_adapter(str(source.folder), name)
        except (RuntimeError, ValueError, KeyError) as error:
            text = " ".join(str(error).split())[:200]
            raise ModelError(
                f"{source.folder}: cannot be put on {loaded.spec.name}: {text}"
            ) from None
    torch.manual_seed(seed)
    options: dict[str, Any] = {} if density is None else {"density": density}
    if rank is not None:
        options["svd_rank"] = rank
    if sources[0].kind == "LORA":
        options["combination_type"] = method
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.add_weighted_adapter(names, list(shares), "combined", **options)
    except (ValueError, NotImplementedError) as error:
        raise ModelError(f"peft cannot sum these adapters: {error}") from None
    config = model.peft_config["combined"]
    if getattr(config, "use_rslora", False):
        # peft writes the scales into the factors and expects alpha / r to be 1 afterwards.
        config.use_rslora = False
    with whole_folder(to, overwrite=overwrite) as scratch:
        model.save_pretrained(scratch, selected_adapters=["combined"], save_embedding_layers=False)
        inner = scratch / "combined"
        for file in (WEIGHTS, CONFIG):
            (inner / file).rename(scratch / file)
        shutil.rmtree(inner)
        (scratch / "README.md").unlink(missing_ok=True)  # peft's template, not filled in
        _settle(scratch, sources[0])
        find(scratch, loaded.spec.path)
    found: dict[str, Any] = {"folder": str(to), "method": method, "weights": list(shares)}
    return found | {"rank": getattr(config, "r", None)}


def _check_settings(
    count: int, values: Sequence[float], method: str, density: float | None, rank: int | None
) -> None:
    problems = []
    if count < 2:
        problems.append(f"combine: got {count} adapter; give at least two.")
    if len(values) != count:
        problems.append(f"--weights: got {len(values)} for {count} adapters; give one for each.")
    if not all(torch.isfinite(torch.tensor(values, dtype=torch.float64))):
        problems.append("--weights: they must be finite numbers.")
    if method not in METHODS:
        problems.append(f"--method: unknown '{method}'. {suggest(method, METHODS)}")
    elif method in DENSE and density is not None:
        problems.append(f"--density: {method} keeps every value; leave it out.")
    elif method not in DENSE and (density is None or not 0 < density <= 1):
        problems.append(
            f"--density: got {density}; {method} needs the share of values to keep, in (0, 1]."
        )
    if rank is not None and (rank < 1 or not method.endswith("svd")):
        problems.append(f"--rank: got {rank}; at least 1, and for svd methods only.")
    if problems:
        raise ConfigError(problems)


def _check_alike(sources: Sequence[Saved], method: str) -> None:
    """Refuse adapters that have no common sum.

    Raises:
        ModelError: another base, method, rank or setting; the sentence names the adapter.
    """
    first = sources[0]
    for source in sources:
        where, config = source.folder, source.config
        if source.kind != first.kind:
            raise ModelError(f"{where}: is {source.kind}, {first.folder} is {first.kind}.")
        if source.kind not in {"LORA", "IA3"}:
            raise ModelError(f"{where}: is {source.kind}; peft sums LORA and IA3 adapters alone.")
        if source.kind == "IA3" and method != "linear":
            raise ModelError(f"{where}: IA3 adapters can be summed with --method linear alone.")
        if _base(source) != _base(first):
            raise ModelError(
                f"{where}: is of the base model {_base(source)}, {first.folder} of {_base(first)}. "
                "Only adapters of one base model can be summed."
            )
        for key in ("task_type", "fan_in_fan_out"):
            if config.get(key) != first.config.get(key):
                raise ModelError(f"{where}: {key} is {config.get(key)}, elsewhere it is another.")
        if config.get("use_dora"):
            raise ModelError(f"{where}: DoRA's magnitudes have no sum; merge it instead.")
        if config.get("modules_to_save"):
            raise ModelError(
                f"{where}: has modules trained whole ({', '.join(config['modules_to_save'])}), "
                "which have no sum. Only adapters without a head of their own can be summed."
            )
        if config.get("bias", "none") != "none" or config.get("trainable_token_indices"):
            raise ModelError(f"{where}: trained biases or tokens cannot be summed.")
        _refuse_start(source)
    ranks = {int(source.config.get("r") or 0) for source in sources}
    if first.kind == "LORA" and method in SAME_RANK and len(ranks) > 1:
        raise ModelError(
            f"--method: {method} needs adapters of one rank; these have "
            f"{', '.join(map(str, sorted(ranks)))}. Take cat or svd."
        )


def _base(saved: Saved) -> str:
    """Return the name of the base model, and its commit where it is of the Hub."""
    name, revision = (saved.config.get(key) for key in ("base_model_name_or_path", "revision"))
    return f"{name} ({revision})" if revision else str(name)


def _refuse_start(saved: Saved) -> None:
    if saved.moves_base:
        raise ModelError(
            f"{saved.folder}: its start ({saved.config['init_lora_weights']}) changed the base "
            "weights, so its factors are no update of them. Merge it instead."
        )


def interpolate(saved: Saved, scale: float, to: Path, *, overwrite: bool = False) -> dict[str, Any]:
    """Write an adapter whose update is `scale` times another's: 0 is the base, 1 the tuned model.

    Modules that are trained whole, such as a classification head, are kept as they are: the
    base model has none to go towards. The base model itself is not needed.

    Args:
        saved: the adapter.
        scale: any finite number; above 1 goes beyond the tuned model, below 0 away from it.
        to: the adapter folder to write; it appears whole or not at all.
        overwrite: replace what is there.

    Returns:
        Folder, scale, and the number of tensors that were scaled.

    Raises:
        ConfigError: the scale is no number, or the place is taken.
        ModelError: a method whose update cannot be scaled by one factor.
    """
    if not torch.isfinite(torch.tensor(scale, dtype=torch.float64)):
        raise ConfigError(f"--scale: got {scale}; it must be a finite number, 0.5 is half way.")
    kind, config = saved.kind, saved.config
    if kind not in SCALED and kind != "IA3":
        raise ModelError(
            f"{saved.folder}: is {kind}, whose update cannot be scaled; these can be: "
            f"{', '.join(sorted([*SCALED, 'IA3']))}."
        )
    if config.get("use_dora"):
        raise ModelError(f"{saved.folder}: DoRA's update is not linear and cannot be scaled.")
    if config.get("bias", "none") != "none" or config.get("trainable_token_indices"):
        raise ModelError(f"{saved.folder}: trained biases or tokens cannot be scaled.")
    _refuse_start(saved)
    free(to, overwrite=overwrite)
    tensors = weights(saved.folder)
    scaled = 0
    for name, tensor in tensors.items():
        part = _factor(name)
        if kind == "IA3" and part == "ia3_l":
            # It multiplies: 1 leaves the activations as they are.
            tensors[name] = 1 + scale * (tensor - 1)
        elif part in SCALED.get(kind, ()):
            tensors[name] = tensor * scale
        else:
            continue
        scaled += 1
    if not scaled:
        raise ModelError(f"{saved.folder}: no tensor of it is one that {kind} would scale.")
    with whole_folder(to, overwrite=overwrite) as scratch:
        for file in saved.folder.iterdir():
            if file.is_file() and file.name not in {WEIGHTS, "README.md"}:
                shutil.copyfile(file, scratch / file.name)
        save_file(tensors, scratch / WEIGHTS, metadata={"format": "pt"})
        weights(scratch)
    return {"folder": str(to), "scale": scale, "scaled_tensors": scaled}


def _factor(name: str) -> str:
    """Return the parameter's own name: `lora_B` of `….q_proj.lora_B.weight`."""
    parts = name.split(".")
    return parts[-2] if parts[-1] == "weight" else parts[-1]


def _settle(folder: Path, like: Saved) -> None:
    """Name the base model as the sources do, and order what peft keeps as sets."""
    file = folder / CONFIG
    config = json.loads(file.read_text(encoding="utf-8"))
    for key, value in config.items():
        if isinstance(value, list) and all(isinstance(item, str) for item in value):
            config[key] = sorted(set(value))
    config["base_model_name_or_path"] = like.config.get("base_model_name_or_path")
    config["revision"] = like.config.get("revision")
    file.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
