"""Features and convolutions, small and in NumPy, for tests of heads."""

from __future__ import annotations

import mxnet as mx
import numpy as np


class Encoder:
    """Only what a head asks of an encoder."""

    channels = (3, 4, 5, 6)

    def __init__(self, output_stride: int):
        self.output_stride = output_stride
        self.strides = tuple(min(s, output_stride) for s in (4, 8, 16, 32))


def features(encoder, height: int, width: int, seed: int = 0) -> tuple:
    """Normal noise, as an encoder's stages give it for two images of this size."""
    draws = np.random.RandomState(seed)
    return tuple(
        mx.nd.array(draws.normal(size=(2, channels, -(-height // stride), -(-width // stride))))
        for channels, stride in zip(encoder.channels, encoder.strides)
    )


def started(block, seed: int = 0):
    """The block with every parameter drawn from a normal distribution, of 0.3; variances are positive."""
    block.initialize()
    draws = np.random.RandomState(seed)
    for name, parameter in sorted(block._collect_params_with_prefix().items()):
        values = draws.normal(0, 0.3, parameter.shape)
        parameter.set_data(mx.nd.array(1 + np.abs(values) if name.endswith("running_var") else values))
    return block


def arrays(block) -> dict:
    """Structural name -> values in float64."""
    return {k: p.data().asnumpy().astype(np.float64) for k, p in block._collect_params_with_prefix().items()}


def convolve(x, weight, bias=None, dilation: int = 1) -> np.ndarray:
    """A convolution that keeps the grid, tap by tap: (N, C, h, w) and (D, C, p, q) -> (N, D, h, w)."""
    height, width = x.shape[2:]
    reach = [dilation * (size // 2) for size in weight.shape[2:]]
    padded = np.pad(x, ((0, 0), (0, 0), (reach[0], reach[0]), (reach[1], reach[1])))
    total = 0 if bias is None else bias[:, None, None]
    for i in range(weight.shape[2]):
        for j in range(weight.shape[3]):
            window = padded[:, :, i * dilation :, j * dilation :][:, :, :height, :width]
            total = total + np.einsum("nchw,dc->ndhw", window, weight[:, :, i, j])
    return total


def reached(block, size: int, channels: int, centre: tuple) -> set:
    """(row, column) offsets from `centre` at which the output changes when the input changes there."""
    x = np.zeros((1, channels, size, size), np.float32)
    before = block(mx.nd.array(x)).asnumpy()
    x[:, :, centre[0], centre[1]] = 1
    rows, columns = np.nonzero((np.abs(block(mx.nd.array(x)).asnumpy() - before) > 1e-7).any((0, 1)))
    return {(int(i) - centre[0], int(j) - centre[1]) for i, j in zip(rows, columns)}
