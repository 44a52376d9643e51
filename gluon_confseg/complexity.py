"""Parameters and multiply-adds of a block, computed from shapes alone: nothing runs and no features are allocated."""

from __future__ import annotations

import json
import math

import mxnet as mx
from mxnet import gluon

IMAGE = (1, 3, 224, 224)


def parameters(block: gluon.HybridBlock, shape: tuple = IMAGE) -> int:
    """Number of values that training could change. Frozen parameters count, running statistics do not.

    shape   (N, C, H, W) of an input, from which sizes that the block leaves open are computed
    Raises ValueError for a parameter of open size that this input does not reach.
    """
    graph = _outputs(block)
    inferred = dict(zip(graph.list_arguments(), graph.infer_shape(data=shape)[0]))
    count = 0
    for parameter in block.collect_params().values():
        if not parameter._differentiable:
            continue
        sizes = parameter.shape
        if not sizes or min(sizes) <= 0:
            sizes = inferred.get(parameter.name)
            if not sizes:
                raise ValueError(f"the size of {parameter.name} is open, and the input does not reach it")
        count += math.prod(sizes)
    return count


def multiply_adds(block: gluon.HybridBlock, shape: tuple = IMAGE) -> int:
    """Multiply-adds of the block's convolutions, transposed convolutions and dense layers on an input (N, C, H, W).

    Nothing else counts: no biases, batch norms, pooling or enlarging. Kernel positions that fall on padding count.
    """
    graph = _outputs(block).get_internals()
    described = json.loads(graph.tojson())
    sizes = dict(zip((tuple(head[:2]) for head in described["heads"]), graph.infer_shape(data=shape)[1]))
    total = 0
    for i, node in enumerate(described["nodes"]):
        if node["op"] in ("Convolution", "Deconvolution", "FullyConnected"):
            data, weight = (sizes[tuple(source[:2])] for source in node["inputs"][:2])
            # shape of a weight: (outputs, inputs of a group, kernel); if transposed: (inputs, outputs, kernel)
            moved = data if node["op"] == "Deconvolution" else sizes[i, 0]
            total += math.prod(moved) * math.prod(weight[1:])
    return total


def _outputs(block):
    outputs = block(mx.sym.var("data"))
    return mx.sym.Group(list(outputs)) if isinstance(outputs, (tuple, list)) else outputs
