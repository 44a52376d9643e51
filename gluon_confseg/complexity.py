"""Parameters and multiply-adds of a block, from shapes alone: nothing is executed, no features are allocated."""

from __future__ import annotations

import json
import math

import mxnet as mx
from mxnet import gluon

IMAGE = (1, 3, 224, 224)


def parameters(block: gluon.HybridBlock, shape: tuple = IMAGE) -> int:
    """Values that training could change, a frozen one included; running statistics are none.

    shape   (N, C, H, W) of an input, for sizes that the block leaves open until it runs
    Raises ValueError for a parameter of open size that this input does not reach.
    """
    inferred = _parameter_shapes(block, shape)
    count = 0
    for parameter in block.collect_params().values():
        if parameter._differentiable:
            count += math.prod(_known(parameter.shape) or inferred.get(parameter.name) or _open(parameter))
    return count


def multiply_adds(block: gluon.HybridBlock, shape: tuple = IMAGE) -> int:
    """Multiply-adds of the block's convolutions, transposed convolutions and dense layers on an input (N, C, H, W).

    Nothing else is counted: neither biases, batch norms and pooling nor enlarging. Taps that fall on padding count.
    """
    graph = _outputs(block).get_internals()
    described = json.loads(graph.tojson())
    sizes = dict(zip((tuple(head[:2]) for head in described["heads"]), graph.infer_shape(data=shape)[1]))
    return sum(_of_node(i, node, sizes) for i, node in enumerate(described["nodes"]))


def _of_node(i: int, node: dict, sizes: dict) -> int:
    if node["op"] not in ("Convolution", "Deconvolution", "FullyConnected"):
        return 0
    data, weight = (sizes[tuple(source[:2])] for source in node["inputs"][:2])
    # a weight is (outputs, inputs of a group, kernel), but of a transposed convolution (inputs, outputs, kernel)
    moved = data if node["op"] == "Deconvolution" else sizes[i, 0]
    return math.prod(moved) * math.prod(weight[1:])


def _outputs(block):
    outputs = block(mx.sym.var("data"))
    return mx.sym.Group(list(outputs)) if isinstance(outputs, (tuple, list)) else outputs


def _parameter_shapes(block, shape: tuple) -> dict:
    graph = _outputs(block)
    return dict(zip(graph.list_arguments(), graph.infer_shape(data=shape)[0]))


def _known(shape) -> tuple | None:
    return shape if shape is not None and all(size > 0 for size in shape) else None


def _open(parameter) -> tuple:
    raise ValueError(f"the size of {parameter.name} is open, and the input does not reach it")
