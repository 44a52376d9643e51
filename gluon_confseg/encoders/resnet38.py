"""ResNet-38, "Model A1": the wide pre-activation encoder of Table 4, at output stride 8, 16 or 32.

Seven levels, of which the first is one convolution at full resolution.
"""

from __future__ import annotations

from typing import NamedTuple

from mxnet import gluon
from mxnet.gluon import nn

from ..errors import WeightsError
from .dilation import dilate, strides

NAMES = ("resnet38",)
LAST_STAGES = (4,)


class Plan(NamedTuple):
    """A level: the number of its blocks, their convolutions, and whether its first block halves the grid."""

    blocks: int
    kernels: tuple
    channels: tuple
    halves: bool = True
    dropout: float = 0.0


EPSILON = 1.001e-5  # of every batch norm; with the usual 1e-5, scores would shift where variances are small
STEM_CHANNELS = 64
LEVELS = {
    2: Plan(3, (3, 3), (128, 128)),
    3: Plan(3, (3, 3), (256, 256)),
    4: Plan(6, (3, 3), (512, 512)),
    5: Plan(3, (3, 3), (512, 1024)),
    6: Plan(1, (1, 3, 1), (512, 1024, 2048), dropout=0.3),
    7: Plan(1, (1, 3, 1), (1024, 2048, 4096), halves=False, dropout=0.5),
}
REACHED = (2, 4, 8, 16, 32, 32)  # strides of the levels' features without dilation
STAGES = (3, 4, 5, 7)  # the levels whose features are stages 1 to 4 for heads


class ResNet38Encoder(gluon.HybridBlock):
    """ResNet-38 without its classifier; the interface is that of `encoders.ResNetEncoder`.

    images (N, 3, H, W) -> features after levels 3, 4, 5 and 7, each after its batch norm and ReLU:
    (N, channels[i], ceil(H / strides[i]), ceil(W / strides[i])).

    output_stride   8, 16 or 32; strides beyond it become dilations
    thin            divides every number of channels, for tests; 1 is the network of the paper
    """

    def __init__(self, output_stride: int = 8, thin: int = 1, **kwargs):
        super().__init__(**kwargs)
        self.output_stride = output_stride
        self.channels = tuple(LEVELS[level].channels[-1] // thin for level in STAGES)
        self.strides = strides(output_stride)
        width = STEM_CHANNELS // thin
        with self.name_scope():
            self.stem = Level([_conv(3, width, 3)], width, prefix="stem_")
            for level, plan in LEVELS.items():
                plan = plan._replace(channels=tuple(c // thin for c in plan.channels))
                blocks = _blocks(width, plan)
                width = plan.channels[-1]
                setattr(self, f"level{level}", Level(blocks, width, prefix=f"level{level}_"))
        dilate([getattr(self, f"level{level}") for level in LEVELS], output_stride, REACHED)

    def hybrid_forward(self, F, images):
        """Return the tuple of the four stages' features."""
        x, features = self.stem(images), []
        for level in LEVELS:
            x = getattr(self, f"level{level}")(x)
            if level in STAGES:
                features.append(x)
        return tuple(features)


class Level(gluon.HybridBlock):
    """Blocks, then batch norm and ReLU; the next level's first block uses these for both of its branches."""

    def __init__(self, blocks, channels: int, **kwargs):
        super().__init__(**kwargs)
        with self.name_scope():
            self.blocks = nn.HybridSequential()
            self.blocks.add(*blocks)
            self.norm = _norm(channels)

    def hybrid_forward(self, F, x):
        """(N, C, h, w) -> (N, channels, ceil(h / stride), ceil(w / stride))."""
        return _activated(F, self.norm, self.blocks(x))


class Block(gluon.HybridBlock):
    """A residual block with each activation before its convolution.

    A level's first block adds a projection of its input, after the activation that `Level` has done. The others add
    their input without activation. The first convolution and the projection have the stride.
    """

    def __init__(self, width: int, plan: Plan, projects: bool, **kwargs):
        super().__init__(**kwargs)
        stride = 2 if projects and plan.halves else 1
        self._count = len(plan.channels)
        with self.name_scope():
            self.projection = _conv(width, plan.channels[-1], 1, stride) if projects else None
            self.bn1 = None if projects else _norm(width)
            self.conv1 = _conv(width, plan.channels[0], plan.kernels[0], stride)
            for i in range(1, self._count):
                before, after = plan.channels[i - 1 : i + 1]
                setattr(self, f"bn{i + 1}", _norm(before))
                setattr(self, f"conv{i + 1}", _conv(before, after, plan.kernels[i]))
            self.dropout = nn.Dropout(plan.dropout) if plan.dropout else None

    def hybrid_forward(self, F, x):
        """(N, width, h, w) -> (N, channels[-1], ceil(h / stride), ceil(w / stride))."""
        shortcut = x if self.projection is None else self.projection(x)
        x = self.conv1(x if self.bn1 is None else _activated(F, self.bn1, x))
        for i in range(2, self._count + 1):
            x = _activated(F, getattr(self, f"bn{i}"), x)
            if i == self._count and self.dropout is not None:
                x = self.dropout(x)
            x = getattr(self, f"conv{i}")(x)
        return x + shortcut


def build(name: str, output_stride: int, last_stage: int, pretrained: bool) -> ResNet38Encoder:
    """Build the encoder; see `encoders.build`."""
    if pretrained:
        raise WeightsError(
            "GluonCV's model zoo has no ResNet-38: pass its authors' .params file with --weights, "
            "or train without pretrained weights"
        )
    return ResNet38Encoder(output_stride, prefix="encoder_")


def _blocks(width: int, plan: Plan) -> list:
    first = Block(width, plan, projects=True)
    return [first] + [Block(plan.channels[-1], plan, projects=False) for _ in range(plan.blocks - 1)]


def _conv(width: int, channels: int, kernel: int, stride: int = 1):
    return nn.Conv2D(channels, kernel, stride, kernel // 2, use_bias=False, in_channels=width)


def _norm(channels: int):
    return nn.BatchNorm(epsilon=EPSILON, in_channels=channels)


def _activated(F, norm, x):
    """Batch norm and ReLU; `norms.InPlaceABN` has an activation of its own."""
    x = norm(x)
    return x if getattr(norm, "activates", False) else F.Activation(x, act_type="relu")
