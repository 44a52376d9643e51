"""The recall loss: a class weighs as much as the network misses it."""

from __future__ import annotations

import numpy as np
from mxnet import autograd

from .pixels import F, PixelLoss, Pixels


class RecallLoss(PixelLoss):
    """Cross-entropy whose pixels of class c weigh 1 - recall(c): Tian et al., ICRA 2022. Mean over labelled pixels.

    Recall is of the current predictions (the first of equal largest logits) over the whole batch, so a sample's loss
    depends on the others. The weights are constants in backward.
    """

    def __init__(self, num_classes: int, *, ignore_label: int = 255, **kwargs):
        super().__init__(num_classes, ignore_label, **kwargs)

    def of(self, pixels: Pixels):
        """(N,) mean of the weighted cross-entropy."""
        with autograd.pause():
            weights = F.take(self._missed_shares(pixels), pixels.labels)
        return pixels.mean(pixels.negative_log_likelihood() * weights)

    def _missed_shares(self, pixels: Pixels):
        """(K,) false negatives over pixels of each class in the batch; 0 for a class that it has none of."""
        missed = (predictions(pixels.planes) != pixels.labels) * pixels.valid
        found = F.stack(*[((pixels.labels == c) * missed).sum() for c in range(self._num_classes)]).reshape(
            -1
        )
        counts = np.maximum(pixels.counts.sum(0), 1)
        return found / F.array(counts, ctx=found.context)


def predictions(planes):
    """K planes (N, P) of logits -> (N, P) class of the largest, the first of equals."""
    best, where = planes[0], F.zeros_like(planes[0])
    for k, plane in enumerate(planes[1:], 1):
        where = F.where(plane > best, F.full(where.shape, k, ctx=where.context), where)
        best = F.maximum(best, plane)
    return where
