"""Single steps of training, and evaluation, without command line, printed lines or files.

Here the network (images to a tuple of logits), its criterion (logits and labels to losses) and its fusion (the tuple to
classes) are put together. A step computes the losses of a batch, by name, and the gradients of what it trains (Section
3, Fig. 1); `train.run` then updates the parameters.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

import mxnet as mx
import numpy as np
from mxnet import autograd, gluon

from . import hardware, runtime
from .compiled import enlarge as compiled_enlarge
from .compiled.training import training_form
from .datasets import whole_images
from .encoders import norms
from .errors import DivergedError
from .frozen import Frozen, FrozenNetwork
from .fusion import LEARNED, Fusion
from .grids import enlarge
from .groups import SubnetSpace
from .inference import PLAIN, Inference, log_probabilities, probabilities
from .metrics import ConfusionMatrix
from .network import enlarge_in_training
from .precision import lowered

MOMENTUM = 0.9  # Section 4
WEIGHT_DECAY = 0.0005
FEW = 32  # so few images are read faster than a process starts


# ---- steps of training


class Subnet0Step:
    """One training step of encoder and subnet 0: Section 3, Fig. 1 without the further subnets.

    precision    of its convolutions: a name of `precision.NAMES`. Like the other steps it multiplies the gradients by
                 its `loss_scale`.
    """

    def __init__(self, network, criteria, precision: str = "float32"):
        self.network, (self.criterion,) = network, criteria
        self._encoder = _in_training(network.encoder, precision)
        self._subnet0 = _in_training(network.subnet0, precision, len(network.encoder.channels))
        self.loss_scale = 1.0

    def parameters(self) -> dict:
        """What this step trains, by structural name."""
        return _named(self.network, ("encoder.", "subnet0."))

    def __call__(self, images, labels: np.ndarray) -> dict:
        """images (N, 3, H, W) NDArray, labels (N, H, W) -> {"subnet0": (N,) losses}, gradients in place."""
        network = self.network
        with autograd.record():
            logits = self._subnet0(*self._encoder(images))
            large = enlarge_in_training(logits, network.encoder.output_stride, images)
            loss = self.criterion(large, labels)
        _backward([loss], self.loss_scale)
        return {"subnet0": loss}


class SubnetStep:
    """One training step of all further subnets at once, each by its own criterion: Section 3.

    The encoder and subnet 0 run in inference mode and are not recorded, so neither their parameters nor their running
    statistics can change. (With grad_req = "null" alone, batch norms would still normalise by the batch.) They are
    frozen with the values that they have at the first step (`frozen.Frozen`).
    """

    def __init__(self, network, criteria, precision: str = "float32"):
        self.network, self.criteria = network, list(criteria)
        self._channels = [group_channels(group, num_classes=network.num_classes) for group in network.groups]
        self._strides = [network.encoder.output_stride // finer for finer in network.finer]
        self._frozen = _in_inference(self._fixed, network, precision)
        stages = len(network.encoder.channels)
        self._subnets = [
            _in_training(subnet, precision, stages + subnet.reads_subnet0, fixed=True)
            for subnet in network.subnets
        ]
        self.loss_scale = 1.0

    def parameters(self) -> dict:
        """What this step trains, by structural name."""
        return _named(self.network, ("subnets.",))

    def features(self, images) -> tuple:
        """Subnet 0's logits and the encoder's features, as in inference."""
        subnet0_logits, *features = self._frozen(images)
        return subnet0_logits, tuple(features)

    def _fixed(self, images) -> tuple:
        features = self.network.encoder(images)
        return self.network.subnet0(*features), *features

    def __call__(self, images, labels: np.ndarray) -> dict:
        """images (N, 3, H, W) NDArray, labels (N, H, W) -> {"subnet1": (N,) losses, ...}, gradients in place."""
        subnet0_logits, features = self.features(images)
        losses = {}
        with autograd.record():
            found = self.network.subnet_logits(subnet0_logits, features, self._subnets)
            for m, logits in enumerate(found):
                logits = enlarge_in_training(logits, self._strides[m], images)
                losses[f"subnet{m + 1}"] = self.criteria[m](logits, self._channels[m][labels])
        _backward(list(losses.values()), self.loss_scale)
        return losses


class FusionStep:
    """One training step of the learned fusion rule, with all subnets frozen: the paper's future work.

    Encoder and all subnets run in inference mode and are not recorded, frozen like the encoder in `SubnetStep`.
    Raises ValueError for a network built without `learned_fusion`.
    """

    def __init__(self, network, criteria, precision: str = "float32"):
        self.network, (self.criterion,) = network, criteria
        self._fuse = Fusion.of(network, LEARNED)
        self._stride = network.encoder.output_stride // self._fuse.finer
        self._frozen = _in_inference(network, network, precision)
        self.loss_scale = 1.0

    def parameters(self) -> dict:
        """What this step trains, by structural name."""
        return _named(self.network, ("learned_fusion.",))

    def __call__(self, images, labels: np.ndarray) -> dict:
        """images (N, 3, H, W) NDArray, labels (N, H, W) -> {"fusion": (N,) losses}, gradients in place."""
        logits = self._frozen(images)
        with autograd.record():
            large = enlarge_in_training(self._fuse(*logits), self._stride, images)
            loss = self.criterion(large, labels)
        _backward([loss], self.loss_scale)
        return {"fusion": loss}


def _in_training(block, precision: str, inputs: int = 1, *, fixed: bool = False):
    """A block in the form that trains fastest, or with 16-bit convolutions: see `precision`."""
    if precision != "float32":
        return lowered(block, block, precision, inputs)
    return training_form(block, inputs, fixed=fixed)


def _in_inference(function, network, precision: str):
    """A function of images, in inference mode and without gradients, of parameters that don't change."""
    if precision == "float32":
        return Frozen(function, network)
    graph = lowered(function, network, precision)

    def run(images) -> tuple:
        with autograd.pause(train_mode=False):
            return tuple(graph(images))

    return run


