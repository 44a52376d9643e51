"""Writes a symbol as an ONNX graph, node by node.

Each operator of MXNet that networks here consist of has a function below. Its keyword arguments are the settings that
it can write. An operator without a function, and a setting or value that a function does not know, is an error that
names it, so no graph computes something else without a word. MXNet's own exporter (mx2onnx) is not used: it aligns the
corners in resizing, and refuses operators that these networks need.
"""

from __future__ import annotations

import inspect

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from . import __version__, graphs
from .errors import RunError

OPSET = 17  # onnxruntime from 1.12 on
_IR_VERSION = 8  # of the same time
_FAR = np.iinfo(np.int64).max
_WRITERS = {}  # operator -> (function, the settings that it ignores)


class Graph:
    """An ONNX graph while it is written. Values are known by their names."""

    def __init__(self):
        self.nodes, self.constants, self._names = [], {}, set()
        self._slices = {}  # value -> (value that it is cut from, channels)

    def name(self, wanted: str) -> str:
        """A name that nothing has yet, as similar to this one as can be."""
        found, number = wanted, 1
        while found in self._names:
            found, number = f"{wanted}_{number}", number + 1
        self._names.add(found)
        return found

    def add(self, operator: str, *inputs, called: str | None = None, **attributes) -> str:
        """Add a node; returns the name of its output. None stands for an input that is left out."""
        output = self.name(called or operator.lower())
        inputs = ["" if value is None else value for value in inputs]
        self.nodes.append(helper.make_node(operator, inputs, [output], name=output, **attributes))
        return output

    def constant(self, value, kind=None, called: str = "constant") -> str:
        """Add a constant of NumPy's type `kind`; returns its name. Small ones that are equal are one."""
        array = np.ascontiguousarray(value, kind)
        if array.size <= 64:
            for known, other in self.constants.items():
                same = other.dtype == array.dtype and other.shape == array.shape
                if same and other.tobytes() == array.tobytes():
                    return known
        found = self.name(called)
        self.constants[found] = array
        return found

    def size(self, value: str, begin: int, end: int) -> str:
        """The sizes of some axes of a value, as a value."""
        return self.add("Shape", value, start=begin, end=end)

    def slice_channels(self, value: str, begin: int, end: int) -> str:
        """Channels `begin` to `end` of a value."""
        bounds = (self.constant(numbers, np.int64) for numbers in ([begin], [end], [1]))
        found = self.add("Slice", value, *bounds)
        self._slices[found] = value, tuple(range(begin, end))
        return found

    def concatenate_channels(self, values: tuple) -> str:
        """Values one after the other; slices of one value are gathered from it by one node."""
        if len(values) == 1:
            return values[0]
        sources = {self._slices[value][0] if value in self._slices else None for value in values}
        if len(sources) > 1 or None in sources:
            return self.add("Concat", *values, axis=1)
        channels = [channel for value in values for channel in self._slices[value][1]]
        return self.add("Gather", sources.pop(), self.constant(channels, np.int64), axis=1)

    def model(self, inputs: list, outputs: list, metadata: dict):
        """The whole as a ModelProto, without nodes and constants that no output needs."""
        read, kept = {value.name for value in outputs}, []
        for node in reversed(self.nodes):
            if read.intersection(node.output):
                kept.append(node)
                read.update(node.input)
        constants = [
            numpy_helper.from_array(array, name) for name, array in self.constants.items() if name in read
        ]
        graph = helper.make_graph(kept[::-1], "network", inputs, outputs, constants)
        opsets = [helper.make_opsetid("", OPSET)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=_IR_VERSION)
        model.producer_name, model.producer_version = "gluon-confseg", __version__
        helper.set_model_props(model, metadata)
        return model


