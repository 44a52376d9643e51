"""Confusion matrix and intersection over union, as the official Cityscapes scorer defines them.

Orientation everywhere: ``counts[i, j]`` = pixels of true class i predicted as class j.
"""

from __future__ import annotations

import numpy as np

from .groups import SubnetSpace


class ConfusionMatrix:
    """A confusion matrix of K classes that counts batch by batch.

    Parameters
    ----------
    num_classes : K; classes are 0 ... K - 1
    ignore_label : the label that is skipped. A *prediction* of this value is a miss: the matrix has no entry for it,
        and it counts in the union of its true class.
    """

    def __init__(self, num_classes: int, ignore_label: int = 255):
        self.num_classes = num_classes
        self.ignore_label = ignore_label
        # int64: a float32 sum stops counting at 2^24
        self.counts = np.zeros((num_classes, num_classes), np.int64)
        self.misses = np.zeros(num_classes, np.int64)

    def update(self, labels, predictions) -> None:
        """Count one batch. labels, predictions: integers of one shape, (N, H, W) or any; NumPy or NDArray.

        Raises ValueError for shapes that differ and for a value outside the classes.
        """
        labels, predictions = _integers(labels, "labels"), _integers(predictions, "predictions")
        if labels.shape != predictions.shape:
            raise ValueError(f"labels of shape {labels.shape} for predictions of shape {predictions.shape}")
        counted = labels != self.ignore_label
        labels, predictions = labels[counted], predictions[counted]
        missed = predictions == self.ignore_label
        self._check(labels, "label")
        self._check(predictions[~missed], "prediction")
        k = self.num_classes
        self.misses += np.bincount(labels[missed], minlength=k)
        cells = labels[~missed] * k + predictions[~missed]
        self.counts += np.bincount(cells, minlength=k * k).reshape(k, k)

    def _check(self, values: np.ndarray, what: str) -> None:
        if values.size and (values.min() < 0 or values.max() >= self.num_classes):
            outside = values[(values < 0) | (values >= self.num_classes)][0]
            raise ValueError(
                f"{what} {outside} is no class (0-{self.num_classes - 1}) and not the ignored {self.ignore_label}"
            )

    def normalized(self) -> np.ndarray:
        """(K, K) float64 without NaN, rows sum to 1: share of the pixels of class i predicted as j. See `normalize`."""
        return normalize(self.counts)

    def iou(self) -> np.ndarray:
        """(K,) intersection over union; NaN where a class is neither in the truth nor predicted."""
        return iou(self.counts, self.misses)

    def mean_iou(self) -> float:
        """Mean of `iou` over the classes that occur; NaN where none does."""
        return mean_iou(self.counts, self.misses)

    def category_iou(self, categories) -> np.ndarray:
        """IoU of categories of classes; see `category_iou`."""
        return category_iou(self.counts, self.misses, categories)

    def recall(self) -> np.ndarray:
        """(K,) share of each class's pixels that were found; NaN where a class is not in the truth."""
        return _ratio(np.diag(self.counts), self.counts.sum(1) + self.misses)

    def mean_recall(self) -> float:
        """Mean of `recall` over the classes in the truth."""
        return mean_of_defined(self.recall())

    def pixel_accuracy(self) -> float:
        """Share of the labelled pixels that are right; NaN where there are none."""
        return float(_ratio(np.trace(self.counts), self.counts.sum() + self.misses.sum()))


def normalize(counts: np.ndarray) -> np.ndarray:
    """Divide each row by its sum. A row without pixels stays zero: a class that never occurs is confused with none."""
    counts = np.asarray(counts, np.float64)
    rows = counts.sum(1, keepdims=True)
    return np.divide(counts, rows, out=np.zeros_like(counts), where=rows > 0)


def iou(counts: np.ndarray, misses=0) -> np.ndarray:
    """(K, K) counts, (K,) misses -> (K,) IoU; NaN for a class in neither truth nor prediction, 0 if only predicted."""
    counts = np.asarray(counts)
    hits = np.diag(counts)
    return _ratio(hits, counts.sum(0) + counts.sum(1) + misses - hits)


def mean_iou(counts: np.ndarray, misses=0) -> float:
    """mIoU: the mean of `iou` over the classes that occur in truth or prediction; NaN where none does."""
    return mean_of_defined(iou(counts, misses))


def category_iou(counts: np.ndarray, misses, categories) -> np.ndarray:
    """IoU where the classes of a category count as one: confusing them is no error.

    counts      (K, K); misses: (K,), pixels of each class that are predicted as the ignored label
    categories  {name: its classes}, `LabelSpace.categories`
    returns     (len(categories),); NaN for a category absent from truth and prediction
    """
    counts = np.asarray(counts)
    members = np.zeros((len(categories), len(counts)), counts.dtype)
    for row, classes in zip(members, categories.values()):
        row[list(classes)] = 1
    hits = np.diag(members @ counts @ members.T)
    return _ratio(hits, members @ (counts.sum(0) + counts.sum(1) + misses) - hits)


def collapse(counts: np.ndarray, group) -> np.ndarray:
    """Counts in a subnet's space, Section 3.1: (K, K) -> (|g| + 1, |g| + 1), channel 0 is "others".

    A group of all classes has no "others"; this gives its counts in the group's order.
    """
    counts = np.asarray(counts)
    members = SubnetSpace(group, len(counts)).members().astype(counts.dtype)
    return members @ counts @ members.T


def mean_of_defined(values: np.ndarray) -> float:
    """Mean over the entries that are not NaN; NaN where there are none."""
    defined = values[~np.isnan(values)].tolist()  # summed one after the other, as the official scorer does
    return sum(defined) / len(defined) if defined else float("nan")


def _ratio(numerator, denominator) -> np.ndarray:
    numerator, denominator = np.asarray(numerator, np.float64), np.asarray(denominator, np.float64)
    return np.divide(numerator, denominator, out=np.full(denominator.shape, np.nan), where=denominator > 0)


def _integers(array, what: str) -> np.ndarray:
    array = array.asnumpy() if hasattr(array, "asnumpy") else np.asarray(array)
    if array.dtype.kind == "f":
        # NDArray arithmetic gives float32 even of integers, so whole numbers are accepted and all else is an error
        rounded = array.astype(np.int64)
        if not np.array_equal(rounded, array):
            raise ValueError(f"{what} must be whole numbers")
        return rounded
    if array.dtype.kind not in "iub":
        raise ValueError(f"{what} must be integers, got {array.dtype}")
    return array.astype(np.int64)
