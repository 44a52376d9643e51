"""Convolutions as heads use them: each keeps the grid."""

from __future__ import annotations

from mxnet import init
from mxnet.gluon import nn


def conv(width: int, channels: int, kernel=3, dilation: int = 1, **kwargs) -> nn.Conv2D:
    """A convolution (N, width, h, w) -> (N, channels, h, w); kernel: odd, one size or two."""
    sizes = kernel if isinstance(kernel, tuple) else (kernel, kernel)
    padding = tuple(dilation * (size // 2) for size in sizes)
    return nn.Conv2D(channels, sizes, padding=padding, dilation=dilation, in_channels=width, **kwargs)


def output_conv(width: int, outputs: int, kernel=3, dilation: int = 1) -> nn.Conv2D:
    """A convolution to logits, which start near 0."""
    return conv(width, outputs, kernel, dilation, weight_initializer=init.Normal(0.01))


def conv_norm_relu(width: int, channels: int, kernel=3, dilation: int = 1) -> tuple:
    """Convolution without bias, batch norm and ReLU: three layers, to be added to a sequence."""
    norm = nn.BatchNorm(in_channels=channels)
    return conv(width, channels, kernel, dilation, use_bias=False), norm, nn.Activation("relu")
