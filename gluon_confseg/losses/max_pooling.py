"""Loss max-pooling: the largest weighted sum of losses over bounded pixel weights.

With losses l >= 0 of n pixels, exponent p > 1, 1/p + 1/q = 1 and m = share * n, the weights are the solution of

    maximise w . l   where   w >= 0,  ||w||_p <= n^(-1/q),  ||w||_inf <= m^(-1/p) n^(-1/q)

Uniform weights 1/n have exactly this p-norm. The bound on the largest weight makes at least m pixels count. The
Lagrangian gives w_u = top * min(1, l_u / b)^(q - 1), where top is the largest allowed weight. The weights reach the
bound of the norm, which gives b:

    sum of min(1, l_u / b)^q = m

The left side, as a function of b^(-q), is concave, increasing and piecewise linear. So Newton's steps from the left
(where no pixel has the largest weight) never pass the root, and reach it when the set of pixels with the largest weight
no longer changes.
"""

from __future__ import annotations

import math

from mxnet import autograd

from .pixels import FARTHEST, F, PixelLoss, Pixels

_STEPS = 100  # only p near 1 needs more, and then the weights are slightly below the optimum
_LEAST = 1e-30


class LossMaxPooling(PixelLoss):
    """Loss max-pooling: Rota Bulo, Neuhold and Kontschieder, CVPR 2017; per image.

    p       exponent of the norm, above 1; a larger one makes the weights more even
    share   least share of the labelled pixels that count, above 0, at most 1; 1 is plain cross-entropy

    The loss is the sum of w_u l_u over the labelled pixels, which is never below the mean of l_u. The weights are
    constants in backward, which is the exact gradient of the maximum.
    """

    def __init__(
        self, num_classes: int, *, p: float = 1.3, share: float = 0.25, ignore_label: int = 255, **kwargs
    ):
        super().__init__(num_classes, ignore_label, **kwargs)
        if not (p > 1 and math.isfinite(p)):
            raise ValueError(f"p is above 1 and finite, got {p}")
        if not 0 < share <= 1:
            raise ValueError(f"share is above 0, at most 1, got {share}")
        self._p, self._share = p, share

    def of(self, pixels: Pixels):
        """(N,) largest weighted sum of the cross-entropy; 0 where nothing is labelled."""
        losses = pixels.negative_log_likelihood()
        with autograd.pause():
            weights = pixel_weights(losses, pixels.valid, self._p, self._share)
        return pixels.mean(losses * weights)


def pixel_weights(losses, valid, p: float, share: float):
    """(N, P) losses, (N, P) 1 where labelled -> (N, P) n times the optimal weights, 0 where ignored."""
    n = F.maximum(valid.sum(axis=1, keepdims=True), 1)
    m = F.maximum(n * share, 1)
    logs = F.log(F.maximum(losses, _LEAST))  # powers of losses leave float32's range, unlike their logarithms
    behind = F.minimum(F.broadcast_sub(logs, _log_bound(logs, valid, m, p / (p - 1))), 0)
    return F.broadcast_mul((n / m) ** (1 / p), F.exp(behind / (p - 1))) * valid


def _log_bound(logs, valid, m, q: float):
    """(N, 1) log b; pixels with at least this loss have the largest weight."""
    bound, before = F.full(m.shape, FARTHEST, ctx=m.context), None
    for _ in range(_STEPS):
        rest = F.broadcast_lesser(logs, bound) * valid
        count = (valid - rest).sum(axis=1, keepdims=True)
        now = count.asnumpy().tolist()
        if now == before:
            break
        before = now
        highest = F.where(rest, logs, -FARTHEST * F.ones_like(logs)).max(axis=1, keepdims=True)
        powers = F.exp(q * F.minimum(F.broadcast_sub(logs, highest), 0)) * rest
        ratio = F.maximum(powers.sum(axis=1, keepdims=True), _LEAST) / F.maximum(m - count, _LEAST)
        bound = F.minimum(bound, highest + F.log(ratio) / q)
    return bound
