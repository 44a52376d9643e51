"""The parts of heads: the features of one or more stages on one grid, and convolutions that keep the grid."""

from __future__ import annotations

from mxnet import gluon, init
from mxnet.gluon import nn

from ..grids import enlarge


class Gather(gluon.HybridBlock):
    """Features of several stages on one grid, concatenated; finer ones are pooled down, coarser ones enlarged.

    output_stride   the grid's pixels per feature, that of one of the encoder's stages; None: of the last one
    Raises ValueError for stages that the encoder lacks, and for a stride that none of its stages has.
    """

    def __init__(self, encoder, stages, output_stride: int | None = None, **kwargs):
        super().__init__(**kwargs)
        check_stages(encoder, stages)
        wanted = output_stride or encoder.strides[-1]
        if wanted not in encoder.strides:
            known = ", ".join(map(str, sorted(set(encoder.strides))))
            raise ValueError(
                f"a head's output stride is one of this encoder's strides, {known}, got {wanted}"
            )
        self._stages = tuple(stages)
        self._like = encoder.strides.index(wanted)
        self._factors = [encoder.strides[stage - 1] // wanted for stage in stages]
        self.channels = sum(encoder.channels[stage - 1] for stage in stages)
        with self.name_scope():
            self.pools = nn.HybridSequential()
            for stage in stages:
                # by 1, 2, 4 or 8; a size h becomes ceil(h / factor), as in a strided convolution
                pool, factor = nn.HybridSequential(), wanted // encoder.strides[stage - 1]
                while factor > 1:
                    pool.add(nn.MaxPool2D(pool_size=3, strides=2, padding=1))
                    factor //= 2
                self.pools.add(pool)

    def hybrid_forward(self, F, *features):
        """All stages' features -> (N, channels, h, w)."""
        chosen = [pool(features[stage - 1]) for stage, pool in zip(self._stages, self.pools)]
        like = features[self._like]
        chosen = [enlarge(F, x, n, like) if n > 1 else x for x, n in zip(chosen, self._factors)]
        return chosen[0] if len(chosen) == 1 else F.concat(*chosen, dim=1)


def check_stages(encoder, stages) -> None:
    """Raise ValueError if the encoder lacks one of these stages, or none is given."""
    if not stages or min(stages) < 1 or max(stages) > len(encoder.channels):
        raise ValueError(f"a head reads stages 1 to {len(encoder.channels)} of this encoder, got {stages}")


def conv(width: int, channels: int, kernel=3, dilation: int = 1, **kwargs) -> nn.Conv2D:
    """A convolution (N, width, h, w) -> (N, channels, h, w); `kernel` is odd, one size or two."""
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
