"""What an encoder's batch norms do in training. Parameters keep their names and values, so all weights still load.

batch     statistics of the batch, as in MXNet
frozen    the running statistics, also in training; gamma and beta are learned (the ResNet-38 authors' way)
fixed     like frozen, but gamma and beta are not learned
sync      statistics of the batch over all devices
inplace   in-place activated batch norm: with leaky ReLU, in less memory
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
    contexts  for "sync", all devices that train; if empty, the CPU
    Raises ValueError for an unknown norm, for devices that do not exist, and for "inplace" if the encoder has no pair
    of batch norm and ReLU.
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


def synchronise(encoders: list, devices: list) -> None:
    """Let the batch norms of equal encoders, one on each device, share the statistics of the batch: norm "sync".

    Each encoder must then run in a thread of its own, since a batch norm waits for those of the other devices.
    Raises ValueError as `apply` does.
    """
    sync.join([batch_norms(encoder) for encoder in encoders], devices)


def batch_norms(block: gluon.HybridBlock) -> list:
    """All batch norms of a block, in order."""
    found = [block] if isinstance(block, nn.BatchNorm) else []
    for child in block._children.values():
        found += batch_norms(child)
    return found


def keeps_outputs_only(block: gluon.HybridBlock) -> bool:
    """Whether a block has in-place activated batch norms."""
    return any(isinstance(norm, InPlaceABN) for norm in batch_norms(block))
