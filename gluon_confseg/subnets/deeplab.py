"""DeepLab's heads: ASPP as a subnet of its own."""

from __future__ import annotations

from .aspp import AsppV2, AsppV3, published_rates
from .base import Head
from .gather import Gather
from .layers import output_conv
from .settings import HeadSettings


class DeepLabV2Head(Head):
    """ASPP of DeepLabV2 (ResNet-101): all stages' features -> (N, outputs, h, w) logits."""

    def __init__(self, encoder, outputs: int, settings: HeadSettings, **kwargs):
        super().__init__(**kwargs)
        rates = settings.rates or published_rates("aspp_v2", encoder.output_stride)
        with self.name_scope():
            self.gather = Gather(encoder, settings.stages)
            self.aspp = AsppV2(self.gather.channels, outputs, rates)

    def hybrid_forward(self, F, *features):
        """Logits on the last stage's grid."""
        return self.aspp(self.gather(*features))


class DeepLabV3Head(Head):
    """ASPP of DeepLabV3, then a 1x1 to the outputs: all stages' features -> (N, outputs, h, w) logits."""

    def __init__(self, encoder, outputs: int, settings: HeadSettings, **kwargs):
        super().__init__(**kwargs)
        rates = settings.rates or published_rates("aspp_v3", encoder.output_stride)
        with self.name_scope():
            self.gather = Gather(encoder, settings.stages)
            self.aspp = AsppV3(self.gather.channels, settings.channels, rates)
            self.output = output_conv(settings.channels, outputs, kernel=1)

    def hybrid_forward(self, F, *features):
        """Logits on the last stage's grid."""
        return self.output(self.aspp(self.gather(*features)))
