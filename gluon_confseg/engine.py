"""An epoch of training, and evaluation. Knows no command line, prints nothing, touches no files.

The network maps images to a tuple of logits, a criterion maps logits and labels to losses, fusion maps the tuple to
classes; only here they meet.
"""

from __future__ import annotations

import dataclasses

import mxnet as mx
import numpy as np
from mxnet import gluon

from .encoders import norms
from .errors import RunError
from .fusion import Fusion
from .inference import PLAIN, Inference, log_probabilities, probabilities
from .metrics import ConfusionMatrix
from .network import enlarge
from .steps import BaselineStep, FusionStep, SubnetStep, group_channels

__all__ = [
    "BaselineStep",
    "EpochState",
    "FusionStep",
    "Optimiser",
    "SubnetStep",
    "evaluate",
    "hybridize_parts",
    "group_channels",
    "largest_class",
    "on_device",
    "predict",
    "train_epoch",
]

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


def evaluate(
    network,
    samples,
    rules,
    num_classes: int,
    ignore_label: int = 255,
    context=None,
    inference: Inference = PLAIN,
):
    """Confusion matrices of several fusion rules from one pass over whole images at their own size.

    samples    iterable of batches (images, labels, names) of whole images
    rules      names of `fusion.RULES`, and `fusion.LEARNED` where the network has it
    inference  the views of each image that are averaged, and what refines them; by default one, as it is
    yields     (names, {rule: (H, W) predictions of the batch's first image ... as (N, H, W) uint8},
               {rule: ConfusionMatrix of this batch})
    Raises RunError, before the first image, where `inference` needs a library that is not installed.
    """
    inference.check()
    fusions = {rule: Fusion.of(network, rule) for rule in rules}
    for block in fusions.values():
        block.hybridize()
    for batch in samples:
        predictions = predict(network, fusions, on_device(batch.images, context or mx.cpu()), inference)
        counted = {}
        for rule, predicted in predictions.items():
            counted[rule] = ConfusionMatrix(num_classes, ignore_label)
            counted[rule].update(batch.labels, predicted)
        yield batch.names, predictions, counted


def predict(network, fusions: dict, images, inference: Inference = PLAIN) -> dict:
    """images (N, 3, H, W) -> {rule: (N, H, W) uint8 classes}. Only as many subnets run as the rules need."""
    if not inference.is_plain:
        averaged = probabilities(network, fusions, images, inference)
        return {rule: largest_class(averaged.pop(rule)) for rule in fusions}
    stride, scores = network.encoder.output_stride, log_probabilities(network, fusions, images)
    return {rule: largest_class(enlarge(mx.nd, s, stride, images)) for rule, s in scores.items()}


def on_device(images: np.ndarray, context):
    """images as an NDArray on a device; to a GPU through pinned memory, from which it fetches while the CPU goes on."""
    if context is None or context.device_type != "gpu":
        return mx.nd.array(images, ctx=context)
    return mx.nd.array(images, ctx=mx.cpu_pinned(context.device_id)).as_in_context(context)


def largest_class(scores) -> np.ndarray:
    """(N, K, H, W), NDArray or NumPy -> (N, H, W) uint8, the first of equals."""
    if isinstance(scores, np.ndarray):
        array = scores
    elif scores.context.device_type == "gpu":
        return scores.argmax(axis=1).asnumpy().astype(np.uint8)
    else:
        array = scores.asnumpy()
    # a running maximum class by class: argmax across far-apart rows is several times as slow on a CPU
    best, where = array[:, 0].copy(), np.zeros(array[:, 0].shape, np.uint8)
    for k in range(1, array.shape[1]):
        np.copyto(where, k, where=array[:, k] > best)
        np.maximum(best, array[:, k], out=best)
    return where


def hybridize_parts(network) -> None:
    """Hybridize the parts that training and evaluation call: encoder, subnet 0, each further subnet.

    Not an encoder with in-place activated batch norms: only outside of a graph they save memory (docs/memory.md).
    """
    learned = [network.learned_fusion] if network.learned_fusion else []
    for part in (network.encoder, network.subnet0, *network.subnets, *learned):
        part.hybridize(active=not norms.keeps_outputs_only(part), static_alloc=True)