def write(graph: Graph, symbol, values: dict, inputs: dict) -> list:
    """Write all nodes of a symbol to a graph; returns the names of its outputs.

    values   {name of a parameter: array}, constants of the graph
    inputs   {name of another variable: name of the value that it stands for}
    Raises RunError for an operator, or a setting of one, that can't be written; it names the two.
    """
    nodes, found = graphs.Nodes(symbol), {}
    for number, node in enumerate(nodes.nodes):
        name = node["name"]
        if node["op"] == "null":
            found[number, 0] = inputs[name] if name in inputs else _parameter(graph, name, values)
            continue
        found[number, 0] = _write_node(graph, node, [found.get(tuple(entry[:2])) for entry in node["inputs"]])
    missing = [node for node in nodes.heads if tuple(node[:2]) not in found]
    if missing:
        raise RunError(_cannot(nodes.nodes[missing[0][0]], "a second output of this operator is used"))
    return [found[tuple(head[:2])] for head in nodes.heads]


def _parameter(graph: Graph, name: str, values: dict) -> str:
    array = values[name] if isinstance(values[name], np.ndarray) else values[name].asnumpy()
    if array.dtype != np.float32:
        raise RunError(f"the parameter {name} is {array.dtype}: ONNX files are written of float32 networks")
    return graph.constant(array, called=name)


def _write_node(graph: Graph, node: dict, inputs: list) -> str:
    operator = node["op"]
    if operator not in _WRITERS:
        raise RunError(_cannot(node, "there is no ONNX form of it here"))
    if None in inputs:
        raise RunError(_cannot(node, "it reads a second output of another operator"))
    function, ignored = _WRITERS[operator]
    settings = {name: graphs.setting(node, name) for name in node.get("attrs", {}) if name not in ignored}
    signature = inspect.signature(function)
    for name, value in settings.items():
        if name not in signature.parameters:
            raise RunError(_cannot(node, f"its setting {name}={value} is not known"))
    try:
        signature.bind(graph, *inputs, **settings)
    except TypeError as error:
        raise RunError(
            _cannot(node, f"its inputs or settings are not those that are known ({error})")
        ) from None
    before = len(graph.nodes)
    try:
        output = function(graph, *inputs, **settings)
    except _UnknownValue as error:
        raise RunError(_cannot(node, str(error))) from None
    if len(graph.nodes) > before and graph.nodes[-1].output[0] == output:
        graph.nodes[-1].name = graph.name(node["name"])
    return output


def _cannot(node: dict, why: str) -> str:
    return (
        f"the network can't be written as ONNX: MXNet's operator {node['op']} (node {node['name']}): {why}; "
        "export it for MXNet"
    )


class _UnknownValue(Exception):
    """A value of a setting that can't be written."""


def _only(**settings) -> None:
    """Each setting is given as (value, the values that can be written)."""
    for name, (value, known) in settings.items():
        if value not in known:
            raise _UnknownValue(f"its setting {name}={value} can't be written")


def _writes(*operators: str, ignored=()):
    """Register a function that writes these operators."""

    def register(function):
        for operator in operators:
            _WRITERS[operator] = function, ignored
        return function

    return register


# ---- layers


@_writes("Convolution", ignored=("num_filter", "no_bias", "workspace", "cudnn_off", "cudnn_tune"))
def _convolution(
    graph,
    x,
    weight,
    bias=None,
    *,
    kernel,
    stride=(1, 1),
    dilate=(1, 1),
    pad=(0, 0),
    num_group=1,
    layout="NCHW",
):
    _only(layout=(layout, ("NCHW", None)), kernel=(len(kernel), (2,)))
    sizes = {"kernel_shape": kernel, "strides": stride, "dilations": dilate, "pads": (*pad, *pad)}
    inputs = (x, weight) if bias is None else (x, weight, bias)
    return graph.add("Conv", *inputs, group=num_group, **sizes)


