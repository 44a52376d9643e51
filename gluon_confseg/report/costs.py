"""What confusions cost: arithmetic on confusion matrices (NumPy only), all in mIoU or in pixels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gluon_confseg import metrics


def pair_costs(counts: np.ndarray, misses: np.ndarray | None = None) -> np.ndarray:
    """mIoU that would be gained if no pixel of class i were taken for class j: (K, K), 0 on the diagonal.

    counts    (K, K), rows truth
    misses    (K,) pixels of each class that were taken for none: the result is then (K, K + 1), with them last

    Those pixels become hits of i, whose union already holds them, and leave the union of j. Where j is in no truth and
    was predicted for i alone, it is then in no prediction either, and leaves the mean.
    """
    counts = np.asarray(counts, np.float64)
    missed = np.zeros(len(counts)) if misses is None else np.asarray(misses, np.float64)
    hits, iou = np.diag(counts), metrics.iou(counts, missed)
    union = counts.sum(0) + counts.sum(1) + missed - hits
    total, classes = np.nansum(iou), np.count_nonzero(union)
    confused = np.where(np.eye(len(counts)), 0, counts)
    left = union - confused
    for_prediction = np.divide(hits, left, out=np.zeros_like(counts), where=left > 0) - np.nan_to_num(iou)
    leaves = (confused > 0) & (left == 0)
    if misses is not None:
        confused = np.column_stack([confused, missed])
        for_prediction, leaves = (np.pad(part, ((0, 0), (0, 1))) for part in (for_prediction, leaves))
    for_truth = confused / np.maximum(union, 1)[:, None]
    gained = (total + for_truth + for_prediction) / np.maximum(classes - leaves, 1) - total / max(classes, 1)
    return np.where(confused > 0, gained, 0)


def without_confusion_inside(counts: np.ndarray, group: Sequence[int]) -> np.ndarray:
    """The same counts with every pixel right that was taken for another class of its own group."""
    counts = np.array(counts)
    group = np.asarray(group)
    inside = np.ix_(group, group)
    block = counts[inside]
    counts[inside] = np.diag(block.sum(1))
    return counts


def wrong_pixels(counts: np.ndarray, groups: Sequence[Sequence[int]]) -> tuple:
    """Shares of the labelled pixels: (wrong in all, taken for one of the same group, the others)."""
    counts = np.asarray(counts)
    together = np.zeros(counts.shape, bool)
    for group in groups:
        together[np.ix_(group, group)] = True
    np.fill_diagonal(together, False)
    total = max(int(counts.sum()), 1)
    wrong, inside = int(counts.sum() - np.trace(counts)), int(counts[together].sum())
    return wrong / total, inside / total, (wrong - inside) / total
