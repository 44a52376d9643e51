"""MXNet's `autograd.Function`, mended: two of its silent mistakes would train wrongly without a word."""

from __future__ import annotations

from itertools import compress

import mxnet as mx
from mxnet import autograd


class Function(autograd.Function):
    """A step whose gradient is written by hand: a subclass has `value` and `gradients`, and is called once.

    MXNet's own Function (1.9.1) leaves the gradient of an array as it was where it should be added to
    (`grad_req="add"`), and stops at the first input that needs none, so that later inputs get nothing. Here arrays with
    a gradient of their own go through an identity, to which MXNet does add, and inputs that no gradient reaches are
    not inputs for MXNet.

    One case is left: an input that is recorded although no gradient is asked of it, behind BlockGrad or with an
    `autograd.grad` of other variables. It has to come last.
    """

    def value(self, *inputs):
        """NDArrays -> NDArray or a tuple of them; not recorded."""
        raise NotImplementedError

    def gradients(self, *upstream):
        """Gradients of the outputs -> the gradient of every input, in order, NDArrays in a list or tuple."""
        raise NotImplementedError

    def __call__(self, *inputs):
        """The outputs of `value`, recorded where gradients are."""
        self._inputs, self._reached = inputs, [_is_recorded(array) for array in inputs]
        if not autograd.is_recording():
            return super().__call__(*inputs)
        if not any(self._reached):
            with autograd.pause(train_mode=autograd.is_training()):
                return super().__call__(*inputs)
        reached = compress(inputs, self._reached)
        return super().__call__(*(mx.nd.identity(x) if x.grad is not None else x for x in reached))

    def forward(self, *_):
        """What MXNet calls: `value` of all inputs, those without a gradient too."""
        inputs, self._inputs = self._inputs, None
        return self.value(*inputs)

    def backward(self, *upstream):
        """What MXNet calls: the gradients of those inputs that MXNet knows."""
        return list(compress(self.gradients(*upstream), self._reached))


def _is_recorded(array) -> bool:
    """Whether an array has a gradient of its own or was computed from one that has."""
    try:
        autograd.get_symbol(array)
    except mx.MXNetError:
        return False
    return True
