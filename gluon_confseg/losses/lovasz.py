"""The Lovasz-softmax: a differentiable surrogate for one minus each class's IoU."""

from __future__ import annotations

import numpy as np
from mxnet import autograd

from .pixels import F, PixelLoss, Pixels, softmax


class LovaszSoftmaxLoss(PixelLoss):
    """Lovasz extension of the Jaccard loss: Berman, Rannen Triki and Blaschko, CVPR 2018; per image.

    The Jaccard loss is 1 - IoU. Each class's errors, 1 - q_c on its pixels and q_c elsewhere, are sorted, the largest
    first, and weighted by what each adds to that loss. The result is the mean over the classes that are present in the
    image, not over pixels.
    """

    def of(self, pixels: Pixels):
        """(N,) mean over the classes present; 0 where nothing is labelled."""
        present = (pixels.counts > 0) / np.maximum((pixels.counts > 0).sum(1, keepdims=True), 1)
        # made from the logits, so that backward works where no class is present
        total = F.zeros_like(pixels.true).sum(axis=1)
        for c, probability in enumerate(softmax(pixels.planes)):
            if not present[:, c].any():
                continue
            truth = pixels.only_labelled(pixels.labels == c)
            error = F.abs(truth - probability)
            with autograd.pause():
                sorted_by = F.where(pixels.valid, error, -F.ones_like(error))  # ignored pixels come last
                slope = jaccard_slope(sorted_by, truth) * pixels.valid
                share = F.array(present[:, c], ctx=slope.context)
            total = total + share * (error * slope).sum(axis=1)
        return total


def jaccard_slope(errors, truth):
    """What each error adds to the class's Jaccard loss, in order of size; equal errors are in the pixels' order.

    errors    (N, P)
    truth     (N, P) 1 for the class's pixels
    returns   (N, P): the i-th largest error adds J_i - J_(i - 1), J = 1 - (class's pixels after i) / (union up to i)
    """
    samples, count = errors.shape
    order = F.argsort(errors, axis=1, is_ascend=False, dtype="int32")
    first = F.arange(0, samples * count, count, ctx=errors.context, dtype="int32").expand_dims(1)
    places = F.broadcast_add(order, first).reshape((1, -1))
    found = F.cumsum(F.gather_nd(truth.reshape(-1), places).reshape((samples, count)), axis=1)
    rank = F.arange(1, count + 1, ctx=errors.context).expand_dims(0)
    size = truth.sum(axis=1, keepdims=True)
    union = F.maximum(F.broadcast_add(F.broadcast_sub(rank, found), size), 1)
    jaccard = 1 - F.broadcast_sub(size, found) / union
    before = F.concat(F.zeros_like(size), F.slice_axis(jaccard, axis=1, begin=0, end=-1), dim=1)
    return F.scatter_nd((jaccard - before).reshape(-1), places, (samples * count,)).reshape((samples, count))
