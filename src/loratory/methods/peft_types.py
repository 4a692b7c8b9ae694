"""Every type of peft that has no file of its own here, by peft's name in small letters.

A recipe gives its parameters under peft's own names. The class of settings is made from the
installed peft's when a recipe names the type; until then peft is not imported. What each type
can do is known from the table below; a type that a newer peft adds is taken on trust, and
merging it is refused.
"""

from __future__ import annotations

import copy
import dataclasses
import enum
import importlib.util
import types
import typing
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args, get_origin, get_type_hints

from loratory.errors import ConfigError, MissingDependencyError, suggest
from loratory.methods.base import (
    EVERY_BASE,
    EVERY_FAMILY,
    METHODS,
    Family,
    Method,
    PeftMethod,
    Quantisation,
)

__all__ = ["REFUSED", "TYPES", "PeftType"]

CAUSAL: frozenset[Family] = frozenset({"causal"})
NONE: frozenset[Quantisation] = frozenset()


class PeftType(NamedTuple):
    """What one of peft's types can do."""

    about: str
    paper: str
    families: frozenset[Family] = EVERY_FAMILY
    merges: bool = True
    quantised: frozenset[Quantisation] = NONE
    conv1d: bool = True
    reads_weights: bool = False


def _paper(number: str) -> str:
    return f"arXiv {number}"


TYPES: dict[str, PeftType] = {
    "adamss": PeftType(
        "Updates in subspaces found by clustering the weights.",
        "peft's `adamss`",
        conv1d=False,
        reads_weights=True,
    ),
    "adaption_prompt": PeftType(
        "Gated prompts in the upper layers: LLaMA-Adapter.",
        _paper("2303.16199"),
        CAUSAL,
        merges=False,
    ),
    "beft": PeftType(
        "Trained biases of chosen layers.", _paper("2509.15974"), merges=False, conv1d=False
    ),
    "c3a": PeftType("Block-circular convolutions.", _paper("2407.19342"), conv1d=False),
    "cartridge": PeftType(
        "A trained key-value cache before the prompt.", "peft's `cartridge`", CAUSAL, merges=False
    ),
    "deft": PeftType("Low-rank updates within the weights' own range.", "peft's `deft`"),
    "delora": PeftType(
        "LoRA with the size and the direction of the update apart.",
        _paper("2503.18225"),
        conv1d=False,
    ),
    "frod": PeftType(
        "Sparse rotations in a basis that the layers of a kind share.",
        "doi 10.1609/aaai.v40i31.39813",
        reads_weights=True,
    ),
    "glora": PeftType("LoRA with prompts, scales and shifts.", "peft's `glora`", conv1d=False),
    "gralora": PeftType("LoRA over blocks of a weight.", "peft's `gralora`"),
    "hira": PeftType(
        "An update that multiplies the weight by a low-rank matrix.",
        "openreview TwJrTz9cRS",
        quantised=EVERY_BASE,
    ),
    "lily": PeftType(
        "LoRA whose factors layers share.", _paper("2407.09946"), merges=False, conv1d=False
    ),
    "osf": PeftType(
        "Full training in the directions that the weights use least.",
        "peft's `osf`",
        conv1d=False,
        reads_weights=True,
    ),
    "peanut": PeftType(
        "Updates made by a small network from the weights.", _paper("2410.01870"), conv1d=False
    ),
    "psoft": PeftType(
        "Orthogonal training in the weights' main subspace.",
        "openreview FSHrinMArK",
        conv1d=False,
        reads_weights=True,
    ),
    "pvera": PeftType(
        "VeRA with a distribution over its vectors.", _paper("2512.07703"), quantised=EVERY_BASE
    ),
    "road": PeftType(
        "Rotations of pairs of outputs.", _paper("2409.00119"), quantised=EVERY_BASE, conv1d=False
    ),
    "supertuning": PeftType(
        "A chosen sparse share of the weights.",
        _paper("2607.09287"),
        conv1d=False,
        reads_weights=True,
    ),
    "tinylora": PeftType(
        "A handful of numbers that scale random directions.",
        _paper("2602.04118"),
        reads_weights=True,
    ),
    "unilora": PeftType("One trained vector for all layers.", _paper("2506.00799")),
    "vblora": PeftType("LoRA put together from a bank of vectors.", _paper("2405.15179")),
    "waveft": PeftType("A few trained wavelet coefficients of each update.", "peft's `waveft`"),
}
REFUSED = {
    "cpt": "it weighs the parts of a prompt, which a recipe cannot name",
    "multitask_prompt_tuning": "it needs the number of a task with every row",
    "poly": "it needs the number of a task with every row",
    "shadow": "a part of its loss is computed inside the model, where Loratory computes none",
    "xlora": "it mixes adapters that were trained before",
}
"""Types of peft that a recipe cannot use, with the reason."""
SET_HERE = {"modules_to_save", "exclude_modules", "fan_in_fan_out", "inference_mode"}
"""Fields that the model decides."""
QUIET = {"frod": {"progressbar": False}}


