"""What a head reads: features of one stage or several, on one grid."""

from __future__ import annotations

from mxnet import gluon
from mxnet.gluon import nn


class Gather(gluon.HybridBlock):
    """Features of several stages on the grid of the last one, concatenated; finer ones are pooled down."""

    def __init__(self, encoder, stages, **kwargs):
        super().__init__(**kwargs)
        check_stages(encoder, stages)
        self._stages = tuple(stages)
        self.channels = sum(encoder.channels[stage - 1] for stage in stages)
        with self.name_scope():
            self.pools = nn.HybridSequential()
            for stage in stages:
                self.pools.add(_pool(encoder.strides[-1] // encoder.strides[stage - 1]))

    def hybrid_forward(self, F, *features):
        """All stages' features -> (N, channels, h, w)."""
        chosen = [pool(features[stage - 1]) for stage, pool in zip(self._stages, self.pools)]
        return chosen[0] if len(chosen) == 1 else F.concat(*chosen, dim=1)


def check_stages(encoder, stages) -> None:
    """Raise ValueError where the encoder lacks one of these stages, or there are none."""
    if not stages or min(stages) < 1 or max(stages) > len(encoder.channels):
        raise ValueError(f"a head reads stages 1 to {len(encoder.channels)} of this encoder, got {stages}")


def _pool(factor: int):
    """Pool down by 1, 2, 4 or 8; a size h becomes ceil(h / factor), as a strided convolution's does."""
    steps = nn.HybridSequential()
    while factor > 1:
        steps.add(nn.MaxPool2D(pool_size=3, strides=2, padding=1))
        factor //= 2
    return steps
