"""The memory of gradients is used again, and never while somebody still needs what it holds."""

import gc

import mxnet as mx
import numpy as np
import pytest
from mxnet import autograd

from gluon_confseg.losses import ConfusionCELoss, memory


@pytest.fixture(autouse=True)
def empty(monkeypatch):
    monkeypatch.setattr(memory, "_entries", [])


def test_memory_that_nobody_holds_is_taken_again():
    first = memory.take((2, 3))
    where = first.ctypes.data
    assert memory.take((2, 3)).ctypes.data != where  # it is still held
    part = first[:, 1:]
    del first
    assert where not in [memory.take((2, 3)).ctypes.data for _ in range(3)]  # a part of it is
    del part
    assert where in [memory.take((2, 3)).ctypes.data for _ in range(3)]
    assert memory.take((3, 2)).shape == (3, 2)


def test_no_more_than_some_arrays_are_kept():
    for size in range(3 * memory.MOST):
        memory.take((1, size))
    assert len(memory._entries) == memory.MOST


def step(loss, logits, labels):
    with autograd.record():
        value = loss(logits, labels)
    value.backward()
    return value


@pytest.mark.slow
def test_steps_take_the_memory_of_earlier_ones_and_give_the_same_gradients():
    draws = np.random.RandomState(0)
    loss = ConfusionCELoss(draws.rand(4, 4))
    batches = [
        (mx.nd.array(draws.randn(2, 4, 9, 8)), draws.randint(0, 4, (2, 9, 8)).astype(np.uint8))
        for _ in range(6)
    ]
    wanted = []
    for logits, labels in batches:
        logits.attach_grad()
        memory._entries.clear()
        step(loss, logits, labels)
        wanted.append(logits.grad.asnumpy())
    memory._entries.clear()
    for _ in range(3):
        for (logits, labels), gradient in zip(batches, wanted):
            step(loss, logits, labels)
            np.testing.assert_array_equal(logits.grad.asnumpy(), gradient)
            gc.collect()
    assert len(memory._entries) <= 2


def test_losses_that_wait_for_their_backward_pass_keep_their_gradients():
    draws = np.random.RandomState(1)
    loss, labels = ConfusionCELoss(draws.rand(3, 3)), draws.randint(0, 3, (1, 5, 5)).astype(np.uint8)
    several = [mx.nd.array(draws.randn(1, 3, 5, 5)) for _ in range(12)]
    for logits in several:
        logits.attach_grad()
    with autograd.record():
        values = [loss(logits, labels) for logits in several]
    autograd.backward(values)
    found = [logits.grad.asnumpy() for logits in several]
    for logits, gradient in zip(several, found):
        step(loss, logits, labels)
        np.testing.assert_array_equal(logits.grad.asnumpy(), gradient)


def test_a_second_backward_pass_is_right_or_refused():
    draws = np.random.RandomState(2)
    loss, labels = ConfusionCELoss(draws.rand(3, 3)), draws.randint(0, 3, (1, 5, 5)).astype(np.uint8)
    logits, other = (mx.nd.array(draws.randn(1, 3, 5, 5)) for _ in range(2))
    for array in (logits, other):
        array.attach_grad()
    with autograd.record():
        value = loss(logits, labels)
    value.backward(retain_graph=True)
    gradient = logits.grad.asnumpy()
    logits.grad[:] = 0
    value.backward(retain_graph=True)
    np.testing.assert_array_equal(logits.grad.asnumpy(), gradient)
    kept = memory.Kept(memory.take((1, 2)))
    kept.use()
    memory.take((1, 2))
    with pytest.raises(RuntimeError, match="the gradient of this loss is gone"):
        kept.use()
