"""The loss beside PyTorch's cross-entropy. PyTorch comes with `make test-torch` only."""

from __future__ import annotations

import mxnet as mx
import numpy as np
import pytest

from gluon_confseg import losses

pytestmark = pytest.mark.torch


def test_zero_penalty_is_pytorch_s_cross_entropy_in_value_and_gradient():
    torch = pytest.importorskip("torch")
    draws = np.random.default_rng(0)
    logits = draws.normal(scale=20, size=(2, 5, 6, 7)).astype("float32")
    labels = draws.integers(0, 5, size=(2, 6, 7))
    labels[:, :2] = 255

    ours = mx.nd.array(logits)
    ours.attach_grad()
    with mx.autograd.record():
        value = losses.ConfusionCELoss(np.eye(5, dtype="float32"), penalty=0.0)(ours, mx.nd.array(labels))
    value.backward()

    theirs = torch.tensor(logits, dtype=torch.float64, requires_grad=True)
    each = torch.nn.functional.cross_entropy(theirs, torch.tensor(labels), ignore_index=255, reduction="none")
    mean = each.sum(dim=(1, 2)) / torch.tensor((labels != 255).sum(axis=(1, 2)))
    mean.sum().backward()

    np.testing.assert_allclose(value.asnumpy(), mean.detach().numpy(), rtol=1e-5)
    np.testing.assert_allclose(ours.grad.asnumpy(), theirs.grad.numpy(), rtol=1e-4, atol=1e-9)
