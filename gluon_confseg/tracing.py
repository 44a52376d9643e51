"""Graphs that are traced for one purpose, with operators of their own; the block that is traced stays as it is."""

from __future__ import annotations

import mxnet as mx

FROZEN = "frozen"  # inference with constant values, on a CPU: `frozen`
COMPILED = "compiled"  # training with the compiled operators, which know no other mode: `compiled.training`

_purpose = None


def is_for(purpose: str) -> bool:
    """Whether a block is asked for the operators of a graph for this purpose."""
    return _purpose == purpose


def trace(function, purpose: str):
    """The Symbol of a function of images that returns several arrays; its input is called "data"."""
    global _purpose
    before, _purpose = _purpose, purpose
    try:
        return mx.sym.Group(list(function(mx.sym.var("data"))))
    finally:
        _purpose = before


class Cached:
    """Runs a symbol with one input "data"; `names` are all its inputs, in order."""

    def __init__(self, symbol):
        self.names = symbol.list_inputs()
        self._data = self.names.index("data")
        constant = [number for number in range(len(self.names)) if number != self._data]
        flags = {"data_indices": [self._data], "param_indices": constant, "static_alloc": True}
        self._run = mx.nd.CachedOp(symbol, list(flags.items()))

    def __call__(self, images, values: list) -> list:
        """The outputs. values: an NDArray for each of `names`, anything for "data"."""
        values[self._data] = images
        found = self._run(*values)
        return [found] if isinstance(found, mx.nd.NDArray) else list(found)
