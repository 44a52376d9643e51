"""Networks with fixed values, as fused graphs: inference on a CPU, and the frozen parts inside a training step.

A graph is traced once and holds copies of the values, so that batch norms can be folded into convolutions; oneDNN then
computes a convolution with the addition and the activation that follow it. The network that was traced stays as it is.
"""

from __future__ import annotations

import os
import time

import mxnet as mx
import numpy as np
from mxnet import autograd, gluon

from . import graphs, tracing
from .compiled import winograd

BACKEND = "MKLDNN"  # oneDNN's name in MXNet
TOLERANCE = 1e-3
_SHAPE = (1, 3, 64, 64)  # some operators need a shape when the graph is partitioned; it then runs at any size


class Frozen:
    """A function of images, computed in inference mode with the values that parameters have at the first call.

    function   NDArray or Symbol, (N, 3, H, W) -> tuple of arrays
    block      holds all parameters that the function reads

    Values that change afterwards are not seen: make a new object for them. On GPUs, for networks on several devices,
    and without oneDNN (`usable`), the function itself is called, in inference mode; also where the graph does not give
    its values on an image of noise, since MXNet fuses some unusual graphs wrongly.

    building   seconds that this process has spent on making graphs, all of them in first calls
    """

    building = 0.0

    def __init__(self, function, block):
        self._function, self._block, self._graph = function, block, None

    def __call__(self, images) -> tuple:
        """The function's outputs, without gradients."""
        with autograd.pause(train_mode=False):
            if self._graph is None:
                began = time.monotonic()
                self._graph = self._made() or self._function
                Frozen.building += time.monotonic() - began
            return tuple(self._graph(images))

    def _made(self):
        if not usable(self._block):
            return None
        graph = Graph(self._function, self._block)
        images = mx.nd.array(np.random.RandomState(0).normal(size=_SHAPE).astype(np.float32))
        return graph if agree(graph(images), self._function(images)) else None


class FrozenNetwork:
    """A network and its fusions in inference, with the values of the first call: see `Frozen`.

    fusions    {rule: `fusion.Fusion`}
    """

    def __init__(self, network, fusions: dict):
        self.network, self.fusions = network, dict(fusions)
        self.encoder, self.num_classes = network.encoder, network.num_classes
        self._scores = Frozen(self._all_scores, network)

    @classmethod
    def of(cls, network, fusions: dict) -> FrozenNetwork:
        """`network` itself where it is a frozen one, whose fusions must then include these."""
        return network if isinstance(network, cls) else cls(network, fusions)

    @property
    def normalisation(self) -> dict:
        """The network's own."""
        return self.network.normalisation

    def log_probabilities(self, images) -> dict:
        """images (N, 3, H, W) -> {rule: (N, K, h, w)}."""
        return dict(zip(self.fusions, self._scores(images)))

    def _all_scores(self, images) -> tuple:
        network, features = self.network, self.network.encoder(images)
        logits, rules, found = (network.subnet0(*features),), set(self.fusions), {}
        if tracing.is_for(tracing.FROZEN) and _are_alike(network):
            hidden = [subnet.hidden(features) for subnet in network.subnets]
            if "residual_product" in rules:
                changes = [subnet.class_corrections(h) for subnet, h in zip(network.subnets, hidden)]
                fuse = self.fusions["residual_product"]
                found["residual_product"] = fuse.of_class_corrections(logits[0], *zip(*changes))
            logits += tuple(s.corrected(mx.sym, logits[0], h) for s, h in zip(network.subnets, hidden))
        elif rules - {"subnet0"}:
            logits += tuple(network.subnet_logits(logits[0], features))
        return tuple(
            found[rule] if rule in found else fuse(*(logits[:1] if rule == "subnet0" else logits))
            for rule, fuse in self.fusions.items()
        )


def _are_alike(network) -> bool:
    """Whether all subnets are residual, with bodies on subnet 0's grid, and all or none have a branch for detail."""
    if not network.groups or network.kind != "residual" or len(set(network.finer)) > 1:
        return False
    return all(subnet.times == finer for subnet, finer in zip(network.subnets, network.finer))


class Graph:
    """The fused graph itself; see `Frozen`."""

    def __init__(self, function, block):
        symbol, values = winograd.replaced(*fold(tracing.trace(function, tracing.FROZEN), values_of(block)))
        args, aux = (
            {name: values[name] for name in names if name in values}
            for names in (symbol.list_arguments(), symbol.list_auxiliary_states())
        )
        symbol = symbol.optimize_for(BACKEND, args, aux, ctx=mx.cpu(), shape_dict={"data": _SHAPE})
        self._run = tracing.Cached(symbol)
        self._values = [values.get(name) for name in self._run.names]

    def __call__(self, images) -> list:
        """The outputs; call it in inference mode."""
        return self._run([images], list(self._values))


def usable(block) -> bool:
    """Whether a block can be frozen into a graph: on one CPU, with oneDNN, unless the environment turns it off."""
    if not isinstance(block, gluon.HybridBlock) or not mx.runtime.Features().is_enabled("MKLDNN"):
        return False
    if os.environ.get("MXNET_SUBGRAPH_BACKEND") == "NONE" or os.environ.get("MXNET_MKLDNN_ENABLED") == "0":
        return False
    parameters = block.collect_params().values()
    return all(p.list_ctx() == [mx.cpu()] and np.dtype(p.dtype) == np.float32 for p in parameters)


