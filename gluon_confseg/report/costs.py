"""What confusions cost: arithmetic on confusion matrices (NumPy only), all in mIoU or in pixels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gluon_confseg import metrics


def mean_iou(counts: np.ndarray) -> float:
    """mIoU of a (K, K) matrix of counts, rows truth; classes that occur nowhere are left out."""
    return metrics.mean_of_defined(metrics.iou(counts))


def pair_costs(counts: np.ndarray) -> np.ndarray:
    """(K, K): mIoU that would be gained if no pixel of class i were taken for class j; 0 on the diagonal.

    Those pixels become hits of i, whose union already holds them, and leave the union of j.
    """
    counts = np.asarray(counts, np.float64)
    hits = np.diag(counts)
    union = counts.sum(0) + counts.sum(1) - hits
    safe = np.where(union > 0, union, 1)
    for_truth = counts / safe[:, None]
    left = union[None, :] - counts
    for_prediction = (
        np.where(left > 0, hits[None, :] / np.where(left > 0, left, 1), 0) - (hits / safe)[None, :]
    )
    costs = (for_truth + for_prediction) / max(int((union > 0).sum()), 1)
    np.fill_diagonal(costs, 0)
    return costs


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
