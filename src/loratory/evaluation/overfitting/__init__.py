"""Did a training learn its rows by heart? From the losses of each validation, and from the answers.

`RowLosses` is what a validation measured, `memorised` counts answers that repeat training targets,
and `overfitting` makes one answer of both. Nothing here needs a model.
"""

from loratory.evaluation.overfitting.copies import memorised
from loratory.evaluation.overfitting.finding import overfitting
from loratory.evaluation.overfitting.losses import LOSSES, RowLosses, read_losses

__all__ = ["LOSSES", "RowLosses", "memorised", "overfitting", "read_losses"]