def agree(found, wanted) -> bool:
    """Whether arrays differ by rounding alone: by no more than a thousandth of the largest value of each."""
    for one, other in zip(found, wanted):
        one, other = one.asnumpy(), other.asnumpy()
        if not np.allclose(one, other, rtol=0, atol=TOLERANCE * np.abs(other).max(), equal_nan=True):
            return False
    return True


def values_of(block) -> dict:
    """Name in a symbol -> a NumPy copy of the value."""
    mx.nd.waitall()  # see checkpoint.network_arrays
    return {p.name: p.data().asnumpy() for p in block.collect_params().values()}


def fold(symbol, values: dict, norms: bool = True) -> tuple:
    """(symbol, {name: NDArray}) of the same function, for inference and with constant values.

    What depends on values alone is computed now, and a batch norm that reads a convolution becomes part of its weight
    and bias, unless `norms` is False.
    """
    return _Folding(symbol, values, norms).result()


class _Folding:
    """Rewrites the nodes of a graph, in order."""

    def __init__(self, symbol, values: dict, norms: bool):
        self._graph = graphs.Nodes(symbol)
        self._old, self._values, self._norms = self._graph.nodes, values, norms
        self._constants = {}  # old number -> array
        self._convolutions = {}  # old numbers of those that the batch norm after them will write
        self._new, self._number, self._found = [], {}, {}
        self._copied = {}  # (operator, settings, inputs) -> new number

    def result(self) -> tuple:
        normed = {node["inputs"][0][0] for node in self._old if node["op"] == "BatchNorm"}
        for number, node in enumerate(self._old):
            if node["op"] == "null" and node["name"] not in self._values:
                self._write(number, node)
            elif node["op"] == "null":
                self._constants[number] = self._values[node["name"]]
            elif node["inputs"] and all(i[0] in self._constants for i in node["inputs"]):
                self._constants[number] = self._compute(node)
            elif number in normed and self._can_take_norm(node):
                self._convolutions[number] = node
                # MXNet's own fusion would give its other readers wrong values
                if len(self._graph.readers[number, 0]) > 1:
                    self._copy(number, node)
            elif node["op"] == "BatchNorm" and node["inputs"][0][0] in self._convolutions:
                self._write(number, self._normed(number, node, self._convolutions[node["inputs"][0][0]]))
            else:
                self._copy(number, node)
        heads = [self._input(head) for head in self._graph.heads]
        arrays = {name: mx.nd.array(value, dtype=value.dtype) for name, value in self._found.items()}
        return self._graph.symbol(self._new, heads), arrays

    def _copy(self, number: int, node: dict) -> None:
        inputs = [self._input(i) for i in node["inputs"]]
        key = node["op"], str(node.get("attrs")), str(inputs)
        if key in self._copied:  # several heads gather the same features
            self._number[number] = self._copied[key]
            return
        self._write(number, {**node, "inputs": inputs})
        self._copied[key] = self._number[number]

    def _write(self, number: int, node: dict) -> None:
        self._new.append(node)
        self._number[number] = len(self._new) - 1

    def _variable(self, name: str, value: np.ndarray) -> list:
        self._found[name] = value
        self._new.append({"op": "null", "name": name, "inputs": []})
        return [len(self._new) - 1, 0, 0]

    def _input(self, entry) -> list:
        """An old input or output, in the new graph."""
        number = entry[0]
        if number not in self._number:
            node = self._old[number]
            name = node["name"] if node["op"] == "null" else f"constant{number}"
            self._number[number] = self._variable(name, self._constants[number])[0]
        return [self._number[number], entry[1], 0]

    def _compute(self, node: dict) -> np.ndarray:
        operator = getattr(mx.nd, node["op"], None) or getattr(mx.nd._internal, node["op"])
        inputs = [mx.nd.array(self._constants[i[0]]) for i in node["inputs"]]
        return operator(*inputs, **node.get("attrs", {})).asnumpy()

    def _can_take_norm(self, node: dict) -> bool:
        constant = all(i[0] in self._constants for i in node["inputs"][1:])
        return self._norms and node["op"] == "Convolution" and constant

    def _normed(self, number: int, norm: dict, convolution: dict) -> dict:
        """The convolution with its batch norm's scale and shift, in float64 before they are rounded once."""
        gamma, beta, mean, variance = (self._constants[i[0]].astype(np.float64) for i in norm["inputs"][1:])
        weight, *bias = (self._constants[i[0]].astype(np.float64) for i in convolution["inputs"][1:])
        scale, shift = graphs.scale_and_shift(norm, gamma, beta, mean - (bias[0] if bias else 0), variance)
        new = {"weight": weight * scale.reshape(-1, *[1] * (weight.ndim - 1)), "bias": shift}
        variables = [self._variable(f"normed{number}_{k}", v.astype(np.float32)) for k, v in new.items()]
        attrs = {**convolution["attrs"], "no_bias": "False"}
        inputs = [self._input(convolution["inputs"][0]), *variables]
        return {"op": "Convolution", "name": norm["name"], "attrs": attrs, "inputs": inputs}
