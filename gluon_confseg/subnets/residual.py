"""A head that corrects subnet 0 (docs/decisions.md)."""

from __future__ import annotations

from mxnet.gluon import nn

from ..fusion import view
from ..groups import SubnetSpace
from .base import Head
from .context import build_context
from .gather import Gather
from .layers import conv, conv_norm_relu
from .settings import RESIDUAL, HeadSettings


class ResidualHead(Head):
    """A subnet that corrects subnet 0: what subnet 0 says in the group's space, plus what this head adds.

    The addition is zero at the start, so that training starts at subnet 0 (docs/decisions.md).
    (N, K, h, w) logits of subnet 0, all stages' features -> (N, |g| + 1, h, w) logits, channel 0 is "others";
    (N, K, h, w) for a group of all classes.
    """

    reads_subnet0 = True

    def __init__(self, encoder, group, num_classes: int, settings: HeadSettings = RESIDUAL, **kwargs):
        super().__init__(**kwargs)
        if settings.kind != "plain":
            raise ValueError(
                f"residual subnets have plain heads, got {settings.kind!r}: choose a context instead, "
                "or plain subnets"
            )
        self._group, self._num_classes = tuple(group), num_classes
        with self.name_scope():
            self.gather = Gather(encoder, settings.stages)
            # it needs beta: without any gradient of its own, MXNet never moves its running statistics
            self.standardise = nn.BatchNorm(scale=False, in_channels=self.gather.channels)
            self.context, width = build_context(settings, self.gather.channels, encoder.output_stride)
            self.body = nn.HybridSequential()
            for _ in range(settings.depth - 1):
                self.body.add(*conv_norm_relu(width, settings.channels, dilation=settings.dilation))
                width = settings.channels
            outputs = SubnetSpace(group, num_classes).channels
            self.output = conv(width, outputs, kernel=1, weight_initializer="zeros")

    def hybrid_forward(self, F, subnet0_logits, *features):
        """Logits on the last stage's grid."""
        delta = self.output(self.body(self.context(self.standardise(self.gather(*features)))))
        return view(subnet0_logits, self._group, self._num_classes) + delta
