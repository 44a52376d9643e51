"""A block's graph in training with the compiled operators."""

from __future__ import annotations

import ast
import json
from collections import Counter

import mxnet as mx
import numpy as np

from .. import tracing
from ..encoders import norms
from . import library

OPERATORS = ("confseg_norm_clip", "confseg_depthwise", "confseg_dilated")
LEAST_DILATION = 4  # oneDNN's fast convolution takes a padding of 3 at most
# MXNet adds up more gradients of one array in place, of which the operator of an extension is not told: it would
# overwrite what is there
MOST_READERS = 7


def training_form(block, inputs: int = 1, *, fixed: bool = False):
    """A function like `block`, on the same parameters, to be called in training only; the block itself where it has no
    compiled operators, or they can't be used: on GPUs, on several devices, in float16, or where none are built; and
    where it has in-place activated batch norms, which a graph can't hold, or parameters whose gradients are added up.

    inputs   how many arrays the block is called with
    fixed    no gradient is asked for these, as where they come from a frozen encoder
    """
    parameters = block.collect_params().values()
    fits = all(
        p.list_ctx() == [mx.cpu()] and np.dtype(p.dtype) == np.float32 and p.grad_req != "add"
        for p in parameters
    )
    if not fits or norms.keeps_outputs_only(block) or library() is None:
        return block
    if not any(hasattr(each, "has_compiled_form") or _is_dilated(each) for each in _blocks(block)):
        return block
    names = tuple(f"data{number}" for number in range(inputs))
    symbol = _with_dilated(tracing.trace(block, tracing.COMPILED, names), names if fixed else ())
    used = any(name in symbol.tojson() for name in OPERATORS)
    return _TrainingGraph(symbol, block, names) if used else block


def _blocks(block) -> list:
    return [block, *(each for child in block._children.values() for each in _blocks(child))]


def _is_dilated(block) -> bool:
    settings = getattr(block, "_kwargs", {})
    return max(settings.get("dilate", (1,))) >= LEAST_DILATION


def _with_dilated(symbol, fixed: tuple = ()):
    """The symbol with `confseg_dilated` for each convolution that it can compute; inputs in `fixed` need no gradient.

    oneDNN writes every pixel nine times for these, once for each thread, and keeps the memory as long as the process
    lives, for each size of a convolution: docs/memory.md.
    """
    if not library().confseg_has_dilated():
        return symbol
    graph = json.loads(symbol.tojson())
    readers = Counter(tuple(entry[:2]) for node in graph["nodes"] for entry in node["inputs"])
    for node in graph["nodes"]:
        settings = {key: _parsed(value) for key, value in node.get("attrs", {}).items()}
        data = node["inputs"][0][:2] if node["inputs"] else None
        if node["op"] == "Convolution" and _fits(settings) and readers[tuple(data)] <= MOST_READERS:
            node["op"] = "confseg_dilated"
            node["attrs"] = {
                "dilation": str(settings["dilate"][0]),
                "filters": str(settings["num_filter"]),
                "bias": str(int(not settings.get("no_bias", False))),
                "of_x": str(int(graph["nodes"][data[0]]["name"] not in fixed)),
            }
    return mx.sym.load_json(json.dumps(graph))


def _parsed(value: str):
    try:
        return ast.literal_eval(value)
    except (SyntaxError, ValueError):
        return value


def _fits(settings: dict) -> bool:
    dilation = settings.get("dilate", (1, 1))
    return (
        settings["kernel"] == (3, 3)
        and len(set(dilation)) == 1
        and dilation[0] >= LEAST_DILATION
        and settings.get("pad", (0, 0)) == dilation
        and settings.get("stride", (1, 1)) == (1, 1)
        and settings.get("num_group", 1) == 1
        and settings.get("layout", "NCHW") in ("NCHW", None)
    )


class _TrainingGraph:
    """Calls the graph with what the parameters hold now."""

    def __init__(self, symbol, block, inputs: tuple):
        parameters = {p.name: p for p in block.collect_params().values()}
        self.symbol, self._run, self._check = (
            symbol,
            tracing.Cached(symbol, inputs),
            getattr(block, "check_inputs", None),
        )
        self._parameters = [parameters.get(name) for name in self._run.names]
        self._single = len(symbol.list_outputs()) == 1
        self.reads_subnet0 = getattr(block, "reads_subnet0", None)

    def __call__(self, *arrays):
        """What the block returns: an array or a tuple of them."""
        if self._check is not None:
            self._check(*arrays)
        found = self._run(arrays, [p and p.data() for p in self._parameters])
        return found[0] if self._single else tuple(found)
