"""The base of the losses in docs/peers.md: labelled pixels, and one plane of logits per class.

Shape letters: N samples, K classes, P pixels of a sample. On a CPU, MXNet's operators are slow across values that lie
far apart in memory. So no loss here reduces over the class axis: K planes (N, P) are compared and added one by one.
"""

from __future__ import annotations

import mxnet as mx
import numpy as np
from mxnet import autograd, gluon

from .labels import check_shapes, label_array

F = mx.nd
FARTHEST = 1e25  # larger differences of logits count as this one, so that sums of losses stay finite


class PixelLoss(gluon.loss.Loss):
    """Base class: a subclass computes its loss of the labelled pixels in `of`.

    num_classes    K
    ignore_label   pixels with this label add nothing to value and gradient

    It consists of operators that autograd records. Use it outside of hybridized blocks.
    """

    def __init__(self, num_classes: int, ignore_label: int = 255, weight=None, batch_axis=0, **kwargs):
        super().__init__(weight, batch_axis, **kwargs)
        if num_classes < 2:
            raise ValueError(f"a loss needs two classes or more, got {num_classes}")
        self._num_classes, self._ignore_label = num_classes, ignore_label

    def forward(self, logits, labels):
        """(N, K, H, W) logits, (N, H, W) labels, NumPy or NDArray -> (N,); 0 for a sample without labelled pixels.

        Raises LabelError for a label outside the classes, ValueError for shapes that don't fit.
        """
        loss = self.of(Pixels(logits, labels, self._num_classes, self._ignore_label))
        return loss if self._weight is None else loss * self._weight

    def of(self, pixels: Pixels):
        """(N,) loss of each sample."""
        raise NotImplementedError

    # Loss is a HybridBlock, but the values that are read from the labels here can't be traced
    def hybridize(self, active=True, **kwargs):
        """Do nothing: the loss stays imperative."""


class Pixels:
    """A checked batch.

    planes    K arrays (N, P) of logits
    true      (N, P) logit of the true class
    labels    (N, P) true class, 0 where ignored
    valid     (N, P) 1 where labelled, 0 where ignored
    counts    (N, K) int64, NumPy: labelled pixels of each class
    """

    def __init__(self, logits, labels, num_classes: int, ignore_label: int):
        check_shapes(logits, labels, num_classes)
        context = logits.context
        array = label_array(labels, num_classes, ignore_label).reshape(logits.shape[0], -1)
        valid = array != ignore_label
        array = np.where(valid, array, 0)  # pick() clips: 255 would become class K - 1
        self.counts = np.stack(
            [np.bincount(a[v], minlength=num_classes) for a, v in zip(array.astype(int), valid)]
        )
        self.labels = mx.nd.array(array, ctx=context, dtype=np.float32)
        self.valid = mx.nd.array(valid, ctx=context, dtype=np.float32)
        self.labelled = mx.nd.array(self.counts.sum(1), ctx=context, dtype=np.float32)

        flat = logits.astype("float32", copy=False).reshape((0, 0, -1))
        self.planes = list(F.split(flat, num_classes, axis=1, squeeze_axis=True))
        self.true = F.pick(flat, self.labels, axis=1)

    def negative_log_likelihood(self):
        """(N, P) -log q of the true class, 0 where ignored: plain cross-entropy."""
        return self.only_labelled(negative_log_likelihood(self.planes, self.true))

    def only_labelled(self, values):
        """(N, P) values with 0 in ignored pixels."""
        return F.where(self.valid, values, F.zeros_like(values))

    def mean(self, values):
        """(N, P) values, 0 where ignored -> (N,) mean over each sample's labelled pixels; 0 without any."""
        return values.sum(axis=1) / F.maximum(self.labelled, 1)

    def of_class(self, per_class: np.ndarray):
        """(K,) numbers -> (N, P) the number of each pixel's true class."""
        return F.take(mx.nd.array(per_class, ctx=self.labels.context, dtype=np.float32), self.labels)


def largest(planes):
    """(N, P) maximum over K planes, a constant in backward."""
    with autograd.pause():
        top = planes[0]
        for plane in planes[1:]:
            top = F.maximum(top, plane)
        return top


def negative_log_likelihood(planes, true):
    """K planes (N, P) of logits, (N, P) the true class's logits -> (N, P) its -log softmax, which is never negative."""
    top = largest(planes)
    total = F.add_n(*[F.exp(plane - top) for plane in planes])  # the largest adds 1
    return F.log(total) + F.minimum(top - true, FARTHEST)


def softmax(planes):
    """K planes (N, P) of logits -> K planes of probabilities."""
    top = largest(planes)
    powers = [F.exp(plane - top) for plane in planes]
    total = F.add_n(*powers)
    return [power / total for power in powers]
