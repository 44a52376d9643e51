"""Training steps: which part of a network learns from a batch, and by which losses. Section 3, Fig. 1.

A step maps a batch to losses by name and leaves gradients in place; `engine.train_epoch` sums and updates.
"""

from __future__ import annotations

import numpy as np
from mxnet import autograd

from .fusion import LEARNED, Fusion
from .groups import SubnetSpace
from .network import enlarge_in_training


class BaselineStep:
    """One training step of encoder and subnet 0: Section 3, Fig. 1 without the further subnets."""

    def __init__(self, network, criterion):
        self.network, self.criterion = network, criterion

    def parameters(self) -> dict:
        """What this step trains, by structural name."""
        return _named(self.network, ("encoder.", "subnet0."))

    def __call__(self, images, labels: np.ndarray) -> dict:
        """images (N, 3, H, W) NDArray, labels (N, H, W) -> {"subnet0": (N,) losses}, gradients in place."""
        network = self.network
        with autograd.record():
            logits = network.subnet0(*network.encoder(images))
            large = enlarge_in_training(logits, network.encoder.output_stride, images)
            loss = self.criterion(large, labels)
        loss.backward()
        return {"subnet0": loss}


class SubnetStep:
    """One training step of all further subnets at once: Section 3.

    The encoder and subnet 0 run in inference mode and unrecorded: neither their parameters nor their running
    statistics can change. (grad_req = "null" would still normalise by the batch.)
    """

    def __init__(self, network, criteria):
        self.network, self.criteria = network, list(criteria)
        self._channels = [group_channels(group, num_classes=network.num_classes) for group in network.groups]

    def parameters(self) -> dict:
        """What this step trains, by structural name."""
        return _named(self.network, ("subnets.",))

    def features(self, images) -> tuple:
        """Subnet 0's logits and the encoder's features, as in inference."""
        with autograd.pause(train_mode=False):
            features = self.network.encoder(images)
            return self.network.subnet0(*features), features

    def __call__(self, images, labels: np.ndarray) -> dict:
        """images (N, 3, H, W) NDArray, labels (N, H, W) -> {"subnet1": (N,) losses, ...}, gradients in place."""
        subnet0_logits, features = self.features(images)
        stride, losses = self.network.encoder.output_stride, {}
        with autograd.record():
            for m, logits in enumerate(self.network.subnet_logits(subnet0_logits, features)):
                logits = enlarge_in_training(logits, stride, images)
                losses[f"subnet{m + 1}"] = self.criteria[m](logits, self._channels[m][labels])
        autograd.backward(list(losses.values()))
        return losses


class FusionStep:
    """One training step of the learned rule of fusion, all subnets frozen: the paper's future work.

    Encoder and all subnets run in inference mode and unrecorded, as the encoder does in `SubnetStep`.
    Raises ValueError for a network built without `learned_fusion`.
    """

    def __init__(self, network, criterion):
        self.network, self.criterion = network, criterion
        self._fuse = Fusion.of(network, LEARNED)

    def parameters(self) -> dict:
        """What this step trains, by structural name."""
        return _named(self.network, ("learned_fusion.",))

    def __call__(self, images, labels: np.ndarray) -> dict:
        """images (N, 3, H, W) NDArray, labels (N, H, W) -> {"fusion": (N,) losses}, gradients in place."""
        with autograd.pause(train_mode=False):
            logits = self.network(images)
        with autograd.record():
            large = enlarge_in_training(self._fuse(*logits), self.network.encoder.output_stride, images)
            loss = self.criterion(large, labels)
        loss.backward()
        return {"fusion": loss}


def group_channels(group, ignore_label: int = 255, num_classes: int = 256) -> np.ndarray:
    """(256,) table from train id to a subnet's channel: 0 is "others", the ignored label stays.

    A group of all `num_classes` classes has no "others": its first class is channel 0. A label that is no class then
    keeps its value, for the loss to refuse.
    """
    space, table = SubnetSpace(group, num_classes), np.arange(256, dtype=np.uint8)
    table[:num_classes] = space.channel_of_class()
    table[ignore_label] = ignore_label
    return table


def _named(network, parts: tuple) -> dict:
    return {n: p for n, p in network._collect_params_with_prefix().items() if n.startswith(parts)}
