"""In-place activated batch norm (Rota Bulo et al. 2018): batch norm and leaky ReLU that keep their output alone.

The leaky ReLU and the affine map are invertible, so that backward gets the normalised input back from the output.
"""

from __future__ import annotations

import mxnet as mx
from mxnet import autograd
from mxnet.gluon import nn

SLOPE = 0.01  # of the leaky ReLU below 0


class InPlaceABN(nn.BatchNorm):
    """Batch norm scaled by |gamma| + epsilon, so that it can be inverted, then leaky ReLU.

    (N, C, H, W) -> the same shape. While gradients are recorded the input is not kept; a hybridized or exported graph
    holds MXNet's operators instead, with the same values, since a Function inside one crashes MXNet in backward.
    """

    activates = True  # no ReLU after it

    def hybrid_forward(self, F, x, gamma, beta, running_mean, running_var):
        """Normalise by the batch in training, by the running statistics else."""
        if F is mx.nd and autograd.is_recording() and autograd.is_training():
            return _FromOutput(self._kwargs, running_mean, running_var)(x, gamma, beta)
        scale = F.abs(gamma) + self._kwargs["eps"]
        normed = F.BatchNorm(x, scale, beta, running_mean, running_var, name="fwd", **self._kwargs)
        return F.LeakyReLU(normed, act_type="leaky", slope=SLOPE)


class _FromOutput(autograd.Function):
    """Forward keeps the output and two numbers per channel; backward inverts it."""

    def __init__(self, settings: dict, running_mean, running_var):
        super().__init__()
        self._settings, self._running = settings, (running_mean, running_var)

    def forward(self, x, gamma, beta):
        scale = gamma.abs() + self._settings["eps"]
        with autograd.train_mode():  # a Function's forward is run as inference
            output, mean, inverse_std = mx.nd.BatchNorm(
                x, scale, beta, *self._running, output_mean_var=True, **self._settings
            )
        output = mx.nd.LeakyReLU(output, act_type="leaky", slope=SLOPE, out=output)
        # detached: an array that is part of the graph would keep itself alive where backward is never called
        self._kept = output.detach(), gamma, beta, mean, inverse_std
        self._move_running(mean, inverse_std)
        return output

    def backward(self, upstream):
        output, gamma, beta, mean, inverse_std = self._kept
        self._kept = None  # MXNet leaves this object to the garbage collector
        scale = gamma.abs() + self._settings["eps"]
        shape, rows = output.shape, (0, 0, -1)
        output, gradient = output.reshape(rows), upstream.reshape(rows)
        gradient = mx.nd.where(output > 0, gradient, SLOPE * gradient)
        normalised = mx.nd.LeakyReLU(output, act_type="leaky", slope=1 / SLOPE)
        normalised = (normalised - _across(beta)) / _across(scale)
        count = shape[0] * output.shape[2]
        of_beta = gradient.sum(axis=(0, 2))
        of_scale = (gradient * normalised).sum(axis=(0, 2))
        normalised *= _across(of_scale / count)
        gradient -= _across(of_beta / count)
        gradient -= normalised
        gradient *= _across(scale * inverse_std)
        gradients = gradient.reshape(shape), of_scale * gamma.sign(), of_beta
        for each in gradients:
            each.wait_to_read()  # MXNet frees `upstream` when this returns, though what reads it may still wait
        return gradients

    def _move_running(self, mean, inverse_std) -> None:
        """By the values that MXNet's batch norm takes; it does so in backward, which here runs in another thread."""
        momentum = self._settings["momentum"]
        variance = 1 / inverse_std.square() - self._settings["eps"]
        for running, batch in zip(self._running, (mean, variance)):
            running *= momentum
            running += (1 - momentum) * batch


def _across(values):
    """(C,) -> (1, C, 1), beside (N, C, H W)."""
    return values.reshape((1, -1, 1))
