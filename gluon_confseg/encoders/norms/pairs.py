"""Finds batch norms that only a ReLU reads, by kind of block."""

from __future__ import annotations

from mxnet import gluon
from mxnet.gluon import nn

from .. import resnet, resnet38

ATTRIBUTES = {
    resnet.ResNetEncoder: {"bn1": "relu"},
    resnet38.Level: {"norm": None},  # ResNet-38 has no blocks for its ReLUs
    resnet38.Block: {"bn1": None, "bn2": None, "bn3": None},
}
# GluonCV's classes by name, so that GluonCV need not be there; the last batch norm is read by the addition
GLUONCV = {"BasicBlockV1b": {"bn1": "relu1"}, "BottleneckV1b": {"bn1": "relu1", "bn2": "relu2"}}


class Passed(nn.Activation):
    """A former ReLU, whose work the batch norm before it does now."""

    def hybrid_forward(self, F, x):
        """Return x."""
        return x


def find(block: gluon.HybridBlock) -> list:
    """All pairs (batch norm, the block of its ReLU or None) in a block and its children."""
    kind, children = type(block), block._children
    named = ATTRIBUTES.get(kind) or GLUONCV.get(kind.__name__, {})
    found = [(children[norm], children.get(relu)) for norm, relu in named.items() if norm in children]
    if isinstance(block, nn.HybridSequential):
        layers = list(children.values())
        for norm, relu in zip(layers, layers[1:]):
            is_relu = isinstance(relu, nn.Activation) and relu._act_type == "relu"
            if is_relu and isinstance(norm, nn.BatchNorm):
                found.append((norm, relu))
    return found + [pair for child in children.values() for pair in find(child)]
