"""Training steps, an epoch, and evaluation. Knows no command line, prints nothing, touches no files.

The network maps images to a tuple of logits, a criterion maps logits and labels to losses, fusion maps the tuple to
classes; only here they meet.
"""

from __future__ import annotations

import dataclasses

import mxnet as mx
import numpy as np
from mxnet import autograd, gluon

from .encoders import norms
from .errors import RunError
from .fusion import Fusion
from .metrics import ConfusionMatrix
from .network import enlarge, enlarge_in_training

MOMENTUM = 0.9  # Section 4
WEIGHT_DECAY = 0.0005


@dataclasses.dataclass
class Optimiser:
    """SGD with momentum, and the structural names of what it trains, in the trainer's order: Section 4."""

    trainer: gluon.Trainer
    names: list

    @classmethod
    def of(cls, parameters: dict) -> Optimiser:
        """parameters: structural name -> Parameter; those without gradient (running statistics) are left alone."""
        names = sorted(name for name, p in parameters.items() if p.grad_req != "null")
        settings = {"learning_rate": 0.0, "momentum": MOMENTUM, "wd": WEIGHT_DECAY}
        # Trainer keys states by position; kvstore=None: one device, nothing to exchange
        return cls(gluon.Trainer([parameters[n] for n in names], "sgd", settings, kvstore=None), names)


class BaselineStep:
    """One training step of encoder and subnet 0: Section 3, Fig. 1 without the further subnets."""

    def __init__(self, network, criterion):
        self.network, self.criterion = network, criterion

    def parameters(self) -> dict:
        """What this step trains, by structural name."""
        return _named(self.network, lambda name: not name.startswith("subnets."))

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
        self._channels = [group_channels(group) for group in network.groups]

    def parameters(self) -> dict:
        """What this step trains, by structural name."""
        return _named(self.network, lambda name: name.startswith("subnets."))

    def features(self, images) -> tuple:
        """Subnet 0's logits and the encoder's features, as in inference."""
        with autograd.pause(train_mode=False):
            features = self.network.encoder(images)
            return self.network.subnet0(*features), features

    def __call__(self, images, labels: np.ndarray) -> dict:
        """images (N, 3, H, W) NDArray, labels (N, H, W) -> {"subnet1": (N,) losses, ...}, gradients in place."""
        first, features = self.features(images)
        stride, losses = self.network.encoder.output_stride, {}
        with autograd.record():
            for m, logits in enumerate(self.network.further(first, features)):
                logits = enlarge_in_training(logits, stride, images)
                losses[f"subnet{m + 1}"] = self.criteria[m](logits, self._channels[m][labels])
        autograd.backward(list(losses.values()))
        return losses


def group_channels(group, ignore_label: int = 255) -> np.ndarray:
    """(256,) table from train id to a subnet's channel: 0 is "others", the ignored label stays."""
    table = np.zeros(256, np.uint8)
    table[ignore_label] = ignore_label
    for channel, klass in enumerate(group, 1):
        table[klass] = channel
    return table


@dataclasses.dataclass
class EpochState:
    """How far an epoch is: batches done, images seen, and the losses' sums so far. All of it is in a checkpoint."""

    batch: int = 0
    images: int = 0
    sums: dict = dataclasses.field(default_factory=dict)

    def add(self, losses: dict) -> float:
        """Add one batch's (N,) losses; returns the batch's mean total."""
        total = 0.0
        for name, loss in losses.items():
            values = loss.asnumpy().astype(np.float64)
            self.sums[name] = self.sums.get(name, 0.0) + float(values.sum())
            total += float(values.mean())
        self.batch, self.images = self.batch + 1, self.images + len(values)
        return total

    def means(self) -> dict:
        """Mean loss per image so far, by subnet."""
        return {name: value / max(self.images, 1) for name, value in self.sums.items()}


