"""Length-controlled ROUGE: the score against that of equally long random outputs.

`rouge_length_controlled` scores columns of texts, `RougeLengthControlled` is the metric of a
recipe.
"""

from loratory.metrics.rouge.length_control.metric import RougeLengthControlled
from loratory.metrics.rouge.length_control.score import (
    LengthControlled,
    rouge_length_controlled,
)

__all__ = ["LengthControlled", "RougeLengthControlled", "rouge_length_controlled"]
