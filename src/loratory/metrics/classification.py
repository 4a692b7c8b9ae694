"""Accuracy, precision, recall, F1 and calibration error of predicted classes.

Precision, recall and F1 are scikit-learn's with `zero_division=0`: a class that is never
predicted has precision 0, one that never occurs has recall 0, and the macro average runs
over the classes that occur or are predicted. Calibration error is that of Guo et al. 2017,
"On Calibration of Modern Neural Networks": the mean gap of confidence and accuracy over
bins of equal width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from loratory.errors import DataError
from loratory.metrics.base import Array, metric
from loratory.metrics.ratio import ratio
from loratory.records import Prediction
from loratory.registry import signature

__all__ = ["Classification", "class_count", "confusion_matrix"]


@metric("classification")
@dataclass(frozen=True)
class Classification:
    """Accuracy, macro and weighted precision, recall and F1, and calibration error (`ece`).

    `ece` is undefined unless every prediction carries probabilities.
    """

    name: ClassVar[str]
    needs: ClassVar[frozenset[str]] = frozenset({"label"})
    lower_is_better: ClassVar[frozenset[str]] = frozenset({"ece"})
    descriptive: ClassVar[frozenset[str]] = frozenset()
    undefined: ClassVar[Mapping[str, str]] = {"ece": "not every prediction has probabilities"}

    bins: int = field(default=10, metadata={"only": frozenset({"ece"})})
    """Number of confidence bins, of equal width, for the calibration error."""
    classes: int | None = field(default=None, metadata={"sig": None})
    """Number of classes, for scoring in shards; without it, what the predictions show."""

    @property
    def signature(self) -> str:
        return signature(self)

    def problems(self) -> list[str]:
        """Return what is wrong with these values, one `field: sentence` each."""
        problems = []
        if self.bins < 1:
            problems.append(f"bins: {self.bins} is not a number of bins; give 1 or more.")
        if self.classes is not None and self.classes < 1:
            problems.append(f"classes: {self.classes} is not a number of classes; give 1 or more.")
        return problems

    def statistics(self, predictions: list[Prediction]) -> Array:
        """Return one row a prediction, shape (n, 3 K + 3 bins), for K classes.

        A row holds three one-hot vectors over the classes (right, true, predicted) and three
        over the bins (1, right, confidence). They suffice for every value, where the cells of
        the confusion matrix would take K² columns.

        Raises:
            DataError: a row without a label or predicted class, or with one outside the
                classes, or with another number of probabilities than the rest.
        """
        count = class_count(predictions, self.classes)
        rows = np.zeros((len(predictions), 3 * count + 3 * self.bins))
        hits, true, predicted, *binned = np.split(
            rows, np.cumsum([count] * 3 + [self.bins] * 2), axis=1
        )
        # (n, 2): the true and the predicted class
        classes = np.array([_classes(p) for p in predictions], dtype=np.intp).reshape(-1, 2)
        every = np.arange(len(predictions))
        right = classes[:, 0] == classes[:, 1]
        hits[every, classes[:, 0]] = right
        true[every, classes[:, 0]] = 1
        predicted[every, classes[:, 1]] = 1
        known = np.flatnonzero([bool(p.probabilities) for p in predictions])
        confidence = np.array([predictions[i].probabilities[classes[i, 1]] for i in known])
        # Guo et al. close their bins on the right; confidence 0 joins the first.
        inner = np.linspace(0, 1, self.bins + 1)[1:-1]
        place = np.searchsorted(inner, confidence, side="left")
        for part, value in zip(binned, (1, right[known], confidence), strict=True):
            part[known, place] = value
        return rows

    def reduce(self, totals: Array) -> dict[str, Array]:
        """Return accuracy, {macro,weighted}_{precision,recall,f1} and ece, each 0 to 1."""
        count = (totals.shape[-1] - 3 * self.bins) // 3
        hits, true, predicted, *binned = np.split(
            totals, np.cumsum([count] * 3 + [self.bins] * 2), axis=-1
        )
        n = true.sum(axis=-1)
        present = ((true + predicted) > 0).astype(np.float64)
        values = {"accuracy": ratio(hits.sum(axis=-1), n)}
        by_class = {
            "precision": ratio(hits, predicted, undefined=0.0),
            "recall": ratio(hits, true, undefined=0.0),
            "f1": ratio(2 * hits, true + predicted, undefined=0.0),
        }
        for average, weights in (("macro", present), ("weighted", true)):
            for name, value in by_class.items():
                total = (weights * value).sum(axis=-1)
                values[f"{average}_{name}"] = ratio(total, weights.sum(axis=-1))
        counted, right, confidence = binned
        complete = counted.sum(axis=-1) == n
        gap = np.abs(right - confidence).sum(axis=-1)
        values["ece"] = ratio(gap, np.where(complete, n, 0.0))
        return values


def class_count(predictions: Sequence[Prediction], classes: int | None = None) -> int:
    """Return the number of classes, having checked every row against it.

    Args:
        predictions: rows with `label` and `predicted`.
        classes: the number, where known; otherwise the length of the probabilities, or, with
            none, one more than the highest class seen.

    Raises:
        DataError: as for `Classification.statistics`; the sentence names the row.
    """
    widths: dict[int, Prediction] = {}
    for prediction in predictions:
        if prediction.probabilities:
            widths.setdefault(len(prediction.probabilities), prediction)
    seen = [_classes(prediction) for prediction in predictions]
    if classes is None:
        classes = next(iter(widths), 1 + max((max(pair) for pair in seen), default=-1))
    for width, prediction in widths.items():
        if width != classes:
            raise DataError(
                f"row '{prediction.id}': {width} probabilities for {classes} classes; every row "
                "needs one a class."
            )
    for prediction, (label, guess) in zip(predictions, seen, strict=True):
        for name, value in (("label", label), ("predicted", guess)):
            if not 0 <= value < classes:
                raise DataError(
                    f"row '{prediction.id}': {name} {value} is not a class; {classes} classes "
                    f"are numbered 0 to {classes - 1}."
                )
    return classes


def confusion_matrix(
    predictions: Sequence[Prediction], classes: int | None = None
) -> NDArray[np.int64]:
    """Return counts of shape (K, K): true class down, predicted class across.

    Raises:
        DataError: as for `Classification.statistics`.
    """
    count = class_count(predictions, classes)
    matrix = np.zeros((count, count), dtype=np.int64)
    for prediction in predictions:
        matrix[_classes(prediction)] += 1
    return matrix


def _classes(prediction: Prediction) -> tuple[int, int]:
    """Return the true and the predicted class."""
    if prediction.label is None:
        raise DataError(f"row '{prediction.id}': no label; give the true class, from 0.")
    if prediction.predicted is None:
        raise DataError(f"row '{prediction.id}': no predicted class; a classifier must give one.")
    return prediction.label, prediction.predicted
