"""The seesaw loss: pixels of frequent classes lower the scores of rare ones less, unless taken for these."""

from __future__ import annotations

import math

import numpy as np
from mxnet import autograd

from .pixels import FARTHEST, F, PixelLoss, Pixels, negative_log_likelihood
from .statistics import LabelStatistics


class SeesawLoss(PixelLoss):
    """Seesaw loss: Wang et al., CVPR 2021. Mean over labelled pixels.

    In a pixel of class i, exp(z_j) of every other class j is multiplied by M_ij C_ij:

    M_ij = min(1, N_j / N_i)^mitigation     N: pixels of each class in the training split
    C_ij = max(1, q_j / q_i)^compensation   q: the current softmax

    Both are constants in backward. With mitigation 0 and compensation 0 it is plain cross-entropy.
    """

    def __init__(
        self,
        num_classes: int,
        statistics: LabelStatistics,
        *,
        mitigation: float = 0.8,
        compensation: float = 2.0,
        ignore_label: int = 255,
        **kwargs,
    ):
        super().__init__(num_classes, ignore_label, **kwargs)
        for name, value in (("mitigation", mitigation), ("compensation", compensation)):
            if not (value >= 0 and math.isfinite(value)):
                raise ValueError(f"{name} is finite and not negative, got {value}")
        self._mitigation, self._compensation = mitigation, compensation
        # a class without pixels counts as one pixel
        self._log_counts = np.log(np.maximum(statistics.pixels, 1))

    def of(self, pixels: Pixels):
        """(N,) mean of the seesaw loss."""
        with autograd.pause():
            own, factors = pixels.of_class(self._log_counts), []
            for plane, log_count in zip(pixels.planes, self._log_counts):  # 0 where j is i
                mitigated = F.minimum(float(log_count) - own, 0) * self._mitigation
                # q_j / q_i is exp(z_j - z_i)
                factors.append(mitigated + F.clip(plane - pixels.true, 0, FARTHEST) * self._compensation)
        planes = [plane + factor for plane, factor in zip(pixels.planes, factors)]
        return pixels.mean(pixels.only_labelled(negative_log_likelihood(planes, pixels.true)))
