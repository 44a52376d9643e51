"""The learned rule: the paper's future work, a transformation of all subnets' outputs to the classes."""

from __future__ import annotations

from mxnet import gluon
from mxnet.gluon import nn

from ..groups import SubnetSpace
from . import rules


class LearnedFusion(gluon.HybridBlock):
    """The residual product plus a 1x1 convolution of what it multiplies; zero at the start, so it starts as that rule.

    The convolution reads subnet 0's log-probabilities and each subnet's corrections of them (`rules.corrections`), and
    its K outputs are added to the residual product's log-scores. Weight decay then pulls towards the classical rule.
    No gradient reaches the subnets: they are frozen while it trains.
    (N, K, h, w), (N, |g_1| + 1, h, w), ... -> (N, K, h, w)
    """

    def __init__(self, groups, num_classes: int, **kwargs):
        super().__init__(**kwargs)
        self._spaces = [SubnetSpace(group, num_classes) for group in groups]
        read = num_classes + sum(space.channels for space in self._spaces)
        with self.name_scope():
            self.correction = nn.Conv2D(num_classes, 1, in_channels=read, weight_initializer="zeros")

    def hybrid_forward(self, F, subnet0_logits, *subnet_logits):
        """Log-scores of the K classes."""
        changes = rules.corrections(F, subnet0_logits, subnet_logits, self._spaces)
        read = F.concat(F.log_softmax(subnet0_logits, axis=1), *changes, dim=1)
        product = rules.corrected(subnet0_logits, changes, self._spaces)
        # besides, MXNet can't build the gradient of so many slices: "control dep not found in graph"
        learned = self.correction(F.BlockGrad(read))
        return F.log_softmax(F.BlockGrad(product) + learned, axis=1)
