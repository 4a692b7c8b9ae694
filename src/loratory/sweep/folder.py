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
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from loratory.codec import dump
from loratory.config import RunConfig, to_mapping, to_yaml
from loratory.errors import RunError
from loratory.files import write_text
from loratory.runs.folder import new_folder

__all__ = ["Sweep", "Trial"]

SCHEMA_VERSION = 2
READABLE = (1, SCHEMA_VERSION)


@dataclass(frozen=True)
class Trial:
    """One method under one seed."""

    method: str
    seed: int
    run: str = ""
    """Its run folder, within the sweep's; empty while there is none."""
    problem: str = ""
    """Why it can have no result, in words."""
    fault: str = ""
    """Why it has none yet though it was run, in words; it is run again."""
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
    validation_loss: float | None = None
    """The lowest one of the training."""
    learning_rate: float | None = None
    """The one it was given, where a sweep tries several; else the recipe's."""
    threads: int | None = None
    """How many it was told to use; None where that was left to torch."""
    began: float = 0.0
    """When its process began, in seconds since 1970; 0 where that is not known."""
    ended: float = 0.0
    """When it ended."""

    @property
    def name(self) -> str:
        """What its files are called."""
        rate = "" if self.learning_rate is None else f"-{self.learning_rate:g}"
        return f"{self.method}-{self.seed}{rate}"

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
        rates: Sequence[float] = (),
    ) -> Sweep:
        """Make a folder with the recipe of every trial.

        Args:
            trials: what `plan` gives.
            recipe: what is common to them.
            facts: to keep beside.
            rates: learning rates that each method tries under its first seed; the one with the
                lowest validation loss serves its other seeds.

        Raises:
            RunError: it cannot be written.
        """
        text = to_yaml(recipe) + "".join(f"{method}-{seed}" for method, seed in trials)
        digest = hashlib.sha256(text.encode()).hexdigest()[:8]
        name = f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{recipe.name}-sweep-{digest}"
        folder = new_folder(Path(recipe.output_dir).expanduser(), name)
        made = cls(
            folder,
            [
                Trial(method, seed, learning_rate=rate)
                for method, seed in trials
                for rate in (rates if rates and seed == recipe.seed else (None,))
            ],
            {**facts, "recipe": to_mapping(recipe), "learning_rates": list(rates)},
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
        if version not in READABLE:
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
        return self.folder / "logs" / f"{trial.name}.log"

    def record(self, place: int, trial: Trial) -> None:
        """Keep what the trial at a place of `trials` found."""
        self.trials[place] = trial
        self.write()

    def rate(self, method: str) -> float | None:
        """Return the learning rate with the lowest validation loss of those a method tried."""
        tried = [
            (trial.validation_loss, trial.learning_rate)
            for trial in self.trials
            if trial.method == method and trial.learning_rate and trial.validation_loss is not None
        ]
        return min(tried)[1] if tried else None

    def counted(self) -> list[Trial]:
        """Return the trials that speak for their methods: of several rates, the chosen one."""
        rates = {trial.method: self.rate(trial.method) for trial in self.trials}
        return [trial for trial in self.trials if trial.learning_rate == rates[trial.method]]

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
