"""Subnet heads: Section 3 and Fig. 4. What a head reads, how wide it is and how far it sees are its settings."""

from __future__ import annotations

import dataclasses

from mxnet import gluon, init
from mxnet.gluon import nn

from ..fusion import view


@dataclasses.dataclass(frozen=True)
class HeadSettings:
    """Settings of one head. stages: which of the encoder's stages 1 to 4 it reads, the last one last."""

    channels: int = 512
    depth: int = 2
    dilation: int = 12
    stages: tuple = (4,)


PLAIN = HeadSettings()
RESIDUAL = HeadSettings(channels=256, dilation=1, stages=(2, 3, 4))


class Gather(gluon.HybridBlock):
    """Features of several stages on the grid of the last one, concatenated; finer ones are pooled down."""

    def __init__(self, encoder, stages, **kwargs):
        super().__init__(**kwargs)
        if not stages or min(stages) < 1 or max(stages) > len(encoder.channels):
            raise ValueError(
                f"a head reads stages 1 to {len(encoder.channels)} of this encoder, got {stages}"
            )
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


class PlainHead(gluon.HybridBlock):
    """The paper's head: dilated 3x3 convolutions with ReLU between them; subnet 0 and, if so chosen, all others.

    all stages' features -> (N, outputs, h, w) logits
    """

    reads_subnet0 = False

    def __init__(self, encoder, outputs: int, settings: HeadSettings = PLAIN, **kwargs):
        super().__init__(**kwargs)
        reach = {"kernel_size": 3, "padding": settings.dilation, "dilation": settings.dilation}
        with self.name_scope():
            self.gather = Gather(encoder, settings.stages)
            self.body = nn.HybridSequential()
            width = self.gather.channels
            for _ in range(settings.depth - 1):
                self.body.add(nn.Conv2D(settings.channels, in_channels=width, **reach), nn.Activation("relu"))
                width = settings.channels
            self.output = nn.Conv2D(outputs, in_channels=width, weight_initializer=init.Normal(0.01), **reach)

    def hybrid_forward(self, F, *features):
        """Logits on the last stage's grid."""
        return self.output(self.body(self.gather(*features)))


class ResidualHead(gluon.HybridBlock):
    """A subnet that corrects subnet 0: what subnet 0 says in the group's space, plus what this head adds.

    The addition is zero at the start, so that training starts at subnet 0 (docs/decisions.md).
    (N, K, h, w) logits of subnet 0, all stages' features -> (N, |g| + 1, h, w) logits, channel 0 is "others"
    """

    reads_subnet0 = True

    def __init__(self, encoder, group, num_classes: int, settings: HeadSettings = RESIDUAL, **kwargs):
        super().__init__(**kwargs)
        self._group, self._num_classes = tuple(group), num_classes
        with self.name_scope():
            self.gather = Gather(encoder, settings.stages)
            # it needs beta: without any gradient of its own, MXNet never moves its running statistics
            self.standardise = nn.BatchNorm(scale=False, in_channels=self.gather.channels)
            self.body = nn.HybridSequential()
            width = self.gather.channels
            for _ in range(settings.depth - 1):
                self.body.add(
                    nn.Conv2D(
                        settings.channels,
                        kernel_size=3,
                        padding=settings.dilation,
                        dilation=settings.dilation,
                        use_bias=False,
                        in_channels=width,
                    ),
                    nn.BatchNorm(in_channels=settings.channels),
                    nn.Activation("relu"),
                )
                width = settings.channels
            self.output = nn.Conv2D(
                len(self._group) + 1, kernel_size=1, in_channels=width, weight_initializer="zeros"
            )

    def hybrid_forward(self, F, subnet0, *features):
        """Logits on the last stage's grid."""
        delta = self.output(self.body(self.standardise(self.gather(*features))))
        return view(subnet0, self._group, self._num_classes) + delta


def _pool(factor: int):
    """Pool down by 1, 2, 4 or 8; a size h becomes ceil(h / factor), as a strided convolution's does."""
    steps = nn.HybridSequential()
    while factor > 1:
        steps.add(nn.MaxPool2D(pool_size=3, strides=2, padding=1))
        factor //= 2
    return steps
