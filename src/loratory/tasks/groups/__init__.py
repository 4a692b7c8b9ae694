"""Words that name groups of people: to swap them, to compare by them, to balance by them."""

from loratory.tasks.groups.augment import augmented
from loratory.tasks.groups.balance import balanced, check_column, with_group
from loratory.tasks.groups.pairs import read_pairs
from loratory.tasks.groups.remedy import remedied
from loratory.tasks.groups.swap import Axis, Swaps, axes, swap, swapped
from loratory.tasks.groups.wordlist import WordList, read_list

__all__ = [
    "Axis",
    "Swaps",
    "WordList",
    "augmented",
    "axes",
    "balanced",
    "check_column",
    "read_list",
    "read_pairs",
    "remedied",
    "swap",
    "swapped",
    "with_group",
]
