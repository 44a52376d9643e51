"""What all heads share."""

from __future__ import annotations

import mxnet as mx
from mxnet import autograd, gluon

from .aspp import ImagePooling


class Head(gluon.HybridBlock):
    """A subnet's head: all stages' features -> (N, outputs, h, w) logits, h = ceil(H / output stride).

    reads_subnet0   whether it is called with subnet 0's logits before the features
    """

    reads_subnet0 = False

    def forward(self, *inputs):
        """As any HybridBlock; RunError where it would train on one image and can't (see `ImagePooling`)."""
        # only a head that is called with arrays can see a size: inside a traced network there is none
        alone = isinstance(inputs[0], mx.nd.NDArray) and inputs[0].shape[0] == 1
        if alone and autograd.is_training():
            self.apply(ImagePooling.refuse_one_image)
        return super().forward(*inputs)
