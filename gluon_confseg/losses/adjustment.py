"""Logit adjustment: in training, the logarithms of the classes' priors are added to the logits."""

from __future__ import annotations

import math

import numpy as np

from .pixels import PixelLoss, Pixels, negative_log_likelihood
from .statistics import LabelStatistics


class LogitAdjustedLoss(PixelLoss):
    """Cross-entropy of z_k + tau log prior_k: Menon et al., ICLR 2021. Mean over labelled pixels.

    tau   strength; 1 aims at the best mean recall, 0 is plain cross-entropy

    Priors are shares of the training split's pixels. In evaluation, use the logits as they are, without the priors.
    """

    def __init__(
        self,
        num_classes: int,
        statistics: LabelStatistics,
        *,
        tau: float = 1.0,
        ignore_label: int = 255,
        **kwargs,
    ):
        super().__init__(num_classes, ignore_label, **kwargs)
        if not math.isfinite(tau):
            raise ValueError(f"tau is finite, got {tau}")
        counts = np.maximum(statistics.pixels, 1)  # a class without pixels counts as one pixel
        self._shift = tau * np.log(counts / counts.sum())

    def of(self, pixels: Pixels):
        """(N,) mean of the adjusted cross-entropy."""
        planes = [plane + float(shift) for plane, shift in zip(pixels.planes, self._shift)]
        losses = negative_log_likelihood(planes, pixels.true + pixels.of_class(self._shift))
        return pixels.mean(pixels.only_labelled(losses))
