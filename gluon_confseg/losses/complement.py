"""Complement cross-entropy: it makes the wrong classes equally improbable."""

from __future__ import annotations

import math

from .pixels import FARTHEST, F, PixelLoss, Pixels, largest


class ComplementLoss(PixelLoss):
    """Cross-entropy plus gamma / (K - 1) times the complement entropy: Kim, Lee and Jeon, Pattern Recogn. Lett. 2021.

    The complement entropy is the entropy of the wrong classes' probabilities, scaled to sum to 1: Chen et al., 2019.

    gamma   negative makes the wrong classes equal, as the paper wants; 0 is plain cross-entropy

    Mean over labelled pixels. With two classes there is one wrong class, and the entropy is 0.
    """

    def __init__(self, num_classes: int, *, gamma: float = -1.0, ignore_label: int = 255, **kwargs):
        super().__init__(num_classes, ignore_label, **kwargs)
        if not math.isfinite(gamma):
            raise ValueError(f"gamma is finite, got {gamma}")
        self._factor = gamma / (num_classes - 1)

    def of(self, pixels: Pixels):
        """(N,) mean of both terms; it can be below 0 if gamma is negative and cross-entropy small."""
        planes, labels = pixels.planes, pixels.labels
        far = F.full(labels.shape, -FARTHEST, ctx=labels.context)
        wrong = [F.where(labels == k, far, F.maximum(plane, -FARTHEST)) for k, plane in enumerate(planes)]
        top = largest(wrong)
        wrong = [plane - top for plane in wrong]
        shares = [F.exp(plane) for plane in wrong]  # of the softmax over the wrong classes
        total = F.add_n(*shares)
        entropy = F.log(total) - F.add_n(*[a * b for a, b in zip(shares, wrong)]) / total
        return pixels.mean(pixels.negative_log_likelihood() + self._factor * pixels.only_labelled(entropy))