def _backward(losses: list, scale: float) -> None:
    """The gradients of a sum of losses, times `scale`."""
    heads = None if scale == 1 else [mx.nd.full(loss.shape, scale, ctx=loss.context) for loss in losses]
    autograd.backward(losses, heads)


STEPS = {"subnet0": Subnet0Step, "subnets": SubnetStep, "fusion": FusionStep}  # by `Phase.trains`


def group_channels(group, ignore_label: int = 255, num_classes: int = 256) -> np.ndarray:
    """(256,) table from train id to a subnet's channel; channel 0 is "others", and the ignored label stays.

    A group of all `num_classes` classes has no "others", so its first class is channel 0. A label that is no class
    keeps its value, and the loss then refuses it.
    """
    space, table = SubnetSpace(group, num_classes), np.arange(256, dtype=np.uint8)
    table[:num_classes] = space.channel_of_class()
    table[ignore_label] = ignore_label
    return table


def _named(network, parts: tuple) -> dict:
    return {n: p for n, p in network._collect_params_with_prefix().items() if n.startswith(parts)}


# rule -> endings of parameters' names that it is for, and factors of their learning rate and weight decay
BIAS_RULES = {"same": ((), 1, 1), "twice": (("bias", "beta"), 2, 0)}


def sgd(
    parameters: dict, *, momentum: float = MOMENTUM, weight_decay: float = WEIGHT_DECAY, biases: str = "same"
) -> gluon.Trainer:
    """SGD with momentum (Section 4). Its attribute `names` lists the parameters that it trains, in its order.

    parameters   structural name -> Parameter; those without gradient (running statistics) are left out
    biases       "same", or "twice": twice the rate and no decay for biases and beta, as ResNet-38's authors trained
    """
    names = sorted(name for name, p in parameters.items() if p.grad_req != "null")
    endings, rate, decay = BIAS_RULES[biases]
    for name in names:
        apart = name.endswith(endings) if endings else False
        parameters[name].lr_mult, parameters[name].wd_mult = (rate, decay) if apart else (1.0, 1.0)
    settings = {"learning_rate": 0.0, "momentum": momentum, "wd": weight_decay}
    # Trainer finds its states by position. kvstore=None: there is one device, so nothing is exchanged
    trainer = gluon.Trainer([parameters[n] for n in names], "sgd", settings, kvstore=None)
    trainer.names = names
    return trainer


