"""In-place activated batch norm (Rota Bulo et al. 2018): batch norm and leaky ReLU that keep only their output.

The leaky ReLU and the affine map can be inverted, so backward computes the normalised input from the output.
"""

from __future__ import annotations

import mxnet as mx
import numpy as np
from mxnet import autograd
from mxnet.gluon import nn

from ...function import Function

SLOPE = 0.01  # of the leaky ReLU below 0
BLOCK = 65536  # elements that backward takes at a time: they stay in the cache


class InPlaceABN(nn.BatchNorm):
    """Batch norm with the scale |gamma| + epsilon, so that it can be inverted, then leaky ReLU.

    (N, C, H, W) -> the same shape. When gradients are recorded, the input is not kept. A hybridized or exported graph
    holds MXNet's operators with the same values instead, because a Function in a graph crashes MXNet in backward.
    """

    activates = True  # it needs no ReLU after it

    def hybrid_forward(self, F, x, gamma, beta, running_mean, running_var):
        """Normalise by the batch in training, and else by the running statistics."""
        if F is mx.nd and autograd.is_recording() and autograd.is_training():
            return _FromOutput(self._kwargs, running_mean, running_var)(gamma, beta, x)
        scale = F.abs(gamma) + self._kwargs["eps"]
        normed = F.BatchNorm(x, scale, beta, running_mean, running_var, name="fwd", **self._kwargs)
        return F.LeakyReLU(normed, act_type="leaky", slope=SLOPE)


class _FromOutput(Function):
    """Forward keeps the output and four numbers per channel; backward inverts it.

    MXNet runs backward in a thread of its own, when everything after it is queued already, even the parameters' update.
    An operator here could wait for that update, which waits for this backward. So it uses NumPy, on arrays that nothing
    writes to.
    """

    def __init__(self, settings: dict, running_mean, running_var):
        super().__init__()
        self._settings, self._running = settings, (running_mean, running_var)

    def value(self, gamma, beta, x):
        scale = gamma.abs() + self._settings["eps"]
        with autograd.train_mode():  # a Function's forward is run as inference
            output, mean, inverse_std = mx.nd.BatchNorm(
                x, scale, beta, *self._running, output_mean_var=True, **self._settings
            )
        output = mx.nd.LeakyReLU(output, act_type="leaky", slope=SLOPE, out=output)
        # detached: if backward is never called, an array in the graph would keep itself alive
        self._kept = output.detach(), scale, beta.copy(), inverse_std, gamma.sign()
        # update the running statistics as MXNet's batch norm does, which it does in backward
        momentum, variance = self._settings["momentum"], 1 / inverse_std.square() - self._settings["eps"]
        for running, batch in zip(self._running, (mean, variance)):
            running *= momentum
            running += (1 - momentum) * batch
        return output

    def gradients(self, upstream):
        output, scale, beta, inverse_std, sign = (array.asnumpy() for array in self._kept)
        self._kept = None  # MXNet leaves this object to the garbage collector
        of_x, of_scale, of_beta = gradients(output, upstream.asnumpy(), scale, beta, inverse_std)
        return [mx.nd.array(array, ctx=upstream.context) for array in (of_scale * sign, of_beta, of_x)]


def gradients(output, upstream, scale, beta, inverse_std) -> tuple:
    """Gradients of the input (N, C, H, W), of scale and of beta (C,), from the output alone.

    output, upstream            (N, C, H, W); `upstream` is overwritten
    scale, beta, inverse_std    (C,); scale is not 0
    """
    count, channels = output.shape[0], output.shape[1]
    outputs, slopes = output.reshape(count, channels, -1), upstream.reshape(count, channels, -1)
    count *= outputs.shape[2]
    of_scale, of_beta = np.empty_like(scale), np.empty_like(beta)
    step = max(1, BLOCK // count)
    for first in range(0, channels, step):
        part = slice(first, first + step)
        y, gradient = outputs[:, part], slopes[:, part]
        leak = np.where(y > 0, np.float32(1), np.float32(SLOPE))
        gradient *= leak
        normalised = (y / leak - beta[part, None]) / scale[part, None]
        of_beta[part] = gradient.sum(axis=(0, 2), dtype=np.float64)
        of_scale[part] = (gradient * normalised).sum(axis=(0, 2), dtype=np.float64)
        normalised *= of_scale[part, None] / count
        gradient -= normalised
        gradient -= of_beta[part, None] / count
        gradient *= (scale * inverse_std)[part, None]
    return upstream, of_scale, of_beta
