"""Our side of the loss: the paper's, its value and its gradient."""

from __future__ import annotations

import mxnet as mx
import numpy as np
from mxnet import autograd

from gluon_confseg import losses

from . import draws
from .side import Work, serve


def loss(shape, ignored: float) -> Work:
    """Forward and backward of `ConfusionCELoss` with the default penalty, on logits (N, K, H, W)."""
    criterion = losses.ConfusionCELoss(losses.confusion_weights(draws.shares(shape[1])))
    logits = mx.nd.array(2 * draws.images(shape))
    labels = draws.labels((shape[0], *shape[2:]), shape[1], ignored)
    logits.attach_grad()

    def run():
        with autograd.record():
            value = criterion(logits, labels)
        value.backward()
        mx.nd.waitall()
        return value.asnumpy()

    values = run().astype(np.float64).tolist()
    norm = float(np.linalg.norm(logits.grad.asnumpy().astype(np.float64)))
    return Work(run, values=values, gradient_norm=norm)


WORKS = {"loss": loss}

if __name__ == "__main__":
    serve(WORKS, lambda: {"mxnet": mx.__version__, "numpy": np.__version__})
