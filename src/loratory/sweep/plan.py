"""Which trials a sweep consists of: a recipe, with its method and its seed exchanged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from loratory.config import RunConfig, from_mapping, to_mapping
from loratory.errors import ConfigError

__all__ = ["Budget", "plan"]


@dataclass(frozen=True)
class Budget:
    """How much every trial may train; with none of the three, as long as the recipe says."""

    steps: int | None = None
    """Optimiser steps."""
    tokens: int | None = None
    """Tokens read, padding left out."""
    seconds: float | None = None
    """Seconds of training."""

    def problems(self) -> list[str]:
        """Return what is wrong with these values, one sentence each."""
        given = {name: value for name, value in vars(self).items() if value is not None}
        found = [
            f"--{name}: {value} is not above 0." for name, value in given.items() if value <= 0
        ]
        if len(given) > 1:
            names = " and ".join(f"--{name}" for name in given)
            found.append(f"{names}: give one of them, as trials share one budget.")
        return found

    def train(self) -> dict[str, Any]:
        """Return the fields of a recipe's train section that the budget sets.

        Early stopping would give one method more of the budget than another, so it is off; the
        best state by validation loss is kept all the same.
        """
        if self.steps is not None:
            return {"max_steps": self.steps, "early_stopping_patience": None}
        if self.tokens is None and self.seconds is None:
            return {}
        # Nobody knows how many steps that will be, so no schedule can be stretched over them.
        return {
            "max_tokens": self.tokens,
            "max_seconds": self.seconds,
            "num_train_epochs": 10_000,
            "max_steps": -1,
            "lr_scheduler_type": "constant",
            "warmup_steps": 0,
            "early_stopping_patience": None,
        }


def plan(
    recipe: RunConfig,
    methods: Sequence[str | Mapping[str, Any]],
    seeds: int,
    budget: Budget | None = None,
) -> dict[tuple[str, int], RunConfig]:
    """Return the config of every trial, by method and seed.

    The rows of each split are the same in all of them: only training has the trial's seed.

    Args:
        recipe: what is common to all; its method's settings serve the trials of that method.
        methods: names, or mappings with a name and settings.
        seeds: how many seeds each, from the recipe's own on.
        budget: what every trial may train.

    Raises:
        ConfigError: one problem for each mistake.
    """
    budget = budget or Budget()
    problems = budget.problems()
    if seeds < 1:
        problems.append(f"--seeds: {seeds} is not 1 or more; 3 show a spread.")
    if not methods:
        problems.append("--methods: none; name at least one, as lora,ia3.")
    names = [item if isinstance(item, str) else str(item.get("name")) for item in methods]
    problems += [
        f"--methods: '{name}' is given twice."
        for name in sorted(set(names))
        if names.count(name) > 1
    ]
    common = to_mapping(recipe)
    data = {**common["data"], "seed": recipe.data.seed}
    if recipe.data.seed is None:
        data["seed"] = recipe.seed
    trials = {}
    for name, item in zip(names, methods, strict=True):
        own: Any = item
        if isinstance(item, str) and name == recipe.method.name:
            own = common["method"]
        for seed in range(recipe.seed, recipe.seed + max(seeds, 0)):
            mapping = {
                **common,
                "method": own,
                "seed": seed,
                "data": data,
                "train": {**common["train"], **budget.train()},
                "name": f"{name}-{seed}",
            }
            try:
                trials[name, seed] = from_mapping(mapping)
            except ConfigError as error:
                problems += [problem for problem in error.problems if problem not in problems]
    if problems:
        raise ConfigError(problems)
    return trials
