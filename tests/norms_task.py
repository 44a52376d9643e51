"""Training steps that would hang where something is wrong: tests run them in a process of its own, with a limit.

sync      synchronised batch norms on two CPU contexts, against ordinary ones that see the whole batch
inplace   an encoder with in-place activated batch norms, trained outside of a graph and as one
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent)]

import gluon_confseg  # noqa: E402, F401  before MXNet

# isort: split
import mxnet as mx  # noqa: E402
import numpy as np  # noqa: E402
import small  # noqa: E402
from mxnet import autograd  # noqa: E402

from gluon_confseg import engine, losses  # noqa: E402
from gluon_confseg.encoders.norms import sync as synchronised  # noqa: E402

DEVICES = [mx.cpu(0), mx.cpu(1)]


def step(network, shards) -> np.ndarray:
    """Forward and backward -> the whole batch's logits of subnet 0."""
    with autograd.record():
        outputs = [logits[0] for logits in synchronised.forward(network, shards)]
        losses = [(logits**2).sum() for logits in outputs]
    autograd.backward(losses)
    return np.concatenate([logits.asnumpy() for logits in outputs])


def sync() -> None:
    """Logits, gradients and statistics are the same, imperative and hybridized."""
    apart = small.shaken(groups=(), norm="sync", device=DEVICES)
    whole = small.shaken(groups=())
    images = small.images(count=4)
    for hybrid in (False, True):
        apart.encoder.hybridize(active=hybrid, static_alloc=True)
        shards = [images[2 * i : 2 * i + 2].as_in_context(device) for i, device in enumerate(DEVICES)]
        np.testing.assert_allclose(step(apart, shards), step(whole, [images]), rtol=1e-3, atol=1e-4)
        mx.nd.waitall()
        compare(apart._collect_params_with_prefix(), whole._collect_params_with_prefix())


def compare(apart: dict, whole: dict) -> None:
    """Gradients add up to, statistics on each device are, those of the whole batch."""
    for name, parameter in whole.items():
        if parameter.grad_req == "null":
            for data in apart[name].list_data():
                close(data.asnumpy(), parameter.data().asnumpy(), name)
        else:
            total = sum(gradient.asnumpy() for gradient in apart[name].list_grad())
            close(total, parameter.grad().asnumpy(), name)


def close(found, wanted, name: str) -> None:
    """Equal to a ten-thousandth of the largest."""
    np.testing.assert_allclose(found, wanted, atol=1e-4 * np.abs(wanted).max(), err_msg=name)


def inplace() -> None:
    """The same losses, step by step, whichever way: parameters move alike."""
    imperative, graph = (trained(hybrid) for hybrid in (False, True))
    np.testing.assert_allclose(imperative, graph, rtol=2e-5)
    assert imperative[-1] < imperative[0] - 5e-3  # two hundred times what the losses may differ by


def trained(hybrid: bool) -> list:
    """Losses of six steps, none of them waited for before the next is queued."""
    network = small.build(groups=(), norm="inplace")
    network.encoder.hybridize(active=hybrid)
    step = engine.Subnet0Step(network, [losses.CrossEntropyLoss(small.CLASSES)])
    trainer, found = engine.sgd(step.parameters()), []
    trainer.set_learning_rate(1.0)
    for _ in range(6):
        found.append(step(small.images(), small.labels())["subnet0"])
        trainer.step(2)
    return [float(loss.mean().asscalar()) for loss in found]


if __name__ == "__main__":
    {"sync": sync, "inplace": inplace}[sys.argv[1]]()
