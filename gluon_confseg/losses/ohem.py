"""Online hard example mining (OHEM) for pixels, as the ResNet-38 authors trained: only hard pixels count."""

from __future__ import annotations

import math

from mxnet import autograd

from .pixels import F, PixelLoss, Pixels


class OHEMLoss(PixelLoss):
    """Mean cross-entropy of each image's hard pixels: Wu, Shen and van den Hengel, 2016 (online bootstrapping).

    threshold   a pixel is hard if its true class has at most this probability
    min_kept    at least so many pixels of an image are kept, the hardest, with all that equal the last of them

    The mean is over the kept pixels, so with a threshold of 1 this is plain cross-entropy.
    """

    def __init__(
        self,
        num_classes: int,
        *,
        threshold: float = 0.6,
        min_kept: int = 256,
        ignore_label: int = 255,
        **kwargs,
    ):
        super().__init__(num_classes, ignore_label, **kwargs)
        if not 0 < threshold <= 1:
            raise ValueError(f"threshold is a probability above 0, at most 1, got {threshold}")
        if min_kept < 0 or min_kept != int(min_kept):
            raise ValueError(f"min_kept is a number of pixels, got {min_kept}")
        self._least_loss, self._min_kept = -math.log(threshold), int(min_kept)

    def of(self, pixels: Pixels):
        """(N,) mean over the kept pixels; 0 where nothing is labelled."""
        losses = pixels.negative_log_likelihood()
        with autograd.pause():  # compares losses, not probabilities, which would round to 1
            ranked = F.where(pixels.valid, losses, -F.ones_like(losses))  # ignored pixels are the last
            least = F.full((losses.shape[0], 1), self._least_loss, ctx=losses.context)
            k = min(self._min_kept, losses.shape[1])
            if k:
                hardest = F.topk(ranked, axis=1, k=k, ret_typ="value")
                least = F.minimum(least, F.slice_axis(hardest, axis=1, begin=k - 1, end=k))
            kept = F.broadcast_greater_equal(ranked, least) * pixels.valid
            share = F.broadcast_div(kept, F.maximum(kept.sum(axis=1, keepdims=True), 1))
        return (losses * share).sum(axis=1)
