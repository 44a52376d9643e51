"""Two training steps with synchronised batch norms on two CPU contexts, against one with the whole batch."""

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

from gluon_confseg.encoders.norms import sync  # noqa: E402

DEVICES = [mx.cpu(0), mx.cpu(1)]


def step(network, shards) -> np.ndarray:
    """Forward and backward -> the whole batch's logits of subnet 0."""
    with autograd.record():
        outputs = [logits[0] for logits in sync.forward(network, shards)]
        losses = [(logits**2).sum() for logits in outputs]
    autograd.backward(losses)
    return np.concatenate([logits.asnumpy() for logits in outputs])


def main() -> None:
    """Logits, gradients and statistics are the same, imperative and hybridized."""
    apart = small.shaken(groups=(), norm="sync", context=DEVICES)
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


if __name__ == "__main__":
    main()
