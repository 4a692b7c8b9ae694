"""The sweep folder: what was asked for, and what each trial found.

sweep.json      the plan, and a line of facts a trial; rewritten after each
recipes/        the recipe of every trial
runs/           the run folder of every trial
logs/           what each trial said
summary.md      the table
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from loratory.config import RunConfig, to_mapping, to_yaml
from loratory.errors import RunError
from loratory.records import dump
from loratory.runs.files import write_text

__all__ = ["Sweep", "Trial"]

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Trial:
    """One method under one seed."""

    method: str
    seed: int
    run: str = ""
    """Its run folder, within the sweep's; empty while there is none."""
    problem: str = ""
    """Why it has no result, in words."""
    values: dict[str, float] = field(default_factory=dict)
    """The tuned model's value of every metric."""
    base: dict[str, float] = field(default_factory=dict)
    """The base model's."""
    trainable: int = 0
    """Trainable parameters."""
    adapter_bytes: int = 0
    train_seconds: float = 0.0
    peak_bytes: int = 0
    """Most memory the trial's process held."""
    steps: int = 0

    @property
    def done(self) -> bool:
        """Whether it need not be run again."""
        return bool(self.values or self.problem)


class Sweep:
    """A sweep folder, opened. Use `Sweep.create` or `Sweep.open`."""

    def __init__(self, folder: Path, trials: list[Trial], facts: Mapping[str, Any]) -> None:
        self.folder = folder
        self.trials = trials
        self.facts = dict(facts)

    @classmethod
    def create(
        cls,
        trials: Mapping[tuple[str, int], RunConfig],
        recipe: RunConfig,
        facts: Mapping[str, Any],
    ) -> Sweep:
        """Make a folder with the recipe of every trial.

        Raises:
            RunError: it cannot be written.
        """
        text = to_yaml(recipe) + "".join(f"{method}-{seed}" for method, seed in trials)
        digest = hashlib.sha256(text.encode()).hexdigest()[:8]
        name = f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{recipe.name}-sweep-{digest}"
        folder = Path(recipe.output_dir).expanduser() / name
        made = cls(
            folder,
            [Trial(method, seed) for method, seed in trials],
            {**facts, "recipe": to_mapping(recipe)},
        )
        for (method, seed), config in trials.items():
            write_text(made.recipe(Trial(method, seed)), to_yaml(config))
        made.write()
        return made

    @classmethod
    def open(cls, folder: Path) -> Sweep:
        """Open a folder that `create` made.

        Raises:
            RunError: it is no sweep folder, or damaged.
        """
        path = folder / "sweep.json"
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            trials = [
                Trial(**{**trial, "seed": int(trial["seed"])}) for trial in data.pop("trials")
            ]
        except FileNotFoundError:
            raise RunError(f"{folder}: not a sweep folder (it has no sweep.json).") from None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RunError(f"{path}: damaged ({error}).") from None
        version = data.pop("schema_version", None)
        if version != SCHEMA_VERSION:
            raise RunError(f"{path}: version {version!r}, this Loratory reads {SCHEMA_VERSION}.")
        return cls(folder, trials, data)

    @property
    def directions(self) -> dict[str, bool]:
        """Whether a lower value is better, by metric; empty before the first result."""
        return dict(self.facts.get("lower_is_better", {}))

    def recipe(self, trial: Trial) -> Path:
        """Return where a trial's recipe is."""
        return self.folder / "recipes" / f"{trial.method}-{trial.seed}.yaml"

    def log(self, trial: Trial) -> Path:
        """Return where a trial's messages go."""
        return self.folder / "logs" / f"{trial.method}-{trial.seed}.log"

    def record(self, trial: Trial) -> None:
        """Keep what a trial found."""
        place = [(one.method, one.seed) for one in self.trials].index((trial.method, trial.seed))
        self.trials[place] = trial
        self.write()

    def write(self) -> None:
        """Write sweep.json.

        Raises:
            RunError: the folder cannot be written.
        """
        data = {
            "schema_version": SCHEMA_VERSION,
            **self.facts,
            "trials": [asdict(trial) for trial in self.trials],
        }
        write_text(self.folder / "sweep.json", dump(data, indent=2) + "\n")
