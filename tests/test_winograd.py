"""Winograd's algorithm in frozen graphs: the convolution by its definition, and which convolutions are replaced."""

from __future__ import annotations

import json

import mxnet as mx
import numpy as np
import pytest
import small
from mxnet.gluon import nn

from gluon_confseg import compiled, engine, frozen, fusion, network, tracing
from gluon_confseg.compiled import winograd
from gluon_confseg.frozen import FrozenNetwork
from gluon_confseg.subnets import HeadSettings

pytestmark = pytest.mark.skipif(
    compiled.library() is None or not compiled.is_wide(), reason=f"compiled operators: {compiled.state()}"
)


def convolved(x, weight, bias, dilation: int, added=None, limits=("-inf", "inf"), ones=False):
    """The operator's result for NumPy arrays."""
    arrays = [mx.nd.array(array) for array in (x, winograd.transformed(weight), bias)]
    arrays += [] if added is None else [mx.nd.array(added)]
    settings = {
        "num_filter": len(weight),
        "dilation": dilation,
        "ones": int(ones),
        "adds": int(added is not None),
    }
    return mx.nd.confseg_winograd(*arrays, **settings, low=limits[0], high=limits[1]).asnumpy()


def by_definition(x, weight, bias, dilation: int, added=None, limits=(-np.inf, np.inf)):
    """The same in float64."""
    height, width = x.shape[2:]
    padded = np.pad(x.astype(np.float64), [(0, 0), (0, 0), (dilation, dilation), (dilation, dilation)])
    total = np.zeros((len(x), len(weight), height, width)) + bias.reshape(-1, 1, 1)
    for i in range(3):
        for j in range(3):
            part = padded[:, :, i * dilation : i * dilation + height, j * dilation : j * dilation + width]
            total += np.einsum("oc,nchw->nohw", weight[:, :, i, j].astype(np.float64), part)
    return np.clip(total + (0 if added is None else added), *limits)


def draw(samples: int, inputs: int, outputs: int, height: int, width: int) -> tuple:
    draws = np.random.RandomState(height + width)
    shapes = (
        (samples, inputs, height, width),
        (outputs, inputs, 3, 3),
        (outputs,),
        (samples, outputs, height, width),
    )
    return tuple(draws.normal(size=shape).astype(np.float32) for shape in shapes)


@pytest.mark.parametrize("dilation", [1, 2, 3, 4, 12])
@pytest.mark.parametrize("height, width", [(1, 1), (4, 4), (5, 9), (16, 33), (37, 24)])
@pytest.mark.parametrize("inputs, outputs", [(32, 19), (45, 16), (264, 33)])
def test_the_operator_convolves(inputs, outputs, height, width, dilation):
    x, weight, bias, added = draw(2, inputs, outputs, height, width)
    for other, limits in ((None, (-np.inf, np.inf)), (added, (0, np.inf)), (None, (0, 6))):
        wanted = by_definition(x, weight, bias, dilation, other, limits)
        found = convolved(x, weight, bias, dilation, other, limits)
        np.testing.assert_allclose(found, wanted, rtol=0, atol=2e-5 * 3 * inputs**0.5)


@pytest.mark.parametrize("inputs", [32, 39])
def test_a_further_input_is_one_inside_of_the_image_alone(inputs):
    x, weight, bias, _ = draw(2, inputs + 1, 19, 13, 10)
    x[:, -1] = 1
    found = convolved(x[:, :-1], weight, bias, 2, ones=True)
    np.testing.assert_allclose(found, by_definition(x, weight, bias, 2), rtol=0, atol=2e-5 * 3 * inputs**0.5)


@pytest.mark.slow
def test_large_images_are_computed_in_several_parts_and_each_image_alone():
    x, weight, bias, _ = draw(
        2, 32, 32, 301, 299
    )  # 75 x 75 tiles of 9 KiB: more than the scratch memory holds
    found = convolved(x, weight, bias, 1)
    np.testing.assert_allclose(found, by_definition(x, weight, bias, 1), rtol=0, atol=1e-3)
    np.testing.assert_array_equal(convolved(x[1:], weight, bias, 1), found[1:])


def test_what_is_no_number_stays_none():
    x, weight, bias, _ = draw(1, 32, 8, 8, 8)
    x[0, 3, 5, 5] = np.nan
    assert np.isnan(convolved(x, weight, bias, 1, limits=(0, np.inf))[0, :, 4:7, 4:7]).all()


# ---- graphs


class Layers(nn.HybridBlock):
    """A convolution, what is added to it, and an activation, of which others may read each."""

    def __init__(self, convolution, read: tuple = (), **kwargs):
        super().__init__(**kwargs)
        self.first, self.second = convolution, nn.Conv2D(convolution._channels, 1, in_channels=32)
        self._read = read

    def hybrid_forward(self, F, x):
        y = self.first(x)
        total = self.second(x) + y
        z = F.Activation(total, act_type="relu")
        return (z, *({"convolution": y, "sum": total}[name] * 2 for name in self._read))


class TwoConvolutions(nn.HybridBlock):
    """The sum of two convolutions, of which one alone can take it in, and an activation."""

    def __init__(self):
        super().__init__()
        self.first, self.second = conv(), conv()

    def hybrid_forward(self, F, x):
        return (F.relu(self.first(x) + self.second(x)),)


def conv(**settings):
    return nn.Conv2D(**{"channels": 24, "kernel_size": 3, "padding": 1, "in_channels": 32, **settings})


