"""What metrics of texts check first."""

from __future__ import annotations

from collections.abc import Sequence

from loratory.errors import DataError
from loratory.records import Prediction

__all__ = ["check_texts"]


def check_texts(predictions: Sequence[Prediction]) -> None:
    """Raise unless every row has a text, and references that are all texts; they may be empty.

    Raises:
        DataError: the sentence names the row, and what is wrong with it.
    """
    for prediction in predictions:
        where = f"row '{prediction.id}'"
        if not prediction.references:
            raise DataError(f"{where}: no references; give at least one.")
        for field, values in (("text", (prediction.text,)), ("references", prediction.references)):
            for value in values:
                if not isinstance(value, str):
                    raise DataError(f"{where}: {field} must be text, got {type(value).__name__}.")
