"""The recall loss: a class weighs more the more of its pixels the network misses."""

from __future__ import annotations

import numpy as np
from mxnet import autograd

from .pixels import F, PixelLoss, Pixels


class RecallLoss(PixelLoss):
    """Cross-entropy whose pixels of class c weigh 1 - recall(c): Tian et al., ICRA 2022. Mean over labelled pixels.

    Recall is computed from the current predictions (on a tie the first class) over the whole batch, so a sample's loss
    depends on the other samples. The weights are constants in backward.
    """

    def of(self, pixels: Pixels):
        """(N,) mean of the weighted cross-entropy."""
        with autograd.pause():
            best, predicted = pixels.planes[0], F.zeros_like(pixels.planes[0])
            for k, plane in enumerate(pixels.planes[1:], 1):
                predicted = F.where(plane > best, F.full(plane.shape, k, ctx=plane.context), predicted)
                best = F.maximum(best, plane)
            missed = (predicted != pixels.labels) * pixels.valid
            found = [((pixels.labels == c) * missed).sum() for c in range(self._num_classes)]
            counts = np.maximum(pixels.counts.sum(0), 1)
            weights = F.stack(*found).reshape(-1) / F.array(counts, ctx=best.context)
            weights = F.take(weights, pixels.labels)
        return pixels.mean(pixels.negative_log_likelihood() * weights)
