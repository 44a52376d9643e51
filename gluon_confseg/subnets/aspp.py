"""Atrous spatial pyramid pooling (ASPP): DeepLabV2 (Chen et al. 2016) and DeepLabV3 (Chen et al. 2017); Table 2."""

from __future__ import annotations

from mxnet import gluon
from mxnet.gluon import nn

from ..errors import RunError
from .layers import conv_norm_relu, output_conv

V2_RATES = (6, 12, 18, 24)
V3_RATES = (6, 12, 18)  # at output stride 16
DROPOUT = 0.1  # DeepLabV3's authors' code; the article is silent


def published_rates(kind: str, output_stride: int) -> tuple:
    """Dilations of "aspp_v2", which were published for output stride 8 and are kept at others; or of "aspp_v3".

    Those of "aspp_v3" were published for output stride 16. They are doubled at 8 and halved at 32, so that they see
    equally far in the image.
    """
    if kind == "aspp_v2":
        return V2_RATES
    return tuple(rate * 16 // output_stride for rate in V3_RATES)


class AsppV2(gluon.HybridBlock):
    """DeepLabV2's classifier for ResNets: parallel dilated 3x3 convolutions to the outputs, which are summed.

    (N, width, h, w) -> (N, outputs, h, w). (Its version for VGG has two more 1x1 layers in each branch.)
    """

    def __init__(self, width: int, outputs: int, rates, **kwargs):
        super().__init__(**kwargs)
        with self.name_scope():
            self.branches = nn.HybridSequential()
            for rate in rates:
                self.branches.add(output_conv(width, outputs, dilation=rate))

    def hybrid_forward(self, F, x):
        """The branches' sum."""
        return F.add_n(*[branch(x) for branch in self.branches])


class AsppV3(gluon.HybridBlock):
    """DeepLabV3's ASPP: a 1x1 convolution, dilated 3x3 ones and image pooling, concatenated; then a 1x1 projection.

    (N, width, h, w) -> (N, channels, h, w). Each branch has `channels`; each convolution has batch norm and ReLU.
    """

    def __init__(self, width: int, channels: int, rates, **kwargs):
        super().__init__(**kwargs)
        with self.name_scope():
            self.branches = nn.HybridSequential()
            for kernel, rate in ((1, 1), *((3, rate) for rate in rates)):
                self.branches.add(_sequence(*conv_norm_relu(width, channels, kernel, rate)))
            self.pooling = ImagePooling(width, channels)
            joined = channels * (len(rates) + 2)
            self.projection = _sequence(*conv_norm_relu(joined, channels, kernel=1), nn.Dropout(DROPOUT))

    def hybrid_forward(self, F, x):
        """Features with the context of all rates and of the whole image."""
        branches = [branch(x) for branch in self.branches]
        return self.projection(F.concat(*branches, self.pooling(x), dim=1))


class ImagePooling(gluon.HybridBlock):
    """ASPP's image-level branch: mean over the grid, 1x1 convolution, batch norm, ReLU, then repeated over the grid.

    (N, width, h, w) -> (N, channels, h, w), constant over the grid.
    The batch norm sees one value per image. With one image in a batch, training would give beta alone, and the running
    variance, by whose root inference divides, would become 0: `refuse_one_image`.
    """

    def __init__(self, width: int, channels: int, **kwargs):
        super().__init__(**kwargs)
        with self.name_scope():
            self.body = _sequence(*conv_norm_relu(width, channels, kernel=1))

    def hybrid_forward(self, F, x):
        """The transformed mean of the image, at every position."""
        mean = F.mean(x, axis=(2, 3), keepdims=True)
        return F.broadcast_like(self.body(mean), x, lhs_axes=(2, 3), rhs_axes=(2, 3))

    @staticmethod
    def refuse_one_image(block) -> None:
        """Raise RunError if `block` is image pooling and its batch norm uses the statistics of this device's batch."""
        if not isinstance(block, ImagePooling):
            return
        for layer in block.body:
            facts = getattr(layer, "_kwargs", {}) if isinstance(layer, nn.BatchNorm) else None
            if facts is not None and not facts.get("use_global_stats") and facts.get("ndev", 1) == 1:
                raise RunError(
                    "ASPP's image pooling can't train on batches of one image, whose batch norm has no variance: "
                    "take a batch of 2 or more, or freeze batch norm"
                )


def _sequence(*layers) -> nn.HybridSequential:
    sequence = nn.HybridSequential()
    sequence.add(*layers)
    return sequence
