"""Fusion of heterogeneous output spaces: Section 3.3, Fig. 3.

Source space of a subnet: channel 0 is "others", then the classes of its group. Target space: all K classes.
Everything is written with slices and concatenations, so that one graph holds it and any size exports.
"""

from __future__ import annotations

import mxnet as mx
from mxnet import gluon

RULES = ("subnet0", "sum", "product", "residual_product")


def spread(scores, group, num_classes: int):
    """Map a subnet's scores onto all classes: Section 3.3, Fig. 3.

    scores    (N, |g| + 1, H, W), NDArray or Symbol; channel 0 is "others"
    returns   (N, K, H, W); every class outside `group` gets the score of "others"
    """
    F = _operators(scores)
    channel_of = {klass: channel for channel, klass in enumerate(group, 1)}
    pieces = [_channel(F, scores, channel_of.get(klass, 0)) for klass in range(num_classes)]
    return F.concat(*pieces, dim=1)


def view(logits, group, num_classes: int):
    """Subnet 0's logits seen in a group's space: log-sum-exp of the classes outside, then the group's own logits.

    logits    (N, K, H, W), NDArray or Symbol
    returns   (N, |g| + 1, H, W); its softmax is subnet 0's softmax with the classes outside added up
    """
    F = _operators(logits)
    inside = [_channel(F, logits, klass) for klass in group]
    outside = [_channel(F, logits, klass) for klass in range(num_classes) if klass not in set(group)]
    return F.concat(_log_sum_exp(F, F.concat(*outside, dim=1)), *inside, dim=1)


class Fusion(gluon.HybridBlock):
    """Logits of all subnets -> log-scores of the K classes, by one of `RULES`: Section 3.3.

    (N, K, h, w), (N, |g_1| + 1, h, w), ... -> (N, K, h, w); a softmax over the classes makes them probabilities.

    subnet0           subnet 0 alone
    sum               mean of the subnets' probabilities, "others" copied to every class outside (Kittler, 1998)
    product           product of the same
    residual_product  subnet 0's probabilities times each subnet's, divided by what subnet 0 says in that subnet's
                      space, so that subnet 0 is not counted once per subnet
    """

    def __init__(self, groups, num_classes: int, rule: str = "sum", **kwargs):
        super().__init__(**kwargs)
        if rule not in RULES:
            raise ValueError(f"no fusion rule {rule!r}: choose one of {', '.join(RULES)}")
        self.rule = rule
        self._groups = [tuple(group) for group in groups]
        self._num_classes = num_classes

    def hybrid_forward(self, F, first, *others):
        """Fuse; see the class."""
        if self.rule == "subnet0" or not others:
            return F.log_softmax(first, axis=1)
        return getattr(self, "_" + self.rule)(F, first, others)

    def _sum(self, F, first, others):
        total = F.softmax(first, axis=1)
        for logits, group in zip(others, self._groups):
            total = total + spread(F.softmax(logits, axis=1), group, self._num_classes)
        # the least normal float: a score of exactly 0 stays the smallest, and finite
        return F.log(F.maximum(total / (len(others) + 1), F.ones_like(total) * 1.2e-38))

    def _product(self, F, first, others):
        total = F.log_softmax(first, axis=1)
        for logits, group in zip(others, self._groups):
            total = total + spread(F.log_softmax(logits, axis=1), group, self._num_classes)
        return F.log_softmax(total, axis=1)

    def _residual_product(self, F, first, others):
        total = first
        for logits, group in zip(others, self._groups):
            delta = F.log_softmax(logits, axis=1) - F.log_softmax(
                view(first, group, self._num_classes), axis=1
            )
            total = total + spread(delta, group, self._num_classes)
        return F.log_softmax(total, axis=1)


def _operators(array):
    return mx.nd if isinstance(array, mx.nd.NDArray) else mx.sym


def _channel(F, array, index: int):
    return F.slice_axis(array, axis=1, begin=index, end=index + 1)


def _log_sum_exp(F, logits):
    largest = F.max(logits, axis=1, keepdims=True)
    return F.log(F.sum(F.exp(F.broadcast_sub(logits, largest)), axis=1, keepdims=True)) + largest
