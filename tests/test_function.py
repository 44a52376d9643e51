"""Gradients written by hand reach every input that needs one, however it is asked for."""

from __future__ import annotations

import itertools

import mxnet as mx
import numpy as np
import pytest
from mxnet import autograd

from gluon_confseg.function import Function


class Weighted(Function):
    """a + 2 b + 4 c."""

    def value(self, a, b, c):
        return a + 2 * b + 4 * c

    def gradients(self, upstream):
        return [upstream * factor for factor in (1, 2, 4)]


@pytest.mark.parametrize("request_", ["write", "add"])
@pytest.mark.parametrize("kinds", list(itertools.product(["none", "leaf", "computed"], repeat=3)))
def test_every_input_that_needs_a_gradient_gets_its_own(kinds, request_):
    leaves = [mx.nd.full((2, 3), k) for k in range(3)]
    for leaf, kind in zip(leaves, kinds):
        if kind != "none":
            leaf.attach_grad(request_)
    for _ in range(2):
        with autograd.record():
            inputs = [leaf * 10 if kind == "computed" else leaf for leaf, kind in zip(leaves, kinds)]
            output = Weighted()(*inputs)
        np.testing.assert_array_equal(output.asnumpy(), sum(2**k * inputs[k].asnumpy() for k in range(3)))
        if any(kind != "none" for kind in kinds):
            output.backward()
    times = 2 if request_ == "add" else 1
    for k, (leaf, kind) in enumerate(zip(leaves, kinds)):
        if kind == "none":
            assert leaf.grad is None
        else:
            slope = times * 2**k * (10 if kind == "computed" else 1)
            np.testing.assert_array_equal(leaf.grad.asnumpy(), np.full((2, 3), slope))


def test_one_array_in_two_places_gets_both_gradients():
    array = mx.nd.ones((2, 3))
    array.attach_grad()
    with autograd.record():
        output = Weighted()(array, mx.nd.ones((2, 3)), array)
    output.backward()
    np.testing.assert_array_equal(array.grad.asnumpy(), np.full((2, 3), 5))


def test_nothing_is_recorded_outside_of_record():
    array = mx.nd.ones((2, 3))
    array.attach_grad()
    output = Weighted()(array, array, array)
    np.testing.assert_array_equal(output.asnumpy(), np.full((2, 3), 7))
    with pytest.raises(mx.MXNetError):
        autograd.get_symbol(output)


def test_an_input_without_a_request_may_come_last():
    array = mx.nd.ones((2, 3))
    array.attach_grad()
    with autograd.record():
        output = Weighted()(array, array, mx.nd.BlockGrad(array * 2))
    output.backward()
    np.testing.assert_array_equal(array.grad.asnumpy(), np.full((2, 3), 3))


@pytest.mark.parametrize("training", [True, False])
def test_the_mode_of_training_is_the_callers(training):
    class Mode(Function):
        def value(self, x):
            modes.append(autograd.is_training())
            return x * 1

        def gradients(self, upstream):
            return [upstream]

    modes, array = [], mx.nd.ones(2)
    with autograd.record(train_mode=training):
        Mode()(array)
        array.attach_grad()
        Mode()(array)
    assert modes == [training, training]
