"""The heads: the paper's (Section 3, Fig. 4), those of Table 2, and one that corrects subnet 0 (docs/decisions.md)."""

from __future__ import annotations

import mxnet as mx
from mxnet import autograd, gluon
from mxnet.gluon import nn

from ..fusion.mapping import gather, view
from ..grids import enlarge, enlarge_with_gradient
from ..groups import SubnetSpace
from .aspp import AsppV2, AsppV3, ImagePooling, published_rates
from .gcn import GCN, BoundaryRefinement
from .layers import Gather, check_stages, conv, conv_norm_relu, output_conv
from .settings import PLAIN, RESIDUAL, HeadSettings


class Head(gluon.HybridBlock):
    """A subnet's head: all stages' features -> (N, outputs, h, w) logits, h = ceil(H / `output_stride`).

    output_stride   pixels per feature of the grid of its logits: the encoder's, unless its settings say another, or
                    have a branch for detail, whose grid it then is
    reads_subnet0   whether its first argument is subnet 0's logits, before the features
    """

    reads_subnet0 = False

    def __init__(self, encoder, settings: HeadSettings, **kwargs):
        super().__init__(**kwargs)
        self.output_stride = settings.output_stride or encoder.output_stride

    def forward(self, *inputs):
        """As in HybridBlock, after `check_inputs`."""
        self.check_inputs(*inputs)
        return super().forward(*inputs)

    def check_inputs(self, *inputs) -> None:
        """RunError for training on one image where that can't be done (see `ImagePooling`)."""
        # only a head that is called with arrays sees sizes; inside a traced network there are none
        alone = isinstance(inputs[0], mx.nd.NDArray) and inputs[0].shape[0] == 1
        if alone and autograd.is_training():
            self.apply(ImagePooling.refuse_one_image)


class PlainHead(Head):
    """The paper's head: dilated 3x3 convolutions with ReLU between them, for subnet 0 and for other plain subnets.

    all stages' features -> (N, outputs, h, w) logits
    """

    def __init__(self, encoder, outputs: int, settings: HeadSettings = PLAIN, **kwargs):
        super().__init__(encoder, settings, **kwargs)
        with self.name_scope():
            self.gather = Gather(encoder, settings.stages, settings.output_stride)
            self.context, width = build_context(settings, self.gather.channels, self.output_stride)
            self.body = nn.HybridSequential()
            for _ in range(settings.depth - 1):
                self.body.add(
                    conv(width, settings.channels, dilation=settings.dilation), nn.Activation("relu")
                )
                width = settings.channels
            self.output = output_conv(width, outputs, dilation=settings.dilation)

    def hybrid_forward(self, F, *features):
        """Logits on the head's grid."""
        return self.output(self.body(self.context(self.gather(*features))))


class Detail(gluon.HybridBlock):
    """The hidden features of a branch for detail, on its stage's grid: all stages' features -> (N, channels, h, w).

    The head puts them through `output`, which makes the branch's correction of them.
    """

    def __init__(self, encoder, outputs: int, settings: HeadSettings, **kwargs):
        super().__init__(**kwargs)
        stride = encoder.strides[settings.detail - 1]
        with self.name_scope():
            self.gather = Gather(encoder, (settings.detail,), stride)
            self.standardise = nn.BatchNorm(scale=False, in_channels=self.gather.channels)
            self.body = nn.HybridSequential()
            self.body.add(*conv_norm_relu(self.gather.channels, settings.channels))
            # the output of the head's body has a bias already
            self.output = conv(
                settings.channels, outputs, kernel=1, weight_initializer="zeros", use_bias=False
            )

    def hybrid_forward(self, F, *features):
        """Hidden features on the stage's grid."""
        return self.body(self.standardise(self.gather(*features)))


