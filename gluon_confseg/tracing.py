"""Graphs that are traced for one purpose, with operators of their own; the block that is traced stays as it is."""

from __future__ import annotations

import mxnet as mx

FROZEN = "frozen"  # inference with constant values, on a CPU: `frozen`
COMPILED = "compiled"  # training with the compiled operators, which know no other mode: `compiled.training`
PLAIN = "plain"  # MXNet's operators alone

_purpose = None


def is_for(purpose: str) -> bool:
    """Whether a block is asked for the operators of a graph for this purpose."""
    return _purpose == purpose


def trace(function, purpose: str, inputs: tuple = ("data",)):
    """The Symbol of a function of arrays, called by these names, that returns an array or several."""
    global _purpose
    before, _purpose = _purpose, purpose
    try:
        found = function(*map(mx.sym.var, inputs))
        return found if isinstance(found, mx.sym.Symbol) else mx.sym.Group(list(found))
    finally:
        _purpose = before


class Cached:
    """Runs a symbol; `names` are all its inputs, in order, among them those of `inputs` that it reads."""

    def __init__(self, symbol, inputs: tuple = ("data",)):
        self.names = symbol.list_inputs()
        self._at = [self.names.index(name) if name in self.names else None for name in inputs]
        read = [number for number in self._at if number is not None]
        constant = [number for number in range(len(self.names)) if number not in read]
        flags = {"data_indices": read, "param_indices": constant, "static_alloc": True}
        self._run = mx.nd.CachedOp(symbol, list(flags.items()))

    def __call__(self, arrays, values: list) -> list:
        """The outputs. arrays: those of `inputs`; values: an NDArray for each of `names`, anything for the inputs."""
        for number, array in zip(self._at, arrays):
            if number is not None:
                values[number] = array
        found = self._run(*values)
        return [found] if isinstance(found, mx.nd.NDArray) else list(found)


class OnParameters:
    """Calls a symbol like the block that it was made from, with what the block's parameters hold now."""

    def __init__(self, symbol, block, inputs: tuple):
        parameters = {p.name: p for p in block.collect_params().values()}
        self.symbol, self._run = symbol, Cached(symbol, inputs)
        self._check = getattr(block, "check_inputs", None)
        self._parameters = [parameters.get(name) for name in self._run.names]
        self._single = len(symbol.list_outputs()) == 1
        self.reads_subnet0 = getattr(block, "reads_subnet0", None)

    def __call__(self, *arrays):
        """What the block returns: an array or a tuple of them."""
        if self._check is not None:
            self._check(*arrays)
        found = self._run(arrays, [p and p.data() for p in self._parameters])
        return found[0] if self._single else tuple(found)
