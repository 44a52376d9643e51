"""Cross-entropy weighted by how rare a class is: median frequency and inverse frequency."""

from __future__ import annotations

import numpy as np

from .pixels import PixelLoss, Pixels
from .statistics import LabelStatistics


class MedianFrequencyLoss(PixelLoss):
    """Median-frequency balancing: Eigen and Fergus, ICCV 2015; SegNet, PAMI 2017.

    A pixel of class c weighs median(freq) / freq(c); freq(c) is the share that c has of the labelled pixels of the
    images that contain it. Mean over labelled pixels; the weights are not divided out again.
    """

    def __init__(self, num_classes: int, statistics: LabelStatistics, *, ignore_label: int = 255, **kwargs):
        super().__init__(num_classes, ignore_label, **kwargs)
        self._class_weights = median_frequency_weights(statistics)

    def of(self, pixels: Pixels):
        """(N,) weighted mean of the cross-entropy."""
        return _weighted_mean(pixels, self._class_weights)


class InverseFrequencyLoss(PixelLoss):
    """Inverse-frequency weighting: a pixel of class c weighs P / (C n_c).

    P are the split's labelled pixels, n_c those of class c, C the number of classes that have any. So each class has
    the same share in the loss, and the mean weight of the split's pixels is 1, as in plain cross-entropy.
    """

    def __init__(self, num_classes: int, statistics: LabelStatistics, *, ignore_label: int = 255, **kwargs):
        super().__init__(num_classes, ignore_label, **kwargs)
        self._class_weights = inverse_frequency_weights(statistics)

    def of(self, pixels: Pixels):
        """(N,) weighted mean of the cross-entropy."""
        return _weighted_mean(pixels, self._class_weights)


def median_frequency_weights(statistics: LabelStatistics) -> np.ndarray:
    """(K,) float64: median(freq) / freq(c) over the classes that occur; 1 for a class that does not."""
    found = statistics.pixels > 0
    weights = np.ones(len(found))
    if found.any():
        frequency = statistics.pixels[found] / statistics.image_pixels[found]
        weights[found] = np.median(frequency) / frequency
    return weights


def inverse_frequency_weights(statistics: LabelStatistics) -> np.ndarray:
    """(K,) float64: P / (C n_c) over the C classes that occur; 1 for a class that does not."""
    found = statistics.pixels > 0
    weights = np.ones(len(found))
    weights[found] = statistics.pixels.sum() / (found.sum() * statistics.pixels[found])
    return weights


def _weighted_mean(pixels: Pixels, class_weights: np.ndarray):
    return pixels.mean(pixels.negative_log_likelihood() * pixels.of_class(class_weights))
