"""The focal loss: pixels whose true class is predicted with a high probability weigh less."""

from __future__ import annotations

import math

from .pixels import F, PixelLoss, Pixels

_LEAST = 1e-30  # 0 to a power below 1 has an infinite slope


class FocalLoss(PixelLoss):
    """- (1 - q)^gamma log q, with q the true class's probability: Lin, Goyal, Girshick, He and Dollar, ICCV 2017.

    Pixels with a large q weigh less than in cross-entropy.

    gamma   how much less such pixels weigh; 0 is plain cross-entropy

    Mean over labelled pixels. There are no class weights, because the paper's alpha is for two classes.
    """

    def __init__(self, num_classes: int, *, gamma: float = 2.0, ignore_label: int = 255, **kwargs):
        super().__init__(num_classes, ignore_label, **kwargs)
        if not (gamma >= 0 and math.isfinite(gamma)):
            raise ValueError(f"gamma is finite and not negative, got {gamma}")
        self._gamma = gamma

    def of(self, pixels: Pixels):
        """(N,) mean of the focal loss."""
        losses = pixels.negative_log_likelihood()
        missing = F.maximum(-F.expm1(-losses), _LEAST)  # 1 - q, exact where q is near 1
        return pixels.mean(missing**self._gamma * losses)