class ResidualHead(Head):
    """A subnet that corrects subnet 0: subnet 0's logits, reduced to the group's channels, plus a correction.

    The correction is zero at the start, so that training starts from subnet 0 (docs/decisions.md).
    (N, K, h, w) logits of subnet 0, all stages' features -> (N, |g| + 1, h, w) logits, channel 0 is "others";
    (N, K, h, w) for a group of all classes. On a finer grid than the encoder's, subnet 0's logits are enlarged to it.
    With a branch for detail, the correction is the sum of two: that of the body, enlarged, and that of the branch.

    times   how many times finer the grid of its logits is than that of its body; 1 without a branch for detail
    """

    reads_subnet0 = True

    def __init__(self, encoder, group, num_classes: int, settings: HeadSettings = RESIDUAL, **kwargs):
        super().__init__(encoder, settings, **kwargs)
        if settings.kind != "plain":
            raise ValueError(
                f"residual subnets have plain heads, got {settings.kind!r}: choose a context instead, "
                "or plain subnets"
            )
        self._group, self._num_classes = tuple(group), num_classes
        outputs, stride = SubnetSpace(group, num_classes).channels, self.output_stride
        if settings.detail is not None:
            check_stages(encoder, (settings.detail,))
            self.output_stride = encoder.strides[settings.detail - 1]
            if self.output_stride >= stride:
                raise ValueError(
                    f"stage {settings.detail} has the stride {self.output_stride}, no finer grid than the head's, "
                    f"whose stride is {stride}: leave `detail` out, or choose an earlier stage"
                )
            if stride % (2 * self.output_stride):
                raise ValueError(
                    f"stage {settings.detail} has the stride {self.output_stride}, and the head {stride}, which is no "
                    "even multiple of it: leave `detail` out"
                )
        self._finer, self.times = encoder.output_stride // self.output_stride, stride // self.output_stride
        with self.name_scope():
            self.gather = Gather(encoder, settings.stages, settings.output_stride)
            # it needs beta: MXNet does not update the running statistics of a batch norm without a gradient
            self.standardise = nn.BatchNorm(scale=False, in_channels=self.gather.channels)
            self.context, width = build_context(settings, self.gather.channels, stride)
            self.body = nn.HybridSequential()
            for _ in range(settings.depth - 1):
                self.body.add(*conv_norm_relu(width, settings.channels, dilation=settings.dilation))
                width = settings.channels
            self.output = conv(width, outputs, kernel=1, weight_initializer="zeros")
            self.detail = None if settings.detail is None else Detail(encoder, outputs, settings)

    def hybrid_forward(self, F, subnet0_logits, *features):
        """Logits on the head's grid."""
        return self.corrected(F, subnet0_logits, self.hidden(features))

    def hidden(self, features) -> tuple:
        """All stages' features -> what the last convolution of each branch reads, that of the body first."""
        hidden = self.body(self.context(self.standardise(self.gather(*features))))
        return (hidden,) if self.detail is None else (hidden, self.detail(*features))

    def corrected(self, F, subnet0_logits, hidden: tuple):
        """Logits, from `hidden`."""
        if self._finer > 1:
            # without BlockGrad, MXNet would go back through what has its size from here as well
            like = F.BlockGrad(F.slice_axis(hidden[-1], axis=1, begin=0, end=1))
            subnet0_logits = enlarge(F, subnet0_logits, self._finer, like)
        correction = self._sum(F, *(branch.output(h) for branch, h in zip((self, self.detail), hidden)))
        return view(subnet0_logits, self._group, self._num_classes) + correction

    def class_corrections(self, hidden: tuple) -> list:
        """Symbols of each branch's correction, "others" copied to every class outside: (N, K, h, w) each."""
        channels = SubnetSpace(self._group, self._num_classes).channel_of_class()
        return [_of_classes(branch.output, h, channels) for branch, h in zip((self, self.detail), hidden)]

    def _sum(self, F, correction, detail=None):
        if detail is None:
            return correction
        return enlarge_with_gradient(F, correction, self.times, detail) + detail


