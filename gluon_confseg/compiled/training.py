"""A block's graph in training with the compiled operators."""

from __future__ import annotations

import mxnet as mx
import numpy as np

from .. import tracing
from . import library

OPERATORS = ("confseg_norm_clip", "confseg_depthwise")


def training_form(block):
    """A function like `block`, on the same parameters, to be called in training only; the block itself where it has no
    compiled operators, or they can't be used: on GPUs, on several devices, in float16, or where none are built.
    """
    parameters = block.collect_params().values()
    on_one_cpu = all(p.list_ctx() == [mx.cpu()] and np.dtype(p.dtype) == np.float32 for p in parameters)
    if not on_one_cpu or library() is None:
        return block
    if not any(hasattr(each, "has_compiled_form") for each in _blocks(block)):
        return block
    symbol = tracing.trace(block, tracing.COMPILED)
    return _TrainingGraph(symbol, block) if any(name in symbol.tojson() for name in OPERATORS) else block


def _blocks(block) -> list:
    return [block, *(each for child in block._children.values() for each in _blocks(child))]


class _TrainingGraph:
    """Calls the graph with what the parameters hold now."""

    def __init__(self, symbol, block):
        parameters = {p.name: p for p in block.collect_params().values()}
        self._run = tracing.Cached(symbol)
        self._parameters = [parameters.get(name) for name in self._run.names]

    def __call__(self, images) -> tuple:
        """(N, 3, H, W) -> the block's outputs."""
        return tuple(self._run(images, [p and p.data() for p in self._parameters]))
