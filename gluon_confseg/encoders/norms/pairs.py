"""Where a ReLU reads a batch norm and nothing else does, by kind of block."""

from __future__ import annotations

from gluoncv.model_zoo.resnetv1b import BasicBlockV1b, BottleneckV1b
from mxnet import gluon
from mxnet.gluon import nn

from .. import resnet

ATTRIBUTES = {  # a block's last batch norm is missing: the addition reads it
    BasicBlockV1b: (("bn1", "relu1"),),
    BottleneckV1b: (("bn1", "relu1"), ("bn2", "relu2")),
    resnet.ResNetEncoder: (("bn1", "relu"),),
}


class Passed(nn.Activation):
    """A ReLU whose work is done by the batch norm before it."""

    def hybrid_forward(self, F, x):
        """Return x."""
        return x


def find(block: gluon.HybridBlock) -> list:
    """All (batch norm, ReLU) of a block and what it is made of."""
    named = ATTRIBUTES.get(type(block), ())
    found = [(getattr(block, norm), getattr(block, relu)) for norm, relu in named]
    children = list(block._children.values())
    if isinstance(block, nn.HybridSequential):
        found += [pair for pair in zip(children, children[1:]) if _is_pair(*pair)]
    for child in children:
        found += find(child)
    return found


def _is_pair(first, second) -> bool:
    is_relu = isinstance(second, nn.Activation) and second._act_type == "relu"
    return isinstance(first, nn.BatchNorm) and is_relu