# one device's inference needs nothing of the settings that are ignored
@_writes("BatchNorm", ignored=("momentum", "use_global_stats", "cudnn_off"))
def _batch_norm(
    graph,
    x,
    gamma,
    beta,
    mean,
    variance,
    *,
    eps=graphs.EPSILON,
    fix_gamma=True,
    axis=1,
    output_mean_var=False,
):
    _only(axis=(axis, (1,)), output_mean_var=(output_mean_var, (False,)))
    if fix_gamma:
        gamma = graph.constant(np.ones_like(graph.constants[gamma]))
    return graph.add("BatchNormalization", x, gamma, beta, mean, variance, epsilon=float(eps))


@_writes("Activation")
def _activation(graph, x, *, act_type):
    _only(act_type=(act_type, ("relu",)))
    return graph.add("Relu", x)


@_writes("LeakyReLU")
def _leaky(graph, x, *, act_type="leaky", slope=0.25):
    _only(act_type=(act_type, ("leaky",)))
    return graph.add("LeakyRelu", x, alpha=float(slope))


@_writes("clip")
def _clip(graph, x, *, a_min, a_max):
    return graph.add("Clip", x, *(graph.constant(bound, np.float32) for bound in (a_min, a_max)))


@_writes("Pooling", ignored=("cudnn_off",))
def _pooling(
    graph,
    x,
    *,
    kernel,
    stride=(1, 1),
    pad=(0, 0),
    pool_type="max",
    global_pool=False,
    pooling_convention="valid",
    layout="NCHW",
):
    _only(
        pool_type=(pool_type, ("max", "avg")),
        global_pool=(global_pool, (False,)),
        pooling_convention=(pooling_convention, ("valid",)),
        layout=(layout, ("NCHW", None)),
    )
    if pool_type == "avg":
        _only(pad=(pad, ((0, 0),)))
    kind = {"max": "MaxPool", "avg": "AveragePool"}[pool_type]
    return graph.add(kind, x, kernel_shape=kernel, strides=stride, pads=(*pad, *pad))


@_writes("Dropout", ignored=("p", "axes", "cudnn_off"))
def _dropout(graph, x, *, mode="training"):
    _only(mode=(mode, ("training",)))
    return x


@_writes("BlockGrad", "identity", "_copy")
def _same(graph, x):
    return x


# ---- sizes


@_writes("_contrib_BilinearResize2D", ignored=("height", "width"))
def _resize(graph, x, *, scale_height, scale_width, align_corners=True, mode="size"):
    _only(align_corners=(align_corners, (False,)), mode=(mode, ("size",)))
    scales = graph.constant([1, 1, scale_height, scale_width], np.float32)
    geometry = {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}
    return graph.add("Resize", x, None, scales, **geometry)


@_writes("UpSampling", ignored=("num_args", "workspace"))
def _repeat(graph, x, *, scale, sample_type):
    _only(sample_type=(sample_type, ("nearest",)))
    scales = graph.constant([1, 1, scale, scale], np.float32)
    geometry = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    return graph.add("Resize", x, None, scales, mode="nearest", **geometry)


@_writes("Pad", ignored=("constant_value",))
def _pad(graph, x, *, mode, pad_width):
    _only(mode=(mode, ("edge",)))
    return graph.add("Pad", x, graph.constant([*pad_width[::2], *pad_width[1::2]], np.int64), mode="edge")


@_writes("slice_like")
def _slice_like(graph, x, like, *, axes):
    _only(axes=(axes, ((2, 3),)))
    begin, axes = (graph.constant(numbers, np.int64) for numbers in ([0, 0], axes))
    return graph.add("Slice", x, begin, graph.size(like, 2, 4), axes)


@_writes("broadcast_like")
def _broadcast_like(graph, x, like, *, lhs_axes, rhs_axes):
    _only(lhs_axes=(lhs_axes, ((2, 3),)), rhs_axes=(rhs_axes, ((2, 3),)))
    shape = graph.add("Concat", graph.size(x, 0, 2), graph.size(like, 2, 4), axis=0)
    return graph.add("Expand", x, shape)


