"""Encoders: GluonCV's ResNet v1b family, and ResNet-38, at output stride 8, 16 or 32: Sections 3, 4.1."""

from __future__ import annotations

from gluoncv.model_zoo import resnetv1b
from mxnet import gluon
from mxnet.gluon import nn

from ..errors import WeightsError
from .resnet38 import ResNet38Encoder

NAMES = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "resnet38")
OUTPUT_STRIDES = (8, 16, 32)


class ResNetEncoder(gluon.HybridBlock):
    """A ResNet v1b without its classifier.

    images (N, 3, H, W) -> features of stages 1 to `last_stage`:
    (N, channels[i], ceil(H / strides[i]), ceil(W / strides[i])).
    Parameters carry GluonCV's own structural names (`layer3.0.conv1.weight`).
    """

    def __init__(self, resnet, output_stride: int, last_stage: int = 4, **kwargs):
        super().__init__(**kwargs)
        self._stages = [f"layer{stage}" for stage in range(1, last_stage + 1)]
        for name in ("conv1", "bn1", "relu", "maxpool", *self._stages):
            setattr(self, name, getattr(resnet, name))
        expansion = 4 if hasattr(resnet.layer1[0], "conv3") else 1
        self.output_stride = output_stride
        self.channels = tuple(width * expansion for width in (64, 128, 256, 512)[:last_stage])
        self.strides = tuple(min(stride, output_stride) for stride in (4, 8, 16, 32)[:last_stage])

    def hybrid_forward(self, F, images):
        """Return the tuple of the stages' features."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(images))))
        features = []
        for stage in self._stages:
            x = getattr(self, stage)(x)
            features.append(x)
        return tuple(features)


def build(
    name: str, output_stride: int = 8, pretrained: bool = False, last_stage: int = 4
) -> gluon.HybridBlock:
    """Build an encoder of `NAMES`. Strides beyond `output_stride` become dilations: Section 4.1.

    pretrained  ImageNet weights from GluonCV's model zoo, downloaded on first use
    last_stage  3 leaves out a ResNet's fourth stage, which is most of its time at a small stride
    Raises ValueError for an unknown name or stride, WeightsError where the zoo can't be reached.
    """
    if name not in NAMES:
        raise ValueError(f"no encoder {name!r}: choose one of {', '.join(NAMES)}")
    if output_stride not in OUTPUT_STRIDES:
        raise ValueError(f"no output stride {output_stride}: choose one of {OUTPUT_STRIDES}")
    if last_stage not in (3, 4) or (last_stage == 3 and (output_stride == 32 or name == "resnet38")):
        raise ValueError("an encoder ends with stage 4; a ResNet v1b at output stride 8 or 16 may end with 3")
    if name == "resnet38":
        return _resnet38(output_stride, pretrained)
    make = getattr(resnetv1b, f"{name}_v1b")
    resnet = make(pretrained=False, dilated=output_stride == 8)
    if pretrained:
        _load_from_zoo(resnet, name)
    if output_stride == 16 and last_stage == 4:
        _dilate_last_stage(resnet)
    return ResNetEncoder(resnet, output_stride, last_stage)


def _resnet38(output_stride: int, pretrained: bool) -> ResNet38Encoder:
    if pretrained:
        raise WeightsError(
            "GluonCV's model zoo has no ResNet-38: pass its authors' .params file with --weights, "
            "or train without pretrained weights"
        )
    return ResNet38Encoder(output_stride, prefix="encoder_")


def _load_from_zoo(resnet, name: str) -> None:
    from gluoncv.model_zoo.model_store import get_model_file

    try:
        resnet.load_parameters(get_model_file(f"{name}_v1b", tag=True))
    except Exception as error:  # whatever the network layer raises; the user needs one sentence
        reason = str(error).split("\n")[0][:120]
        raise WeightsError(
            f"the ImageNet weights of {name}_v1b can't be fetched from GluonCV's model zoo ({reason}): "
            "put the .params file into ~/.mxnet/models, pass one with --weights, "
            "or train without pretrained weights"
        ) from error


def _dilate_last_stage(resnet) -> None:
    """Stride 16: GluonCV knows only 8 (both last stages dilated) and 32."""
    first = resnet.layer4[0]
    parameters = {k: p for k, p in resnet.layer4._collect_params_with_prefix().items() if p._data is not None}
    resnet.inplanes = resnet.inplanes // 2
    resnet.layer4 = resnet._make_layer(
        4, type(first), 512, len(resnet.layer4), strides=1, dilation=2, norm_layer=nn.BatchNorm
    )
    for name, parameter in resnet.layer4._collect_params_with_prefix().items():
        if name in parameters:
            parameter.shape = parameters[name].shape
            parameter.initialize()
            parameter.set_data(parameters[name].data())
