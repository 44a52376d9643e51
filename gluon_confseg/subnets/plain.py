"""The paper's head: Section 3 and Fig. 4."""

from __future__ import annotations

from mxnet.gluon import nn

from .base import Head
from .context import build_context
from .gather import Gather
from .layers import conv, output_conv
from .settings import PLAIN, HeadSettings


class PlainHead(Head):
    """The paper's head: dilated 3x3 convolutions with ReLU between them; subnet 0 and, if so chosen, all others.

    all stages' features -> (N, outputs, h, w) logits
    """

    def __init__(self, encoder, outputs: int, settings: HeadSettings = PLAIN, **kwargs):
        super().__init__(**kwargs)
        with self.name_scope():
            self.gather = Gather(encoder, settings.stages)
            self.context, width = build_context(settings, self.gather.channels, encoder.output_stride)
            self.body = nn.HybridSequential()
            for _ in range(settings.depth - 1):
                self.body.add(
                    conv(width, settings.channels, dilation=settings.dilation), nn.Activation("relu")
                )
                width = settings.channels
            self.output = output_conv(width, outputs, dilation=settings.dilation)

    def hybrid_forward(self, F, *features):
        """Logits on the last stage's grid."""
        return self.output(self.body(self.context(self.gather(*features))))
