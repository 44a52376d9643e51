"""Winograd's algorithm in training: values and gradients by the definition, and which convolutions are replaced."""

from __future__ import annotations

import json

import mxnet as mx
import numpy as np
import pytest
from mxnet import autograd
from mxnet.gluon import nn

from gluon_confseg import compiled, tracing
from gluon_confseg.compiled import training

pytestmark = pytest.mark.skipif(
    compiled.library() is None or not compiled.is_wide(), reason=f"compiled operators: {compiled.state()}"
)


def by_definition(arrays: dict, upstream, dilation: int) -> dict:
    """The convolution and the gradients of the arrays, in float64."""
    x, weight = arrays["x"].astype(np.float64), arrays["weight"].astype(np.float64)
    height, width = x.shape[2:]
    padded = np.pad(x, [(0, 0), (0, 0), (dilation, dilation), (dilation, dilation)])
    of_padded, of_weight = np.zeros_like(padded), np.zeros_like(weight)
    value = np.zeros(upstream.shape)
    for i in range(3):
        for j in range(3):
            part = (slice(None),) * 2 + tuple(
                slice(k * dilation, k * dilation + n) for k, n in ((i, height), (j, width))
            )
            value += np.einsum("oc,nchw->nohw", weight[:, :, i, j], padded[part], optimize=True)
            of_padded[part] += np.einsum("oc,nohw->nchw", weight[:, :, i, j], upstream, optimize=True)
            of_weight[:, :, i, j] = np.einsum("nohw,nchw->oc", upstream, padded[part], optimize=True)
    inside = (slice(None),) * 2 + (slice(dilation, dilation + height), slice(dilation, dilation + width))
    found = {"value": value, "x": of_padded[inside], "weight": of_weight}
    if "bias" in arrays:
        found["value"] = value + arrays["bias"].reshape(-1, 1, 1)
        found["bias"] = upstream.sum((0, 2, 3))
    return found


def computed(arrays: dict, upstream, dilation: int) -> dict:
    """The same by the operator."""
    given = {name: mx.nd.array(array) for name, array in arrays.items()}
    for array in given.values():
        array.attach_grad()
    with autograd.record():
        value = mx.nd.confseg_convolution(
            *given.values(), dilation=dilation, filters=upstream.shape[1], bias=int("bias" in given)
        )
    value.backward(mx.nd.array(upstream))
    return {"value": value.asnumpy(), **{name: array.grad.asnumpy() for name, array in given.items()}}


def drawn(shape: tuple, filters: int, bias: bool) -> tuple:
    draws = np.random.RandomState(shape[2] + shape[3])
    arrays = {"x": draws.normal(size=shape), "weight": draws.normal(size=(filters, shape[1], 3, 3))}
    if bias:
        arrays["bias"] = draws.normal(size=filters)
    arrays = {name: array.astype(np.float32) for name, array in arrays.items()}
    return arrays, draws.normal(size=(shape[0], filters, *shape[2:])).astype(np.float32)


@pytest.mark.parametrize("dilation", [1, 2, 3, 4, 12])
@pytest.mark.parametrize("height, width", [(1, 1), (4, 4), (5, 9), (16, 33), (37, 24)])
@pytest.mark.parametrize("samples, inputs, filters, bias", [(1, 64, 64, False), (3, 45, 70, True)])
def test_value_and_gradients_are_the_definition_s(samples, inputs, filters, bias, height, width, dilation):
    arrays, upstream = drawn((samples, inputs, height, width), filters, bias)
    wanted = by_definition(arrays, upstream, dilation)
    for name, found in computed(arrays, upstream, dilation).items():
        away = np.abs(found - wanted[name]).max()
        assert away < 3e-5 * np.sqrt(np.square(wanted[name]).mean()), (name, away)


@pytest.mark.slow
def test_a_batch_that_is_computed_in_several_parts():
    arrays, upstream = drawn((3, 264, 44, 70), 272, True)
    wanted, found = by_definition(arrays, upstream, 2), computed(arrays, upstream, 2)
    for name in wanted:
        away = np.abs(found[name] - wanted[name]).max()
        assert away < 3e-5 * np.sqrt(np.square(wanted[name]).mean()), (name, away)


def test_twice_the_same_gives_the_same_bits():
    arrays, upstream = drawn((2, 80, 21, 30), 72, True)
    first, second = (computed(arrays, upstream, 2) for _ in range(2))
    for name in first:
        np.testing.assert_array_equal(first[name], second[name])


@pytest.mark.parametrize(
    "settings, wanted",
    [
        ({}, "confseg_convolution"),
        ({"dilation": 2, "padding": 2}, "confseg_convolution"),
        ({"channels": 32}, "Convolution"),
        ({"in_channels": 32}, "Convolution"),
        ({"channels": 32, "dilation": 4, "padding": 4}, "confseg_dilated"),
        ({"strides": 2}, "Convolution"),
        ({"padding": 0}, "Convolution"),
        ({"kernel_size": 1, "padding": 0}, "Convolution"),
        ({"groups": 4}, "Convolution"),
    ],
    ids=str,
)
def test_convolutions_that_fit_are_replaced(settings, wanted):
    block = nn.Conv2D(**{"channels": 64, "kernel_size": 3, "padding": 1, "in_channels": 64, **settings})
    block.initialize()
    widths = {block.weight.name: block.weight.shape[1]}
    symbol = training._with_convolutions(tracing.trace(block, tracing.COMPILED), widths)
    operators = [node["op"] for node in json.loads(symbol.tojson())["nodes"] if node["op"] != "null"]
    assert operators == [wanted]