def train_epoch(
    step, optimiser: Optimiser, batches, state: EpochState, learning_rate, context, after_batch, seed=None
) -> None:
    """Train over `batches` (those that `state` has not seen yet), one SGD step each.

    learning_rate   function of the batch's number in the epoch
    after_batch     called with the batch's mean loss when its step is done
    seed            function of the batch's number in the epoch, for what a step draws itself (dropout);
                    None leaves MXNet's random state alone
    Raises RunError, with the batch's images, where a loss is not finite: nothing is updated by it.
    """
    trainer = optimiser.trainer
    for batch in batches:
        trainer.set_learning_rate(learning_rate(state.batch))
        if seed is not None:
            mx.random.seed(seed(state.batch))  # MXNet's own state is in no checkpoint
        losses = step(on_device(batch.images, context), batch.labels)
        mean = state.add(losses)
        if not np.isfinite(mean):
            raise RunError(
                f"the loss is not finite on {', '.join(batch.names)}: the last checkpoint is as it was; "
                "look at these images, or lower the learning rate and start a new run"
            )
        trainer.step(len(batch.names))
        after_batch(mean)


def evaluate(network, samples, rules, num_classes: int, ignore_label: int = 255, context=None):
    """Confusion matrices of several fusion rules from one pass: whole images at their own size, one scale.

    samples    iterable of batches (images, labels, names) of whole images
    rules      names of `fusion.RULES`
    yields     (names, {rule: (H, W) predictions of the batch's first image ... as (N, H, W) uint8},
               {rule: ConfusionMatrix of this batch})
    """
    fusions = {rule: Fusion(network.groups, num_classes, rule) for rule in rules}
    for block in fusions.values():
        block.hybridize()
    for batch in samples:
        predictions = predict(network, fusions, on_device(batch.images, context or mx.cpu()))
        counted = {}
        for rule, predicted in predictions.items():
            counted[rule] = ConfusionMatrix(num_classes, ignore_label)
            counted[rule].update(batch.labels, predicted)
        yield batch.names, predictions, counted


def predict(network, fusions: dict, images) -> dict:
    """images (N, 3, H, W) -> {rule: (N, H, W) uint8 classes}. Only as many subnets run as the rules need."""
    features = network.encoder(images)
    logits = (network.subnet0(*features),)
    if set(fusions) - {"subnet0"}:
        logits += network.further(logits[0], features)
    stride = network.encoder.output_stride
    scores = {rule: fuse(*(logits[:1] if rule == "subnet0" else logits)) for rule, fuse in fusions.items()}
    return {rule: largest_class(enlarge(mx.nd, s, stride, images)) for rule, s in scores.items()}


def on_device(images: np.ndarray, context):
    """images as an NDArray on a device; to a GPU through pinned memory, from which it fetches while the CPU goes on."""
    if context is None or context.device_type != "gpu":
        return mx.nd.array(images, ctx=context)
    return mx.nd.array(images, ctx=mx.cpu_pinned(context.device_id)).as_in_context(context)


def largest_class(scores) -> np.ndarray:
    """(N, K, H, W) NDArray -> (N, H, W) uint8, the first of equals."""
    if scores.context.device_type == "gpu":
        return scores.argmax(axis=1).asnumpy().astype(np.uint8)
    # a running maximum class by class: argmax across far-apart rows is several times as slow on a CPU
    array = scores.asnumpy()
    best, where = array[:, 0].copy(), np.zeros(array[:, 0].shape, np.uint8)
    for k in range(1, array.shape[1]):
        np.copyto(where, k, where=array[:, k] > best)
        np.maximum(best, array[:, k], out=best)
    return where


def freeze_shapes(network) -> None:
    """Hybridize the parts that training and evaluation call: encoder, subnet 0, each further subnet.

    Not an encoder with in-place activated batch norms: only outside of a graph they save memory (docs/memory.md).
    """
    for part in (network.encoder, network.subnet0, *network.subnets):
        part.hybridize(active=not norms.keeps_outputs_only(part), static_alloc=True)


def _named(network, chosen) -> dict:
    return {n: p for n, p in network._collect_params_with_prefix().items() if chosen(n)}
