"""Values for networks that nobody trained, under which their scores are as decided as those of trained ones.

Every value comes from a seed by whole-number arithmetic, so any machine makes the same ones with NumPy alone.
"""

from __future__ import annotations

import mxnet as mx
import numpy as np
from mxnet.gluon import nn

LOGITS = 3.0  # how large the weights that give logits are, times the root of what they add up


def draw(seed: int, shape, scale: float) -> np.ndarray:
    """float32 values, evenly distributed, of standard deviation `scale`."""
    shares = np.random.RandomState(seed).random_sample(shape)
    return ((shares - 0.5) * (12**0.5 * scale)).astype(np.float32)


def fill(network, height: int = 64, width: int = 96) -> dict:
    """Fill a network's convolutions from seeds, then give its batch norms the statistics of noise of this size.

    returns   {name of a convolution's weight: (seed, scale)}, as `draw` takes them
    """
    drawn = {}
    for seed, (name, parameter) in enumerate(sorted(network.collect_params().items())):
        if not name.endswith("weight"):
            continue
        fan_in = int(np.prod(parameter.shape[1:]))
        # those that start at or near 0 give logits, or corrections of them
        gives_logits = parameter.init == "zeros" or isinstance(parameter.init, mx.init.Normal)
        drawn[name] = seed, (LOGITS if gives_logits else 2**0.5) * fan_in**-0.5
        parameter.set_data(mx.nd.array(draw(seed, parameter.shape, drawn[name][1])))
    _settle(network, height, width)
    return drawn


def _settle(network, height: int, width: int) -> None:
    norms = _norms(network)
    momenta = [norm._kwargs["momentum"] for norm in norms]
    for norm in norms:
        norm._kwargs["momentum"] = 0.0  # the statistics become those of one batch
    images = mx.nd.array(np.random.RandomState(0).normal(size=(2, 3, height, width)))
    with mx.autograd.record(train_mode=True):
        outputs = network(images)
    mx.autograd.backward(list(outputs))  # MXNet updates statistics in the backward pass
    mx.nd.waitall()
    for norm, momentum in zip(norms, momenta):
        norm._kwargs["momentum"] = momentum


def _norms(block) -> list:
    found = [block] if isinstance(block, nn.BatchNorm) else []
    return found + [norm for child in block._children.values() for norm in _norms(child)]
