"""The nodes of a symbol, for what rewrites graphs: `frozen`, `compiled.winograd` and `compiled.training`.

MXNet writes a symbol as JSON: a list of nodes, each with an operator, settings as text, and inputs as entries
[number of a node, number of its output, version]. A node's inputs stand before it.
"""

from __future__ import annotations

import ast
import json
from collections import defaultdict

import mxnet as mx
import numpy as np

EPSILON = 1e-3  # of MXNet's batch norm


class Nodes:
    """A symbol's nodes, its outputs (`heads`, entries), and who reads what.

    readers    (node, output) -> the numbers of the nodes that read it, in order; None is an output of the symbol
    """

    def __init__(self, symbol):
        graph = json.loads(symbol.tojson())
        self.nodes, self.heads, self._attrs = graph["nodes"], graph["heads"], graph["attrs"]
        self.readers = defaultdict(list)
        for number, node in enumerate(self.nodes):
            for entry in node["inputs"]:
                self.readers[tuple(entry[:2])].append(number)
        for head in self.heads:
            self.readers[tuple(head[:2])].append(None)

    def symbol(self, nodes: list | None = None, heads: list | None = None):
        """The Symbol of other nodes and outputs, or of these as they are now."""
        nodes, heads = (
            self.nodes if nodes is None else nodes,
            self.heads if heads is None else heads,
        )
        variables = [number for number, node in enumerate(nodes) if node["op"] == "null"]
        graph = {"nodes": nodes, "arg_nodes": variables, "heads": heads, "attrs": self._attrs}
        return mx.sym.load_json(json.dumps(graph))


def setting(node: dict, name: str, default=None):
    """A setting of a node as a value of Python, or its text where it is none."""
    text = node.get("attrs", {}).get(name)
    if text is None:
        return default
    try:
        return ast.literal_eval(text)
    except (SyntaxError, ValueError):
        return text


def dilation(node: dict) -> tuple:
    """(down, across) of a convolution."""
    return setting(node, "dilate", (1, 1))


def is_3x3_of_equal_size(node: dict) -> bool:
    """Whether a node is a convolution of 3x3 of all channels, of stride 1 and equal dilations, that keeps the size."""
    return (
        node["op"] == "Convolution"
        and setting(node, "kernel") == (3, 3)
        and len(set(dilation(node))) == 1
        and setting(node, "pad", (0, 0)) == dilation(node)
        and setting(node, "stride", (1, 1)) == (1, 1)
        and setting(node, "num_group", 1) == 1
        and setting(node, "layout") in ("NCHW", None)
    )


def scale_and_shift(norm: dict, gamma, beta, mean, variance) -> tuple:
    """What a batch norm in inference multiplies by and then adds, (C,) float64 each, from its values."""
    gamma, beta, mean, variance = (np.asarray(a, np.float64) for a in (gamma, beta, mean, variance))
    if setting(norm, "fix_gamma", True) in (True, 1):
        gamma = np.ones_like(gamma)
    scale = gamma / np.sqrt(variance + float(setting(norm, "eps", EPSILON)))
    return scale, beta - mean * scale