def _of_classes(output, hidden, channels):
    """A Symbol of what a 1x1 convolution gives, its `channels` alone, which may be there several times."""
    weight = mx.sym.swapaxes(gather(mx.sym.swapaxes(output.weight.var(), 0, 1), channels), 0, 1)
    settings = {"kernel": (1, 1), "num_filter": len(channels)}
    if output.bias is None:
        return mx.sym.Convolution(hidden, weight, no_bias=True, **settings)
    bias = mx.sym.reshape(gather(mx.sym.reshape(output.bias.var(), shape=(1, -1)), channels), shape=-1)
    return mx.sym.Convolution(hidden, weight, bias, **settings)


def build_context(settings: HeadSettings, width: int, output_stride: int) -> tuple:
    """The module of `settings.context` for `width` channels, and how many channels it gives.

    (N, width, h, w) -> (N, settings.channels, h, w); without a context the features stay as they are.
    """
    if settings.context is None:
        return nn.HybridSequential(), width
    if settings.context == "aspp":
        rates = settings.rates or published_rates("aspp_v3", output_stride)
        return AsppV3(width, settings.channels, rates), settings.channels
    return GCN(width, settings.channels, settings.kernel, scores=False), settings.channels


class DeepLabV2Head(Head):
    """ASPP of DeepLabV2 (ResNet-101): all stages' features -> (N, outputs, h, w) logits."""

    def __init__(self, encoder, outputs: int, settings: HeadSettings, **kwargs):
        super().__init__(encoder, settings, **kwargs)
        rates = settings.rates or published_rates("aspp_v2", self.output_stride)
        with self.name_scope():
            self.gather = Gather(encoder, settings.stages, settings.output_stride)
            self.aspp = AsppV2(self.gather.channels, outputs, rates)

    def hybrid_forward(self, F, *features):
        """Logits on the head's grid."""
        return self.aspp(self.gather(*features))


class DeepLabV3Head(Head):
    """ASPP of DeepLabV3, then a 1x1 convolution to the outputs: all stages' features -> (N, outputs, h, w) logits."""

    def __init__(self, encoder, outputs: int, settings: HeadSettings, **kwargs):
        super().__init__(encoder, settings, **kwargs)
        rates = settings.rates or published_rates("aspp_v3", self.output_stride)
        with self.name_scope():
            self.gather = Gather(encoder, settings.stages, settings.output_stride)
            self.aspp = AsppV3(self.gather.channels, settings.channels, rates)
            self.output = output_conv(settings.channels, outputs, kernel=1)

    def hybrid_forward(self, F, *features):
        """Logits on the head's grid."""
        return self.output(self.aspp(self.gather(*features)))


class GCNHead(Head):
    """Scores of each stage by a GCN of its own, added up from the last stage to the first, and refined after each sum.

    all stages' features -> (N, outputs, h, w) logits.
    The article enlarges coarser scores by deconvolution to the finer grid, up to the image's. Here the logits of all
    subnets have the grid of the last stage, which dilation keeps fine: at output stride 8, stages 2 to 4 share it.
    Finer features are pooled down to it first (`Gather`).
    """

    def __init__(self, encoder, outputs: int, settings: HeadSettings, **kwargs):
        super().__init__(encoder, settings, **kwargs)
        check_stages(encoder, settings.stages)
        with self.name_scope():
            self.gathers, self.scores = nn.HybridSequential(), nn.HybridSequential()
            self.refinements = nn.HybridSequential()
            for stage in reversed(settings.stages):
                gather = Gather(encoder, (stage,), settings.output_stride)
                self.gathers.add(gather)
                self.scores.add(GCN(gather.channels, outputs, settings.kernel))
            for _ in settings.stages[1:]:
                self.refinements.add(BoundaryRefinement(outputs))

    def hybrid_forward(self, F, *features):
        """Logits on the head's grid."""
        summed, *finer = [score(gather(*features)) for gather, score in zip(self.gathers, self.scores)]
        for scores, refine in zip(finer, self.refinements):
            summed = refine(summed + scores)
        return summed