class _PeftType(PeftMethod):
    """What the classes made here have in common."""

    def problems(self) -> list[str]:
        import peft

        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}  # type: ignore[arg-type]
        if isinstance(values.get("target_modules"), tuple):
            values["target_modules"] = list(values["target_modules"])
        try:
            getattr(peft, self.peft_config)(**values)
        except (ValueError, TypeError) as error:
            return [f"name: peft refuses these values: {' '.join(str(error).split())}"]
        return []


def _names() -> list[str]:
    return list(TYPES)


def _make(name: str, where: str) -> type[Method] | None:
    """Return the class of a type, made from the installed peft's class of settings.

    Raises:
        ConfigError: a recipe cannot use the type.
        MissingDependencyError: peft is not installed.
    """
    if name in REFUSED:
        raise ConfigError(
            f"{where}: '{name}' cannot be used in a recipe: {REFUSED[name]}. "
            f"{suggest('', [*METHODS.names(), *METHODS.further()])}"
        )
    if name not in TYPES and not _of_installed(name):
        return None
    try:
        import peft  # noqa: F401 - fills the mapping
        from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            f"{where}: '{name}' is made from peft's own settings, and the package {error.name} is "
            "not installed. Run: pip install 'loratory[train]'"
        ) from None

    config = {str(kind.value).lower(): cls for kind, cls in PEFT_TYPE_TO_CONFIG_MAPPING.items()}
    if name not in config:
        return None
    facts = TYPES.get(name, PeftType("A type of the installed peft.", "peft", merges=False))
    members: dict[str, Any] = {
        "__doc__": facts.about,
        "__module__": __name__,
        "peft_config": config[name].__name__,
        **facts._asdict(),
    }
    members.pop("about")
    return dataclasses.make_dataclass(
        config[name].__name__.removesuffix("Config"),
        _fields(name, config[name]),
        bases=(_PeftType,),
        namespace=members,
        frozen=True,
    )


def _of_installed(name: str) -> bool:
    """Return whether the installed peft has a type, judged by its folder and not by importing."""
    spec = importlib.util.find_spec("peft")
    if spec is None or spec.origin is None or not name.isidentifier() or not name.islower():
        return False
    return (Path(spec.origin).parent / "tuners" / name / "config.py").is_file()


def _fields(name: str, config: type) -> list[tuple[str, Any, Any]]:
    """Return name, type and default of what a recipe may set: plain values alone."""
    from peft import PeftConfig

    shared = {field.name for field in dataclasses.fields(PeftConfig)} | SET_HERE
    hints = get_type_hints(config)
    found: list[tuple[str, Any, Any]] = []
    for field in dataclasses.fields(config):
        if field.name in shared or not field.init:
            continue
        hint, default = _plain(hints[field.name]), _default(field)
        default = QUIET.get(name, {}).get(field.name, default)
        if field.name == "target_modules" and name != "adaption_prompt":
            hint, default = tuple[str, ...], ("all-linear",)
        if hint is None:
            continue
        if default is None:
            hint = hint | None
        made = dataclasses.field(
            default_factory=partial(copy.copy, default),
            metadata={"help": field.metadata.get("help", "")},
        )
        found.append((field.name, hint, made))
    return found


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    value = None if field.default is dataclasses.MISSING else field.default
    return value.value if isinstance(value, enum.Enum) else value


def _plain(hint: Any) -> Any:
    """Return a type as YAML can write it, or None for one that it cannot."""
    if hint in (int, float, str, bool, type(None), dict, list):
        return hint
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return Literal[tuple(item.value for item in hint)]
    origin, parts = get_origin(hint), get_args(hint)
    if origin is Literal:
        return hint
    if origin in (typing.Union, types.UnionType):
        kept = [part for part in map(_plain, parts) if part is not None]
        return typing.Union[tuple(kept)] if kept else None  # noqa: UP007 - of a computed tuple
    if origin in (list, dict) and all(_plain(part) is not None for part in parts):
        return hint
    return None


METHODS.make_further(_names, _make)
