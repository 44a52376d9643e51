"""A block's graph in training with the compiled operators."""

from __future__ import annotations

import mxnet as mx
import numpy as np

from .. import graphs, tracing
from ..encoders import norms
from . import is_wide, library

OPERATORS = ("confseg_norm_clip", "confseg_depthwise", "confseg_dilated", "confseg_convolution")
LEAST_DILATION = 4  # oneDNN's fast convolution takes a padding of 3 at most
LEAST_CHANNELS = 64  # read and written; fewer were not measured
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
    if not any(hasattr(each, "has_compiled_form") or _may_fit(each) for each in _blocks(block)):
        return block
    names = tuple(f"data{number}" for number in range(inputs))
    widths = {p.name: p.shape[1] for p in parameters if len(p.shape) == 4}
    if fixed:
        # MXNet computes the gradients of a graph's inputs even where nobody asks for them
        traced = tracing.trace(lambda *arrays: block(*map(mx.sym.BlockGrad, arrays)), tracing.COMPILED, names)
    else:
        traced = tracing.trace(block, tracing.COMPILED, names)
    symbol = _with_convolutions(traced, widths)
    used = any(name in symbol.tojson() for name in OPERATORS)
    return tracing.OnParameters(symbol, block, names) if used else block


def _blocks(block) -> list:
    return [block, *(each for child in block._children.values() for each in _blocks(child))]


def _may_fit(block) -> bool:
    settings = getattr(block, "_kwargs", {})
    return settings.get("kernel") == (3, 3) and "num_filter" in settings


def _with_convolutions(symbol, widths: dict):
    """The symbol with a compiled operator for each convolution of which one exists.

    `confseg_convolution` computes by Winograd's algorithm, which takes a quarter of the multiplications; it needs wide
    instructions. `confseg_dilated` multiplies matrices, for which oneDNN writes every pixel nine times, once for each
    thread, and keeps the memory as long as the process lives, for each size of a convolution: docs/memory.md.

    widths   the channels that each weight reads
    """
    graph = graphs.Nodes(symbol)
    nodes = graph.nodes
    for node in nodes:
        if not graphs.is_3x3_of_equal_size(node):
            continue
        if max(len(graph.readers[tuple(entry[:2])]) for entry in node["inputs"]) > MOST_READERS:
            continue
        data, weight = (nodes[entry[0]] for entry in node["inputs"][:2])
        (dilation, _), filters = graphs.dilation(node), graphs.setting(node, "num_filter")
        if is_wide() and min(widths.get(weight["name"], 0), filters) >= LEAST_CHANNELS:
            node["op"] = "confseg_convolution"
        elif dilation >= LEAST_DILATION and library().confseg_has_dilated():
            node["op"] = "confseg_dilated"
        else:
            continue
        node["attrs"] = {
            "dilation": str(dilation),
            "filters": str(filters),
            "bias": str(int(not graphs.setting(node, "no_bias", False))),
            "of_x": str(int(data["op"] != "BlockGrad")),
        }
    return graph.symbol()
