"""Has fine-tuning made a bias grow? Base against tuned, on the same pairs and the same rows.

Zhao et al. 2017, "Men Also Like Shopping" (arXiv 1707.09457), call it amplification. Here it is a
difference with an interval. Each way of looking gives a `Part`: `preference_part` (which of two
sentences is likelier), `swap_part` (what changes when the group in the input does), `group_part`
(scores by group). `bias_finding` makes one answer of them. Nothing here needs a model.
"""

from loratory.evaluation.bias.finding import bias_finding
from loratory.evaluation.bias.groups import group_part
from loratory.evaluation.bias.part import Part
from loratory.evaluation.bias.preference import preference_part
from loratory.evaluation.bias.swaps import swap_part

__all__ = ["Part", "bias_finding", "group_part", "preference_part", "swap_part"]
