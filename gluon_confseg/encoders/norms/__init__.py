"""What an encoder's batch norms do in training. Names and values of the parameters stay, so all weights still load.

batch     statistics of the batch, MXNet's own
frozen    the running statistics, in training too; gamma and beta are learned (the ResNet-38 authors' way)
fixed     frozen, and gamma and beta stay as they are
sync      statistics of the batch over all devices
inplace   in-place activated batch norm: leaky ReLU, and less memory
"""

from __future__ import annotations

import mxnet as mx
from mxnet import gluon
from mxnet.gluon import nn

from . import pairs, sync
from .inplace import InPlaceABN

NAMES = ("batch", "frozen", "fixed", "sync", "inplace")


def apply(encoder: gluon.HybridBlock, norm: str = "batch", contexts=()) -> None:
    """Change what the batch norms of `encoder` do, before it is hybridized.

    norm      one of `NAMES`
    contexts  all devices that train, for "sync"; none: the CPU
    Raises ValueError for an unknown norm, devices that are not there, and pairs of batch norm and ReLU that the
    encoder has not.
    """
    if norm not in NAMES:
        raise ValueError(f"no norm {norm!r}: choose one of {', '.join(NAMES)}")
    if norm == "sync":
        sync.apply(batch_norms(encoder), list(contexts) or [mx.cpu()])
    elif norm in ("frozen", "fixed"):
        for layer in batch_norms(encoder):
            layer._kwargs["use_global_stats"] = True
            if norm == "fixed":
                layer.gamma.grad_req = layer.beta.grad_req = "null"
    elif norm == "inplace":
        found = pairs.find(encoder)
        if not found:
            raise ValueError(
                f"norm 'inplace' replaces a batch norm and the ReLU that reads it, and {type(encoder).__name__} "
                f"has none: choose one of {', '.join(name for name in NAMES if name != 'inplace')}"
            )
        for layer, relu in found:
            # a new class for the same object: parents, names, parameters and their values stay as they are
            layer.__class__ = InPlaceABN
            if relu is not None:
                relu.__class__ = pairs.Passed


def batch_norms(block: gluon.HybridBlock) -> list:
    """All batch norms of a block, in order."""
    found = [block] if isinstance(block, nn.BatchNorm) else []
    for child in block._children.values():
        found += batch_norms(child)
    return found


def keeps_outputs_only(block: gluon.HybridBlock) -> bool:
    """Whether a block has in-place activated batch norms."""
    return any(isinstance(norm, InPlaceABN) for norm in batch_norms(block))