def check_gradients(trainer, names) -> None:
    """Raises DivergedError, before the update, where the gradients of a batch of these images are not finite.

    The loss can be finite all the same. After the update the network would not be, and the next images, which are
    innocent, would be named.
    """
    grads = [p.list_grad()[0] for p in trainer._params]
    # several times as fast on a CPU as MXNet's operator for this; the squares of huge numbers are infinite too
    suspected = ~np.isfinite(mx.nd.multi_sum_sq(*grads, num_arrays=len(grads)).asnumpy())
    at_fault = [
        trainer.names[n] for n in np.flatnonzero(suspected) if not np.isfinite(grads[n].asnumpy()).all()
    ]
    if not at_fault:
        return
    raise DivergedError(
        f"the loss is finite on {', '.join(names)}, but its gradient is not finite ({at_fault[0]}): the last "
        "checkpoint is as it was; look at these images, or lower the learning rate and start a new run"
    )


# ---- evaluation


def evaluate(
    network,
    samples: Iterable,
    rules,
    num_classes: int,
    ignore_label: int = 255,
    device=None,
    inference: Inference = PLAIN,
) -> Iterator[tuple]:
    """Confusion matrices of several fusion rules from one pass over whole images at their own size.

    samples    iterable of batches (images, labels, names) of whole images
    rules      names of `fusion.RULES`, and `fusion.LEARNED` where the network has it; or name -> a block like `Fusion`
    inference  the views of each image that are averaged, and what refines them; by default the image as it is
    The network is frozen (`frozen.FrozenNetwork`) with the values that it has at the first batch.
    yields     (names, {rule: (N, H, W) uint8 predictions}, {rule: ConfusionMatrix}) of each batch
    Raises RunError, before the first image, where `inference` needs a library that is not installed.
    """
    inference.check()
    fusions = rules if isinstance(rules, dict) else {rule: Fusion.of(network, rule) for rule in rules}
    for block in fusions.values():
        block.hybridize()
    network = FrozenNetwork(network, fusions)
    for batch in samples:
        predictions = predict(network, fusions, on_device(batch.images, device or mx.cpu()), inference)
        counted = {}
        for rule, predicted in predictions.items():
            counted[rule] = ConfusionMatrix(num_classes, ignore_label)
            counted[rule].update(batch.labels, predicted)
        yield batch.names, predictions, counted


def evaluate_images(
    network, dataset, indices, rules, *, device=None, inference: Inference = PLAIN
) -> Iterator[tuple]:
    """`evaluate` images of a data set, in the order of `indices`.

    yields  ({rule: (K, K) int64 counts}, {rule: (H, W) uint8 predictions}) of each image
    """
    samples = whole_images(
        dataset, workers=readers(len(indices), device), indices=indices, **network.normalisation
    )
    counted = evaluate(
        network, samples, rules, dataset.labels.num_classes, device=device, inference=inference
    )
    for _, predictions, matrices in counted:
        counts = {rule: matrix.counts for rule, matrix in matrices.items()}
        yield counts, {rule: predicted[0] for rule, predicted in predictions.items()}


def readers(samples: int, device=None) -> int:
    """How many processes read ahead: on CPUs one, since the network needs the cores; none for a few images."""
    if samples < FEW:
        return 0
    on_gpu = device is not None and device.device_type == "gpu"
    return max(1, min(8, hardware.physical_cores() - 1)) if on_gpu else 1


