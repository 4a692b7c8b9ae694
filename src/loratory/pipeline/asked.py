"""What base and tuned model are asked beside the task: texts, paired sentences, swapped rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from loratory.config import RunConfig
from loratory.records import Example
from loratory.tasks.groups import Swaps, WordList, read_list, read_pairs, swapped
from loratory.tasks.probes import Item, load_probes

__all__ = ["Asked", "asked"]


class Asked(NamedTuple):
    """Everything that the stage `probe` asks."""

    probes: Mapping[str, Sequence[Item]]
    """General texts and questions, by name: what may be forgotten."""
    pairs: Mapping[str, Sequence[Item]]
    """Pairs of sentences by name: option 0 is the stereotyped one."""
    lists: Sequence[WordList]
    swaps: Swaps
    """Test rows with their groups swapped."""


def asked(config: RunConfig, test: Sequence[Example]) -> Asked:
    """Read what a recipe asks; the same recipe and rows always give the same.

    Args:
        config: the recipe. Relative paths start from the working directory.
        test: the test rows.

    Raises:
        ConfigError, DataError: a set or list that is not there, or cannot be read.
    """
    here, seed, bias = Path.cwd(), config.seed, config.bias
    probes = load_probes(config.forgetting.probes, config.forgetting.rows, seed)
    pairs: dict[str, Sequence[Item]] = {}
    for i, name in enumerate(bias.probes):
        short = Path(name.removeprefix("embedded:")).stem
        while short in probes or short in pairs:
            short += "-pairs"
        pairs[short] = read_pairs(name, here, bias.rows, seed, f"bias.probes[{i}]")
    lists = [read_list(name, here, f"bias.swaps[{i}]") for i, name in enumerate(bias.swaps)]
    return Asked(probes, pairs, lists, swapped(test, lists, bias.rows, seed))