@_writes("slice")
def _slice(graph, x, *, begin, end, step=()):
    step = [1 if number is None else number for number in (*step, *[1] * (len(begin) - len(step)))]
    first = [(-_FAR if by > 0 else _FAR) if at is None else at for at, by in zip(begin, step)]
    last = [(_FAR if by > 0 else -_FAR) if at is None else at for at, by in zip(end, step)]
    axes = [a for a, by in enumerate(step) if (begin[a], end[a], by) != (None, None, 1)]
    numbers = ([values[a] for a in axes] for values in (first, last, range(len(step)), step))
    return graph.add("Slice", x, *(graph.constant(each, np.int64) for each in numbers)) if axes else x


@_writes("slice_axis")
def _slice_axis(graph, x, *, axis, begin, end):
    _only(axis=(axis, (1,)))
    if end is None or not 0 <= begin < end:
        raise _UnknownValue(f"its bounds {begin} and {end} can't be written")
    return graph.slice_channels(x, begin, end)


@_writes("Concat", ignored=("num_args",))
def _concat(graph, *values, dim=1):
    _only(dim=(dim, (1,)))
    return graph.concatenate_channels(values)


# ---- arithmetic

_ELEMENTWISE = {
    "Add": ("elemwise_add", "broadcast_add", "_Plus"),
    "Sub": ("elemwise_sub", "broadcast_sub", "_Minus"),
    "Mul": ("elemwise_mul", "broadcast_mul", "_Mul"),
    "Max": ("_maximum", "broadcast_maximum"),
    "Relu": ("relu",),
    "Exp": ("exp",),
    "Log": ("log",),
}


def _elementwise(name: str):
    return lambda graph, *values: graph.add(name, *values)


for _name, _operators in _ELEMENTWISE.items():
    _writes(*_operators)(_elementwise(_name))


def _with_scalar(name: str):
    return lambda graph, x, *, scalar: graph.add(name, x, graph.constant(scalar, np.float32))


for _name, _operator in {"Add": "_plus_scalar", "Mul": "_mul_scalar", "Div": "_div_scalar"}.items():
    _writes(_operator, ignored=("is_int",))(_with_scalar(_name))


@_writes("add_n", ignored=("num_args",))
def _add_n(graph, *values):
    return graph.add("Sum", *values)


def _filled(value: float):
    def write_filled(graph, like):
        filling = helper.make_tensor("value", TensorProto.FLOAT, [1], [value])
        return graph.add("ConstantOfShape", graph.add("Shape", like), value=filling)

    return write_filled


_writes("ones_like")(_filled(1.0))
_writes("zeros_like")(_filled(0.0))


# ---- over an axis


@_writes("softmax")
def _softmax(graph, x, *, axis=-1):
    return graph.add("Softmax", x, axis=axis)


@_writes("log_softmax")
def _log_softmax(graph, x, *, axis=-1):
    return graph.add("LogSoftmax", x, axis=axis)


def _axes(axis) -> tuple:
    axes = axis if isinstance(axis, tuple) else (axis,)
    if not axes or not all(isinstance(number, int) for number in axes):
        raise _UnknownValue(f"its setting axis={axis} can't be written")
    return axes


@_writes("mean")
def _mean(graph, x, *, axis=None, keepdims=False, exclude=False):
    _only(exclude=(exclude, (False,)))
    return graph.add("ReduceMean", x, axes=_axes(axis), keepdims=int(keepdims))


@_writes("max")
def _max(graph, x, *, axis=None, keepdims=False, exclude=False):
    _only(exclude=(exclude, (False,)))
    return graph.add("ReduceMax", x, axes=_axes(axis), keepdims=int(keepdims))


@_writes("sum")
def _sum(graph, x, *, axis=None, keepdims=False, exclude=False):
    _only(exclude=(exclude, (False,)))
    return graph.add("ReduceSum", x, graph.constant(_axes(axis), np.int64), keepdims=int(keepdims))