def made(block, shape):
    """(a frozen graph's outputs, the block's own, the graph's operators)."""
    block.initialize(mx.init.Xavier())
    for parameter in block.collect_params().values():
        values = mx.nd.random.normal(shape=parameter.shape)
        parameter.set_data(1 + values.abs() if parameter.name.endswith("running_var") else values)
    images = mx.nd.random.normal(shape=shape)
    symbol, arrays = frozen.fold(tracing.trace(block, tracing.FROZEN), frozen.values_of(block))
    symbol, arrays = winograd.replaced(symbol, arrays)
    names = [name for name in symbol.list_inputs() if name != "data"]
    run = symbol.bind(mx.cpu(), {"data": images, **{name: arrays[name] for name in names}})
    operators = [node["op"] for node in json.loads(symbol.tojson())["nodes"] if node["op"] != "null"]
    return run.forward(), block(images), operators


@pytest.mark.parametrize(
    "read, wanted",
    [
        ((), ["Convolution", winograd.OPERATOR]),
        (("sum",), ["Convolution", winograd.OPERATOR, "Activation", "_mul_scalar"]),
        (("convolution",), [winograd.OPERATOR, "Convolution", "elemwise_add", "Activation", "_mul_scalar"]),
    ],
    ids=["alone", "sum", "convolution"],
)
def test_what_alone_reads_a_convolution_becomes_part_of_it(read, wanted):
    found, live, operators = made(Layers(conv(), read), (2, 32, 9, 11))
    assert sorted(operators) == sorted(wanted)
    for one, other in zip(found, live):
        np.testing.assert_allclose(one.asnumpy(), other.asnumpy(), atol=1e-3)


def test_one_of_two_convolutions_takes_in_their_sum():
    (found,), (live,), operators = made(TwoConvolutions(), (2, 32, 9, 11))
    assert operators == [winograd.OPERATOR] * 2
    np.testing.assert_allclose(found.asnumpy(), live.asnumpy(), atol=1e-3)


@pytest.mark.parametrize(
    "settings",
    [
        {"strides": 2},
        {"padding": 0},
        {"padding": 2},
        {"kernel_size": 5, "padding": 2},
        {"kernel_size": (3, 1), "padding": (1, 0)},
        {"groups": 4},
        {"dilation": 2},
        {"dilation": (1, 2), "padding": (1, 2)},
    ],
    ids=str,
)
def test_other_convolutions_stay(settings):
    block = nn.HybridSequential()
    block.add(conv(**settings))
    (found,), live, operators = made(Sole(block), (2, 32, 9, 11))
    assert operators == ["Convolution"]


class Sole(nn.HybridSequential):
    """A block that returns a tuple."""

    def __init__(self, block):
        super().__init__()
        self.add(block)

    def hybrid_forward(self, F, x):
        return (self[0](x),)


def test_a_convolution_of_few_channels_stays():
    block = Sole(conv(in_channels=16))
    assert made(block, (1, 16, 8, 8))[2] == ["Convolution"]


class Heads(nn.HybridBlock):
    """Several convolutions of one input, each after a batch norm of its own."""

    def __init__(self, count: int):
        super().__init__()
        self.parts = nn.HybridSequential()
        for number in range(count):
            part = nn.HybridSequential()
            part.add(nn.BatchNorm(in_channels=32), conv(channels=8 * (number + 1)), nn.Activation("relu"))
            self.parts.add(part)

    def hybrid_forward(self, F, x):
        return tuple(part(F.relu(x)) for part in self.parts)


@pytest.mark.parametrize("count", [1, 3])
def test_convolutions_after_batch_norms_of_one_input_are_one(count):
    found, live, operators = made(Heads(count), (2, 32, 9, 11))
    assert sorted(operators) == sorted(
        ["relu", winograd.OPERATOR, *(["slice_axis"] * count if count > 1 else [])]
    )
    assert len(found) == len(live) == count
    for one, other in zip(found, live):
        np.testing.assert_allclose(one.asnumpy(), other.asnumpy(), atol=1e-3)


WIDE = HeadSettings(channels=40, depth=2, dilation=2, stages=(3,))


@pytest.mark.parametrize("kind", network.SUBNETS)
@pytest.mark.parametrize("rule", fusion.RULES)
def test_classes_are_the_live_network_s_with_and_without_the_operator(rule, kind, monkeypatch):
    subnet = HeadSettings(channels=40, depth=2, dilation=1, stages=(2, 3))
    built = small.shaken(kind, head=WIDE, subnet_heads=subnet)
    fuse = fusion.Fusion.of(built, rule)
    for height, width in ((64, 96), (61, 90), (33, 47)):
        images, found = small.images(height, 2, height, width), []
        live = network.enlarge(mx.nd, fuse(*built(images)), 16, images).asnumpy()
        for library in (winograd.library, lambda: None):
            monkeypatch.setattr(winograd, "library", library)
            seen = FrozenNetwork(built, {rule: fuse})
            found.append(engine.predict(seen, {rule: fuse}, images)[rule])
            assert isinstance(seen._scores._graph, frozen.Graph)
        best = np.sort(live, axis=1)
        sure = best[:, -1] - best[:, -2] > 1e-4 * np.abs(live).max()
        assert sure.mean() > 0.9
        for classes in found:
            np.testing.assert_array_equal(classes[sure], live.argmax(1)[sure])
        monkeypatch.undo()


def test_a_frozen_resnet_has_the_operator_for_each_convolution_that_fits():
    built = small.shaken()
    symbol = tracing.trace(built.encoder, tracing.FROZEN)
    symbol, _ = winograd.replaced(*frozen.fold(symbol, frozen.values_of(built.encoder)))
    operators = [node["op"] for node in json.loads(symbol.tojson())["nodes"]]
    assert operators.count(winograd.OPERATOR) == 10
