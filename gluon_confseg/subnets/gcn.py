"""Global convolutional network (GCN) with boundary refinement: Peng et al. 2017; Table 2."""

from __future__ import annotations

from mxnet import gluon, init

from .layers import conv, output_conv


class GlobalConvolution(gluon.HybridBlock):
    """A large k x k kernel as the sum of two paths: k x 1 then 1 x k, and 1 x k then k x 1, without activations.

    (N, width, h, w) -> (N, outputs, h, w)
    scores      True: the outputs are logits, which start near 0; False: features, which start as large as the input
    """

    def __init__(self, width: int, outputs: int, kernel: int, scores: bool = True, **kwargs):
        super().__init__(**kwargs)
        tall, wide = (kernel, 1), (1, kernel)
        second = output_conv if scores else _linear
        with self.name_scope():
            self.tall, self.then_wide = _linear(width, outputs, tall), second(outputs, outputs, wide)
            self.wide, self.then_tall = _linear(width, outputs, wide), second(outputs, outputs, tall)

    def hybrid_forward(self, F, x):
        """The sum of both paths."""
        return self.then_wide(self.tall(x)) + self.then_tall(self.wide(x))


def _linear(width: int, channels: int, kernel):
    """A convolution without ReLU; its outputs start as large as its inputs. (He's values would double the variance.)"""
    keeping = init.Xavier(rnd_type="gaussian", factor_type="in", magnitude=1)
    return conv(width, channels, kernel, weight_initializer=keeping)


class BoundaryRefinement(gluon.HybridBlock):
    """x + conv(relu(conv(x))), 3x3: a residual block that sharpens scores and starts near the identity."""

    def __init__(self, channels: int, **kwargs):
        super().__init__(**kwargs)
        with self.name_scope():
            self.conv1, self.conv2 = conv(channels, channels), output_conv(channels, channels)

    def hybrid_forward(self, F, x):
        """(N, channels, h, w) -> the same shape."""
        return x + self.conv2(F.relu(self.conv1(x)))


class GCN(gluon.HybridBlock):
    """A global convolution and then a boundary refinement: (N, width, h, w) -> (N, outputs, h, w)."""

    def __init__(self, width: int, outputs: int, kernel: int, scores: bool = True, **kwargs):
        super().__init__(**kwargs)
        with self.name_scope():
            self.convolution = GlobalConvolution(width, outputs, kernel, scores)
            self.refinement = BoundaryRefinement(outputs)

    def hybrid_forward(self, F, x):
        """Refined scores."""
        return self.refinement(self.convolution(x))
