"""Convolutions of a frozen graph by Winograd's algorithm: the operator of winograd.cc in place of MXNet's.

It takes a quarter of the multiplications, and a dilation costs it nothing. Results differ by rounding alone.
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict

import mxnet as mx
import numpy as np

from .. import graphs
from ..graphs import dilation
from . import is_wide, library

OPERATOR = "confseg_winograd"
POINTS = (0.0, 0.625, -0.625, 1.5, -1.5)  # as in winograd.cc, and infinity
OUTPUTS = 16  # of a panel in winograd.cc
LEAST = 32  # channels that are read: with fewer, the transformation of the tiles takes too much of the time
_SUMS = ("elemwise_add", "_plus", "_Plus")


def replaced(symbol, arrays: dict) -> tuple:
    """(symbol, {name: NDArray}) of the same function, with the operator for each convolution that it can compute.

    A batch norm before the convolution becomes part of it, and an addition and an activation that alone read it.
    Convolutions of the same input are computed as one. Without the library, or on a CPU without wide instructions, all
    stays as it is.
    """
    if library() is None or not is_wide():
        return symbol, arrays
    return _Replacing(symbol, arrays).result()


def transformed(weight: np.ndarray) -> np.ndarray:
    """(outputs, inputs, 3, 3) -> (36, panels, depth, 16) float32, the weights as the operator takes them."""
    outputs, inputs = weight.shape[:2]
    panels, depth = -(-outputs // OUTPUTS), -(-inputs // 8) * 8
    rows = [np.array([1, p, p * p]) / np.prod([p - q for q in POINTS if q != p]) for p in POINTS]
    once = np.array([*rows, [0, 0, 1]])
    both = np.kron(once, once)
    found = np.zeros((36, panels, depth, OUTPUTS), np.float32)
    for panel in range(panels):
        part = weight[panel * OUTPUTS : (panel + 1) * OUTPUTS].astype(np.float64)
        products = both @ part.transpose(2, 3, 1, 0).reshape(9, -1)
        found[:, panel, :inputs, : len(part)] = products.reshape(36, inputs, len(part))
    return found


@dataclasses.dataclass
class _Convolution:
    """A convolution and the nodes that become part of it, by their numbers; `chain` ends with the last of them.

    data, added   inputs, as entries of the old graph
    weight        (outputs, inputs, 3, 3), with a further input, which is 1 in every pixel, where `ones` is set
    """

    chain: list
    data: tuple
    added: tuple | None
    weight: np.ndarray
    bias: np.ndarray
    dilation: int
    limits: tuple
    ones: bool

    def kind(self) -> tuple:
        """Equal for convolutions that can be computed as one."""
        alone = (self.chain[0],) if self.added else ()
        return self.data, self.dilation, self.limits, self.ones, alone


class _Replacing:
    """Rewrites the nodes of a graph, in order."""

    def __init__(self, symbol, arrays: dict):
        self._graph = graphs.Nodes(symbol)
        self._old, self._arrays, self._new, self._entry = self._graph.nodes, dict(arrays), [], {}

    def result(self) -> tuple:
        ends, within, groups = {}, set(), defaultdict(list)
        for number, node in enumerate(self._old):
            if self._fits(node):
                one = self._convolution(number, {*ends, *within})
                ends[one.chain[-1]] = one
                within.update(one.chain[:-1])
                groups[one.kind()].append(one)
        for number, node in enumerate(self._old):
            if number in ends:
                if (number, 0) not in self._entry:
                    self._write_group(groups[ends[number].kind()])
            elif number not in within:
                self._write(number, {**node, "inputs": [self._input(i) for i in node["inputs"]]})
        return self._graph.symbol(self._new, [self._input(head) for head in self._graph.heads]), self._arrays

    # ---- the old graph

    def _fits(self, node: dict) -> bool:
        if not graphs.is_3x3_of_equal_size(node) or any(self._array(i) is None for i in node["inputs"][1:]):
            return False
        return self._array(node["inputs"][1]).shape[1] >= LEAST

    def _array(self, entry):
        """The value of an input that is constant, None for another."""
        node = self._old[entry[0]]
        return self._arrays.get(node["name"]) if node["op"] == "null" else None

    def _convolution(self, number: int, taken: set) -> _Convolution:
        node, chain, added = self._old[number], [number], None
        data, weight, *bias = node["inputs"]
        weight = self._array(weight).asnumpy()
        bias = self._array(bias[0]).asnumpy() if bias else np.zeros(len(weight), np.float32)
        norm = self._constant_norm(data)
        if norm is not None:
            (data, *_), scale, shift = norm
            # where the convolution reads beyond the border there is no shift, so it can't be part of the bias
            ones = np.einsum("oihw,i->ohw", weight, shift)[:, None]
            weight = np.concatenate([weight * scale.reshape(-1, 1, 1), ones], axis=1)
        reader = self._only_reader(number)
        if reader is not None and reader not in taken and self._old[reader]["op"] in _SUMS:
            added = next(tuple(i[:2]) for i in self._old[reader]["inputs"] if i[0] != number)
            chain.append(reader)
            reader = self._only_reader(reader)
        limits = None if reader is None else _limits(self._old[reader])
        if limits is not None:
            chain.append(reader)
        limits = limits or ("-inf", "inf")
        return _Convolution(
            chain, tuple(data[:2]), added, weight, bias, dilation(node)[0], limits, norm is not None
        )

    def _constant_norm(self, entry):
        """(inputs, scale, shift), in float64, of a batch norm of constants; None for another node."""
        node = self._old[entry[0]]
        if node["op"] != "BatchNorm" or any(self._array(i) is None for i in node["inputs"][1:]):
            return None
        values = (self._array(i).asnumpy() for i in node["inputs"][1:])
        return node["inputs"], *graphs.scale_and_shift(node, *values)

    def _only_reader(self, number: int):
        readers = self._graph.readers[number, 0]
        return readers[0] if len(readers) == 1 else None

    # ---- the new graph

    def _append(self, node: dict) -> list:
        self._new.append(node)
        return [len(self._new) - 1, 0, 0]

    def _write(self, number: int, node: dict) -> None:
        new, _, _ = self._append(node)
        self._entry[number, None] = new
        self._entry[number, 0] = [new, 0, 0]

    def _input(self, entry) -> list:
        number, output = entry[:2]
        if output == 0:
            return self._entry[number, 0]
        return [self._entry[number, None], output, 0]

    def _write_group(self, group: list) -> None:
        first, (*_, last) = group[0], group[0].chain
        name = self._old[last]["name"]
        weights = transformed(np.concatenate([one.weight for one in group]))
        arrays = {"weights": weights, "shift": np.concatenate([one.bias for one in group])}
        inputs = [self._input(first.data), *(self._variable(f"{name}_{k}", v) for k, v in arrays.items())]
        if first.added is not None:
            inputs.append(self._input(first.added))
        attrs = {
            "num_filter": str(sum(len(one.weight) for one in group)),
            "dilation": str(first.dilation),
            "ones": str(int(first.ones)),
            "adds": str(int(first.added is not None)),
            "low": first.limits[0],
            "high": first.limits[1],
        }
        found = self._append({"op": OPERATOR, "name": name, "attrs": attrs, "inputs": inputs})
        if len(group) == 1:
            self._entry[last, 0] = found
            return
        begin = 0
        for one in group:
            end = begin + len(one.weight)
            attrs = {"axis": "1", "begin": str(begin), "end": str(end)}
            part = {"op": "slice_axis", "name": f"{name}_{begin}", "attrs": attrs, "inputs": [found]}
            self._entry[one.chain[-1], 0] = self._append(part)
            begin = end

    def _variable(self, name: str, array: np.ndarray) -> list:
        self._arrays[name] = mx.nd.from_numpy(np.ascontiguousarray(array, np.float32))
        return self._append({"op": "null", "name": name, "inputs": []})


def _limits(node: dict):
    """("low", "high") of an activation that cuts its input off there; None for another node."""
    attrs = node.get("attrs", {})
    if node["op"] == "relu" or (node["op"] == "Activation" and attrs["act_type"] == "relu"):
        return "0", "inf"
    return (attrs["a_min"], attrs["a_max"]) if node["op"] == "clip" else None
