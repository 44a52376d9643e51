"""MXNet's `autograd.Function` with two errors corrected that would give wrong gradients without a message."""

from __future__ import annotations

from itertools import compress

import mxnet as mx
from mxnet import autograd


class Function(autograd.Function):
    """An operation whose gradient is written by hand: a subclass has `value` and `gradients`, and is called once.

    MXNet's own Function (1.9.1) has two errors. With `grad_req="add"` it adds nothing to an array's gradient. And it
    stops at the first input that needs no gradient, so later inputs get none. Here arrays with a gradient of their own
    go through an identity operator, for which MXNet adds correctly, and MXNet is not told of inputs that need no
    gradient.

    One case is not corrected: an input that is recorded although no gradient is asked of it, behind BlockGrad or with
    an `autograd.grad` of other variables. It has to be the last input.
    """

    def value(self, *inputs):
        """NDArrays -> NDArray or a tuple of them; not recorded."""
        raise NotImplementedError

    def gradients(self, *upstream):
        """Gradients of the outputs -> the gradient of every input, in order, NDArrays in a list or tuple."""
        raise NotImplementedError

    def __call__(self, *inputs):
        """The outputs of `value`; recorded if an input needs a gradient."""
        self._inputs, self._reached = inputs, [_is_recorded(array) for array in inputs]
        if not autograd.is_recording():
            return super().__call__(*inputs)
        if not any(self._reached):
            with autograd.pause(train_mode=autograd.is_training()):
                return super().__call__(*inputs)
        reached = compress(inputs, self._reached)
        return super().__call__(*(mx.nd.identity(x) if x.grad is not None else x for x in reached))

    def forward(self, *_):
        """Called by MXNet: `value` of all inputs, with those that need no gradient."""
        inputs, self._inputs = self._inputs, None
        return self.value(*inputs)

    def backward(self, *upstream):
        """Called by MXNet: the gradients of those inputs that MXNet was given."""
        return list(compress(self.gradients(*upstream), self._reached))


def _is_recorded(array) -> bool:
    """Whether an array has a gradient of its own or was computed from one that has."""
    try:
        autograd.get_symbol(array)
    except mx.MXNetError:
        return False
    return True
