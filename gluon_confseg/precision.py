"""Mixed precision: convolutions in 16 bits, everything that adds up in float32 (Micikevicius et al., 2018).

A block's graph is copied with casts: the arrays that convolutions read, and what passes from one to the next, have 16
bits. Parameters, their gradients, momentum, the running statistics and the logits stay float32, so the loss, the
updates and the checkpoints are those of any training. Small gradients become 0 in float16, so the loss is multiplied by
a scale before its gradients are computed, and these are divided by it in the update.
"""

from __future__ import annotations

import mxnet as mx
import numpy as np

from . import compiled, graphs, tracing
from .errors import DivergedError, RunError

NAMES = ("float32", "float16", "bfloat16")
# operators that keep 16 bits, of their first arrays alone: batch norms hold their parameters and statistics in float32
FLOAT16 = {
    "Convolution": None,
    "BatchNorm": 1,
    "Activation": None,
    "relu": None,
    "clip": None,
    "Pooling": None,
    "UpSampling": None,
    "Pad": None,
    "elemwise_add": None,
    "Concat": None,
    "Dropout": None,
    "slice": None,
    "slice_axis": None,
    "identity": None,
}
KEEP = {
    "float16": FLOAT16,
    "bfloat16": {"Convolution": None},  # MXNet's other operators for CPUs don't know it
}
FIRST_SCALE = 2.0**16
GROWS_AFTER = 2000  # steps without an overflow


def check(phase, device) -> None:
    """Raise RunError where a phase's precision is not that of its device."""
    if phase.precision == "float32":
        return
    where = f"phase {phase.name}: precision={phase.precision}"
    on_gpu = device.device_type == "gpu"
    if phase.precision == "float16" and not on_gpu:
        raise RunError(
            f"{where} works on GPUs alone; set precision=float32, or bfloat16 on a CPU with AVX-512"
        )
    if phase.precision == "bfloat16" and (on_gpu or not compiled.has_avx512()):
        lacks = "MXNet has no such operators for GPUs" if on_gpu else "this CPU has no AVX-512"
        raise RunError(f"{where} can't be used: {lacks}; set precision={'float16' if on_gpu else 'float32'}")
    if phase.norm in ("inplace", "sync"):
        raise RunError(
            f"{where} can't be used with norm={phase.norm}, which was not written for it; set norm=batch or norm=frozen"
        )


def lowered(function, block, precision: str, inputs: int = 1):
    """A function like `function`, on the same parameters, whose convolutions have 16 bits; its outputs are float32.

    function    of NDArrays or Symbols, gives one or several
    block       holds all parameters that the function reads
    precision   "float16" or "bfloat16"
    inputs      how many float32 arrays the function is called with
    """
    names = tuple(f"data{number}" for number in range(inputs))
    symbol = _with_casts(tracing.trace(function, tracing.PLAIN, names), precision)
    return tracing.OnParameters(symbol, block, names)


def _with_casts(symbol, precision: str):
    """The symbol with a cast before every operator that reads arrays of another precision, and before its outputs."""
    graph, keeps = graphs.Nodes(symbol), KEEP[precision]
    nodes, place, cast, low = [], {}, {}, set()  # low: new entries that have 16 bits

    def as_type(entry: tuple, lower: bool) -> list:
        if (entry in low) == lower:
            return [*entry, 0]
        if (entry, lower) not in cast:
            kind = precision if lower else "float32"
            nodes.append(
                {
                    "op": "amp_cast",
                    "name": f"{nodes[entry[0]]['name']}_{entry[1]}_{kind}",
                    "attrs": {"dtype": kind},
                    "inputs": [[*entry, 0]],
                }
            )
            cast[entry, lower] = (len(nodes) - 1, 0)
            if lower:
                low.add(cast[entry, lower])
        return [*cast[entry, lower], 0]

    for number, node in enumerate(graph.nodes):
        entries = [(place[entry[0]], entry[1]) for entry in node["inputs"]]
        keeping = node["op"] in keeps and (node["op"] == "Convolution" or entries[0] in low)
        first = len(entries) if keeps.get(node["op"]) is None else keeps[node["op"]]
        found = [as_type(entry, keeping and n < first) for n, entry in enumerate(entries)]
        nodes.append({**node, "inputs": found})
        place[number] = len(nodes) - 1
        if keeping:
            low.add((place[number], 0))
    heads = [as_type((place[head[0]], head[1]), False) for head in graph.heads]
    return graph.symbol(nodes, heads)


class LossScale:
    """By what a loss is multiplied before its gradients are computed: halved when these overflow, doubled after many
    steps without that.

    value, clean   the scale, and for how many steps it has held, as a saved state has them; None: as at the beginning
    """

    def __init__(self, precision: str, value: float | None = None, clean: int = 0):
        self.changes = precision == "float16"  # bfloat16 has the range of float32
        self.value, self.clean = value or (FIRST_SCALE if self.changes else 1.0), clean

    def update(self, finite: bool) -> None:
        """Count a step whose gradients were finite, or not."""
        if not self.changes:
            return
        self.clean = self.clean + 1 if finite else 0
        if not finite:
            self.value /= 2
        elif self.clean == GROWS_AFTER:
            self.value, self.clean = self.value * 2, 0

    def check(self, names) -> None:
        """Raise DivergedError where it can't be halved any more."""
        if self.value < 1:
            raise DivergedError(
                f"the gradients on {', '.join(names)} are too large for float16, however small the loss is made: the "
                "last checkpoint is as it was; lower the learning rate, or set precision=float32, and start a new run"
            )


def all_finite(arrays: list) -> bool:
    """Whether all of these NDArrays hold finite numbers alone."""
    squares = mx.nd.multi_sum_sq(*arrays, num_arrays=len(arrays)).asnumpy()
    return bool(np.isfinite(squares).all())
