"""ResNeXt-101 (32x4d) from GluonCV: the encoder of Table 2's I-ABN row."""

from __future__ import annotations

from mxnet import gluon

from .. import gluoncv
from . import zoo
from .dilation import dilate, strides

NAMES = ("resnext101_32x4d",)
LAST_STAGES = (3, 4)
STEM = 4  # number of layers before stage 1: convolution, batch norm, ReLU, max-pooling


class ResNeXtEncoder(gluon.HybridBlock):
    """A ResNeXt without its classifier; the interface is that of `ResNetEncoder`.

    images (N, 3, H, W) -> features of stages 1 to `last_stage`:
    (N, channels[i], ceil(H / strides[i]), ceil(W / strides[i])).
    Parameters carry GluonCV's own structural names (`features.4.0.body.0.weight`).
    """

    def __init__(self, resnext, output_stride: int, last_stage: int = 4, **kwargs):
        super().__init__(**kwargs)
        self.features = resnext.features[: STEM + last_stage]
        dilate(self.features[STEM:], output_stride)
        self.output_stride = output_stride
        self.channels = (256, 512, 1024, 2048)[:last_stage]
        self.strides = strides(output_stride, last_stage)

    def hybrid_forward(self, F, images):
        """Return the tuple of the stages' features."""
        x, features = images, []
        for layer in self.features:
            x = layer(x)
            features.append(x)
        return tuple(features[STEM:])


def build(name: str, output_stride: int, last_stage: int, pretrained: bool) -> ResNeXtEncoder:
    """Build an encoder of this family's `NAMES`; see `encoders.build`."""
    network = getattr(gluoncv.network_file("resnext"), name)()
    if pretrained:
        zoo.load(network, name)
    return ResNeXtEncoder(network, output_stride, last_stage)
