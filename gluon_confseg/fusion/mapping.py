"""Mapping between a subnet's space and all K classes, for NDArrays and Symbols: Section 3.3, Fig. 3.

Everything is written with slices and concatenations, so that one graph holds it and any size exports.
"""

from __future__ import annotations

import mxnet as mx

from ..groups import SubnetSpace


def spread(scores, group, num_classes: int):
    """Map a subnet's scores onto all classes: Section 3.3, Fig. 3.

    scores    (N, |g| + 1, H, W), NDArray or Symbol; channel 0 is "others"; (N, K, H, W) for a group of all classes
    returns   (N, K, H, W); every class outside `group` gets the score of "others"
    """
    return gather(scores, SubnetSpace(group, num_classes).channel_of_class())


def view(logits, group, num_classes: int):
    """Subnet 0's logits seen in a group's space: log-sum-exp of the classes outside, then the group's own logits.

    logits    (N, K, H, W), NDArray or Symbol
    returns   (N, |g| + 1, H, W); its softmax is subnet 0's softmax with the classes outside added up. For a group of
              all classes (N, K, H, W), the logits themselves in the group's order
    """
    space = SubnetSpace(group, num_classes)
    inside = gather(logits, space.group)
    if not space.has_others:
        return inside
    return operators(logits).concat(log_sum_exp(gather(logits, space.outside)), inside, dim=1)


def gather(array, channels):
    """These channels of an array, in this order."""
    F = operators(array)
    pieces = [F.slice_axis(array, axis=1, begin=channel, end=channel + 1) for channel in channels]
    return F.concat(*pieces, dim=1)


def log_sum_exp(array):
    """(N, C, H, W) -> (N, 1, H, W), finite for any finite scores."""
    return _through_exp(array, operators(array).sum)


def log_mean_exp(array):
    """(N, C, H, W) -> (N, 1, H, W), the same divided by C; 0 where all scores are 0."""
    return _through_exp(array, operators(array).mean)


def _through_exp(array, reduce):
    F = operators(array)
    largest = F.max(array, axis=1, keepdims=True)
    return F.log(reduce(F.exp(F.broadcast_sub(array, largest)), axis=1, keepdims=True)) + largest


def operators(array):
    """`mx.nd` or `mx.sym`, whichever the array belongs to."""
    return mx.nd if isinstance(array, mx.nd.NDArray) else mx.sym
