"""Cross-entropy weighted by how rare a class is: median frequency and inverse frequency."""

from __future__ import annotations

import numpy as np

from .pixels import PixelLoss, Pixels
from .statistics import LabelStatistics


class _ClassWeightedLoss(PixelLoss):
    """Mean over labelled pixels of the cross-entropy times the class's weight. Not divided by the sum of weights."""

    def __init__(self, num_classes: int, statistics: LabelStatistics, *, ignore_label: int = 255, **kwargs):
        super().__init__(num_classes, ignore_label, **kwargs)
        found = statistics.pixels > 0
        self._class_weights = np.ones(len(found))  # 1 for a class that does not occur
        if found.any():
            self._class_weights[found] = self.weights(
                statistics.pixels[found], statistics.image_pixels[found]
            )

    def of(self, pixels: Pixels):
        """(N,) weighted mean of the cross-entropy."""
        return pixels.mean(pixels.negative_log_likelihood() * pixels.of_class(self._class_weights))


class MedianFrequencyLoss(_ClassWeightedLoss):
    """Median-frequency balancing: Eigen and Fergus, ICCV 2015; SegNet, PAMI 2017.

    A pixel of class c weighs median(freq) / freq(c); freq(c) is the share that c has of the labelled pixels of the
    images that contain it. Mean over labelled pixels; it is not divided by the sum of the weights.
    """

    @staticmethod
    def weights(pixels: np.ndarray, image_pixels: np.ndarray) -> np.ndarray:
        """Counts of the C classes that occur -> (C,) float64."""
        frequency = pixels / image_pixels
        return np.median(frequency) / frequency


class InverseFrequencyLoss(_ClassWeightedLoss):
    """Inverse-frequency weighting: a pixel of class c weighs P / (C n_c).

    P is the number of labelled pixels in the training split, n_c that of class c, and C the number of classes that have
    any. So each class has the same share in the loss, and the mean weight of a pixel is 1, as in plain cross-entropy.
    """

    @staticmethod
    def weights(pixels: np.ndarray, image_pixels: np.ndarray) -> np.ndarray:
        """Counts of the C classes that occur -> (C,) float64."""
        return pixels.sum() / (len(pixels) * pixels)
