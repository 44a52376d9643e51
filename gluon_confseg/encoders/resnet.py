"""ResNet-18 to 152 from GluonCV: v1b, and v1s, whose stem is three 3x3 convolutions."""

from __future__ import annotations

from mxnet import gluon

from .. import gluoncv
from . import zoo
from .dilation import dilate, strides

BLOCKS = {
    "resnet18": (2, 2, 2, 2),
    "resnet34": (3, 4, 6, 3),
    "resnet50": (3, 4, 6, 3),
    "resnet101": (3, 4, 23, 3),
    "resnet152": (3, 8, 36, 3),
}
NAMES = (*BLOCKS, *(f"{depth}_v1s" for depth in BLOCKS))  # a name without an ending is v1b
LAST_STAGES = (3, 4)


class ResNetEncoder(gluon.HybridBlock):
    """A ResNet v1b or v1s without its classifier.

    images (N, 3, H, W) -> features of stages 1 to `last_stage`:
    (N, channels[i], ceil(H / strides[i]), ceil(W / strides[i])).
    Parameters carry GluonCV's own structural names (`layer3.0.conv1.weight`).
    """

    def __init__(self, resnet, output_stride: int, last_stage: int = 4, **kwargs):
        super().__init__(**kwargs)
        self._stages = [f"layer{stage}" for stage in range(1, last_stage + 1)]
        for name in ("conv1", "bn1", "relu", "maxpool", *self._stages):
            setattr(self, name, getattr(resnet, name))
        dilate([getattr(self, name) for name in self._stages], output_stride)
        expansion = self.layer1[0].expansion
        self.output_stride = output_stride
        self.channels = tuple(width * expansion for width in (64, 128, 256, 512)[:last_stage])
        self.strides = strides(output_stride, last_stage)

    def hybrid_forward(self, F, images):
        """Return the tuple of the stages' features."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(images))))
        features = []
        for stage in self._stages:
            x = getattr(self, stage)(x)
            features.append(x)
        return tuple(features)


def build(name: str, output_stride: int, last_stage: int, pretrained: bool) -> ResNetEncoder:
    """Build an encoder of this family's `NAMES`; see `encoders.build`."""
    depth, _, version = name.partition("_")
    version = version or "v1b"
    resnet = whole(depth, version)
    if pretrained:
        zoo.load(resnet, f"{depth}_{version}")
    return ResNetEncoder(resnet, output_stride, last_stage)


def whole(depth: str, version: str, **settings) -> gluon.HybridBlock:
    """GluonCV's classifier; it names no ResNet-18 and 34 v1s, but its class builds them."""
    module = gluoncv.network_file("resnetv1b")
    block = module.BasicBlockV1b if depth in ("resnet18", "resnet34") else module.BottleneckV1b
    stem = {"deep_stem": True, "stem_width": 64} if version == "v1s" else {}
    return module.ResNetV1b(block, BLOCKS[depth], name_prefix=f"resnet{version}_", **stem, **settings)