def predict(network, fusions: dict, images, inference: Inference = PLAIN) -> dict:
    """images (N, 3, H, W) -> {rule: (N, H, W) uint8 classes}. Only as many subnets run as the rules need.

    network    a `SubnetNetwork`, which is frozen for this call, or a `FrozenNetwork` with these fusions, for many calls
    """
    if not inference.is_plain:
        averaged = probabilities(network, fusions, images, inference)
        return {rule: largest_class(averaged.pop(rule)) for rule in fusions}
    stride, scores = network.encoder.output_stride, log_probabilities(network, fusions, images)
    return {rule: largest_enlarged(s, stride // fusions[rule].finer, images) for rule, s in scores.items()}


def on_device(images: np.ndarray, device):
    """Images as an NDArray on a device; a GPU copies them from pinned memory, so that the CPU need not wait."""
    if device is None or device.device_type != "gpu":
        return mx.nd.array(images, ctx=device)
    return mx.nd.array(images, ctx=mx.cpu_pinned(device.device_id)).as_in_context(device)


def largest_class(scores) -> np.ndarray:
    """(N, K, H, W), NDArray or NumPy -> (N, H, W) uint8, the class of the largest score; on a tie the first."""
    if isinstance(scores, np.ndarray):
        array = scores
    elif scores.context.device_type == "gpu":
        return scores.argmax(axis=1).asnumpy().astype(np.uint8)
    else:
        array = scores.asnumpy()
    # a maximum updated class by class: on a CPU, argmax over values far apart in memory is several times slower
    best, where = array[:, 0].copy(), np.zeros(array[:, 0].shape, np.uint8)
    for k in range(1, array.shape[1]):
        np.copyto(where, k, where=array[:, k] > best)
        np.maximum(best, array[:, k], out=best)
    return where


def largest_enlarged(scores, stride: int, like) -> np.ndarray:
    """`largest_class` of `network.enlarge`, with the same result to the bit: (N, K, h, w) -> (N, H, W) uint8.

    On a CPU the scores are never enlarged as a whole: the rows between two rows of the grid are computed and compared
    while they are in the cache. Both directions round as the operator does: the width is enlarged first, and each sum
    of two products is rounded three times.
    """
    if scores.context.device_type == "gpu":
        return largest_class(enlarge(mx.nd, scores, stride, like))
    (height, width), grid = like.shape[2:], scores.asnumpy()
    if compiled_enlarge.is_available():
        sides = (_between(size, wanted, stride) for size, wanted in zip(grid.shape[2:], (height, width)))
        return compiled_enlarge.largest(grid, *sides, runtime.threads() or os.cpu_count() or 1)
    above, below, of_above, of_below = _between(grid.shape[2], height, stride)
    starts = [0, *(np.flatnonzero(np.diff(above) + np.diff(below)) + 1), height]
    found = np.empty((len(grid), height, width), np.uint8)
    for image, classes in zip(grid, found):
        wide = _widened(image, stride)[:, :, :width]
        for start, end in zip(starts, starts[1:]):
            neighbours = wide[:, above[start]], wide[:, below[start]]
            _compare(*neighbours, of_above[start:end, None], of_below[start:end, None], classes[start:end])
    return found


def _widened(image: np.ndarray, stride: int) -> np.ndarray:
    """(K, h, w) -> (K, h, w * stride): enlarged in width alone, which the operator does first."""
    size = image.shape[2]
    _, _, *weights = _between(size, size * stride, stride)
    wide = np.empty((*image.shape[:2], size * stride), np.float32)
    edged = np.pad(image, ((0, 0), (0, 0), (1, 1)), mode="edge")
    for phase in range(stride):
        # the columns of one phase lie between neighbours that are whole slices; single columns would be gathered slowly
        left = int(phase >= stride // 2)
        of_left, of_right = (weight[phase::stride] for weight in weights)
        values = edged[:, :, left : left + size] * of_left
        values += edged[:, :, left + 1 : left + 1 + size] * of_right
        wide[:, :, phase::stride] = values
    return wide


def _compare(above, below, of_above, of_below, classes: np.ndarray) -> None:
    """Fill (rows, W) `classes` with the largest of of_above * above + of_below * below over the K of (K, W) each."""
    best, value, part = (np.empty(classes.shape, np.float32) for _ in range(3))
    larger, number = np.empty(classes.shape, bool), np.empty(classes.shape, np.uint8)
    classes[:] = 0
    for k in range(len(above)):
        np.multiply(of_above, above[k], out=value)
        np.multiply(of_below, below[k], out=part)
        if k == 0:
            np.add(value, part, out=best)
            continue
        np.add(value, part, out=value)
        np.greater(value, best, out=larger)
        # numbers rise, so the latest is the largest; several times faster than a copy under a mask
        np.multiply(larger.view(np.uint8), np.uint8(k), out=number)
        np.maximum(classes, number, out=classes)
        np.maximum(best, value, out=best)


def _between(size: int, wanted: int, stride: int) -> tuple:
    """For `wanted` pixels of a side enlarged from `size`: the two neighbours of each, and the neighbours' weights."""
    at = np.maximum((np.arange(wanted) + 0.5) / stride - 0.5, 0).astype(np.float32)
    first = at.astype(np.intp)
    second = np.minimum(first + 1, size - 1)
    weight = at - first.astype(np.float32)
    return first, second, 1 - weight, weight


def hybridize_parts(network) -> None:
    """Hybridize the parts that training and evaluation call: encoder, subnet 0, each further subnet.

    An encoder with in-place activated batch norms stays imperative: they save no memory in a graph (docs/memory.md).
    """
    learned = [network.learned_fusion] if network.learned_fusion else []
    for part in (network.encoder, network.subnet0, *network.subnets, *learned):
        part.hybridize(active=not norms.keeps_outputs_only(part), static_alloc=True)
