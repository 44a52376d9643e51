"""Values for networks that nobody trained, under which their scores are as decided as those of trained ones.

Every value comes from a seed by whole-number arithmetic, so any machine makes the same ones with NumPy alone.
"""

from __future__ import annotations

import mxnet as mx
import numpy as np
from mxnet.gluon import nn

from gluon_confseg.datasets import normalize

BRANCH = 0.2  # what residual branches are multiplied by: with 1, deep random networks enlarge what rounding changes
LOGITS = 3.0  # standard deviation of the weights that give logits, times the root of how many are added up


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
    for norm in _last_norms(network):
        norm.gamma.set_data(mx.nd.full(norm.gamma.shape, BRANCH))
    _settle(network, height, width)
    return drawn


def _settle(network, height: int, width: int) -> None:
    norms = _norms(network)
    before = [dict(norm._kwargs) for norm in norms]
    for norm in norms:  # the statistics become those of one batch, also in layers that training freezes
        norm._kwargs.update(momentum=0.0, use_global_stats=False)
    pictures = np.random.RandomState(0).randint(0, 256, (2, height, width, 3)).astype(np.uint8)
    images = mx.nd.array(np.stack([normalize(picture, **network.normalisation) for picture in pictures]))
    with mx.autograd.record(train_mode=True):
        outputs = network(images)
    mx.autograd.backward(list(outputs))  # MXNet updates statistics in the backward pass
    mx.nd.waitall()
    for norm, settings in zip(norms, before):
        norm._kwargs.update(settings)


def _norms(block) -> list:
    found = [block] if isinstance(block, nn.BatchNorm) else []
    return found + [norm for child in block._children.values() for norm in _norms(child)]


def _last_norms(block) -> list:
    """The last batch norm of every residual branch of a ResNet, ResNeXt or ResNet-38."""
    found = []
    if hasattr(block, "conv1") and hasattr(block, "bn2"):
        found = [getattr(block, "bn3", block.bn2)]
    elif hasattr(block, "downsample") and hasattr(block, "body"):
        found = _norms(block.body)[-1:]
    return found + [norm for child in block._children.values() for norm in _last_norms(child)]
