"""Confusion matrix and intersection over union, as the official Cityscapes scorer defines them.

Orientation everywhere: ``counts[i, j]`` = pixels of true class i predicted as class j.
"""

from __future__ import annotations

import sys

import cv2
import numpy as np

from .groups import SubnetSpace

_VALUES = 256
# pixels that are counted at once: OpenCV's cells are float32, exact to 2^24, and few pixels stay in the cache
_PART = 1 << 22


class ConfusionMatrix:
    """A confusion matrix of K classes that counts batch by batch.

    num_classes   K; classes are 0 ... K - 1
    ignore_label  the label that is skipped. A *prediction* of this value is a miss: the matrix has no entry for it, and
                  it counts in the union of its true class.
    counts        (K, K) int64; rows are truth, columns are predictions
    misses        (K,) int64, pixels of each class that were predicted as no class
    """

    def __init__(self, num_classes: int, ignore_label: int = 255):
        self.num_classes = num_classes
        self.ignore_label = ignore_label
        # int64: a float32 sum stops counting at 2^24
        self.counts = np.zeros((num_classes, num_classes), np.int64)
        self.misses = np.zeros(num_classes, np.int64)
        self._below = max(1, min(num_classes, _VALUES))

    def update(self, labels, predictions) -> None:
        """Count one batch. labels, predictions: integers of one shape, (N, H, W) or any; NumPy or NDArray.

        Raises ValueError for shapes that differ and for a value outside the classes.
        """
        labels, predictions = _integers(labels, "labels"), _integers(predictions, "predictions")
        if labels.shape != predictions.shape:
            raise ValueError(f"labels of shape {labels.shape} for predictions of shape {predictions.shape}")
        if labels.dtype == predictions.dtype == np.uint8 and self._counted_by_value(labels, predictions):
            return
        labels, predictions = labels.astype(np.int64), predictions.astype(np.int64)
        counted = labels != self.ignore_label
        labels, predictions = labels[counted], predictions[counted]
        missed = predictions == self.ignore_label
        self._check(labels, "label")
        self._check(predictions[~missed], "prediction")
        k = self.num_classes
        self.misses += np.bincount(labels[missed], minlength=k)
        cells = labels[~missed] * k + predictions[~missed]
        self.counts += np.bincount(cells, minlength=k * k).reshape(k, k)

    def _counted_by_value(self, labels: np.ndarray, predictions: np.ndarray) -> bool:
        """Count a batch of uint8; False, and nothing is counted, where a value is no class."""
        k = min(self.num_classes, _VALUES)
        pairs = count_pairs(labels, predictions, self._below)
        if self._below < _VALUES and pairs.sum() != labels.size:
            # some predictions are no classes: misses, or ignored as their labels are; more will come
            self._below = _VALUES
            pairs = count_pairs(labels, predictions)
        ignored = np.arange(_VALUES) == self.ignore_label
        labelled = np.where(ignored[:k, None], 0, pairs[:k])
        misses = labelled[:, ignored[: self._below]].sum(1)
        counts = np.where(ignored[:k], 0, labelled[:, :k])
        if counts.sum() + misses.sum() + pairs[ignored].sum() != labels.size:
            return False
        self.counts[:k, :k] += counts
        self.misses[:k] += misses
        return True

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
        return ratio(np.diag(self.counts), self.counts.sum(1) + self.misses)

    def mean_recall(self) -> float:
        """Mean of `recall` over the classes in the truth."""
        return mean_of_defined(self.recall())

    def pixel_accuracy(self) -> float:
        """Share of the labelled pixels that are right; NaN where there are none."""
        return float(ratio(np.trace(self.counts), self.counts.sum() + self.misses.sum()))


def count_pairs(rows: np.ndarray, columns: np.ndarray, below: int = _VALUES) -> np.ndarray:
    """How often each value of one array stands where each value of the other does.

    rows, columns   uint8 of one shape, any
    below           pairs whose value in `columns` is not below this, from 1 to 256, are left out; few are quicker
    returns         (256, below) int64; [i, j] = elements that are i in `rows` and j in `columns`
    """
    rows, columns = rows.reshape(-1), columns.reshape(-1)
    found = np.zeros((below, _VALUES), np.int64)
    for start in range(0, rows.size, _PART):
        part, other = rows[start : start + _PART], columns[start : start + _PART]
        # each pair of bytes becomes one number of 16 bits. A pair from the second half follows each one of the first:
        # neighbours are mostly alike, and a processor waits when it counts up the same cell twice in a row
        halves = 2 - part.size % 2
        bytes_of_pairs = []
        for pair in zip(part.reshape(halves, 1, -1), other.reshape(halves, 1, -1)):
            bytes_of_pairs += pair if sys.byteorder == "little" else pair[::-1]
        # one row, which OpenCV does not share among threads
        numbers = cv2.merge(bytes_of_pairs).view(np.uint16).reshape(1, -1)
        cells = below * _VALUES
        found += cv2.calcHist([numbers], [0], None, [cells], [0, cells]).reshape(found.shape).astype(np.int64)
    return found.T


def normalize(counts: np.ndarray) -> np.ndarray:
    """Divide each row by its sum. A row without pixels stays zero: a class that never occurs is confused with none."""
    counts = np.asarray(counts, np.float64)
    rows = counts.sum(1, keepdims=True)
    return np.divide(counts, rows, out=np.zeros_like(counts), where=rows > 0)


def iou(counts: np.ndarray, misses=0) -> np.ndarray:
    """(K, K) counts, (K,) misses -> (K,) IoU; NaN for a class in neither truth nor prediction, 0 if only predicted."""
    counts = np.asarray(counts)
    hits = np.diag(counts)
    return ratio(hits, counts.sum(0) + counts.sum(1) + misses - hits)


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
    return ratio(hits, members @ (counts.sum(0) + counts.sum(1) + misses) - hits)


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


def ratio(numerator, denominator) -> np.ndarray:
    """Shares in float64, NaN where the denominator is 0."""
    numerator, denominator = np.asarray(numerator, np.float64), np.asarray(denominator, np.float64)
    return np.divide(numerator, denominator, out=np.full(denominator.shape, np.nan), where=denominator > 0)


def _integers(array, what: str) -> np.ndarray:
    """As uint8 where all values fit, else as int64."""
    array = array.asnumpy() if hasattr(array, "asnumpy") else np.asarray(array)
    if array.dtype.kind not in "iubf":
        raise ValueError(f"{what} must be integers, got {array.dtype}")
    with np.errstate(invalid="ignore"):
        small = array.astype(np.uint8, copy=False)
    if small is array or np.array_equal(small, array):
        return small
    # NDArray arithmetic gives float32 even of integers, so whole numbers are accepted and all else is an error
    rounded = array.astype(np.int64)
    if array.dtype.kind == "f" and not np.array_equal(rounded, array):
        raise ValueError(f"{what} must be whole numbers")
    return rounded
