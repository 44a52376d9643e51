"""A network in training: its steps on the shares of a batch, what is exchanged between devices and processes, and the
updates by SGD. `parallel` says how a batch is cut.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import mxnet as mx
import numpy as np

from . import checkpoint, engine, out_of_memory
from .datasets.batches import Batch
from .distributed import same_parameters
from .parallel import Parallel, cut
from .precision import LossScale, all_finite

RUNNING = ("running_mean", "running_var")  # endings of the names of a batch norm's running statistics


class Trainee:
    """A phase's network on all devices of this process, with its training steps and its updates by SGD.

    replicas   (network, step) of each device; all of them have the parameters of the first after `spread`
    precision  of the convolutions; float16 scales the loss: see `precision.LossScale`
    of_sgd     settings of `engine.sgd`
    stop       after a step: the number of a signal that some process caught, or 0
    """

    def __init__(self, replicas: list, parallel: Parallel, *, precision: str = "float32", **of_sgd):
        self.networks, self._steps = [list(each) for each in zip(*replicas)]
        self.network, self.parallel, self.stop = self.networks[0], parallel, 0
        self._trainers = [engine.sgd(step.parameters(), **of_sgd) for step in self._steps]
        self.trainer = self._trainers[0]
        self._gradients = [
            [p.grad() for p in trainer._params if p.grad_req != "null"] for trainer in self._trainers
        ]
        self._statistics = [_running_statistics(step) for step in self._steps]
        self._sums = [None] * len(self._steps)
        self.loss_scale = LossScale(precision)
        self._threads = ThreadPoolExecutor(len(self._steps)) if len(self._steps) > 1 else None

    def spread(self) -> None:
        """Give all devices of all processes the parameters and the momentum of the first, and compare them."""
        communicator, names = self.parallel.communicator, self.trainer.names
        if communicator.size * len(self.networks) == 1:
            return
        momentum = checkpoint.trainer_arrays(self.trainer, names) if self.parallel.is_root else None
        momentum = communicator.from_root(lambda: momentum)
        mx.nd.waitall()  # see checkpoint.network_arrays
        first = _by_name(self.network)
        communicator.broadcast(list(first.values()))
        for network, trainer in zip(self.networks, self._trainers):
            if network is not self.network:
                for name, array in _by_name(network).items():
                    first[name].copyto(array)
            if not (self.parallel.is_root and trainer is self.trainer):
                checkpoint.restore_trainer(trainer, names, momentum)
        mx.nd.waitall()
        same_parameters(communicator, list(first.values()), list(first))

    def step(self, batch: Batch, draws: Callable[[int], int], caught: int = 0) -> dict:
        """{name: (N,) losses} of the whole batch, with the summed gradients in place.

        batch    of which images and labels are this process's part, and names all N
        draws    share -> seed of what it draws inside the network
        caught   the number of a signal that this process caught, or 0; see `stop`
        """
        for step in self._steps:
            step.loss_scale = self.loss_scale.value
        if self.parallel.shares == 1:
            mx.random.seed(draws(0))
            self.stop = caught
            return self._steps[0](
                engine.on_device(batch.images, self.parallel.devices[0]), np.asarray(batch.labels)
            )
        devices = range(len(self._steps))
        found = list(
            (self._threads.map if self._threads else map)(lambda d: self._shares(d, batch, draws), devices)
        )
        return self._exchange(found, len(batch.names), caught)

    def update(self, rate: float, names) -> None:
        """One update of all devices by the gradients of a batch of these images.

        With a scaled loss there is none where the gradients overflow. Raises DivergedError where they are not finite
        with a loss that can't be scaled, or not any more.
        """
        if self.loss_scale.changes:
            finite = all_finite(self._gradients[0])
            self.loss_scale.update(finite)
            self.loss_scale.check(names)
            if not finite:
                return
        else:
            engine.check_gradients(self.trainer, names)
        scale = self._steps[0].loss_scale  # of these gradients; `loss_scale` may have changed
        for trainer in self._trainers:
            trainer.set_learning_rate(rate)
            trainer.step(len(names) * scale)

    def memory_told(self, name: str, batch: Batch):
        """A context for a step of the phase `name`: too little memory is a RunError that says what fits."""
        parallel, device = self.parallel, self.parallel.devices[0]
        at_once = cut(len(batch.images), len(self._steps) * parallel.accumulate)[-1]  # none has more images

        def part(count: int, height: int, width: int) -> None:
            images = np.ascontiguousarray(batch.images[:count, :, :height, :width])
            labels = np.ascontiguousarray(batch.labels[:count, :height, :width])
            self._steps[0](engine.on_device(images, device), labels)

        return out_of_memory.told(name, batch.images[at_once], part, device, parallel.accumulate)

    def _shares(self, number: int, batch: Batch, draws: Callable[[int], int]) -> dict:
        """The losses of a device's part of the batch, with the sum of its shares' gradients in place."""
        parallel, device = self.parallel, self.parallel.devices[number] or mx.cpu()
        turns, before = parallel.accumulate, number * parallel.accumulate
        pieces = cut(len(batch.images), len(self._steps) * turns)[before : before + turns]
        first = parallel.communicator.rank * len(self._steps) * turns + before
        found = []
        for turn, piece in enumerate(pieces):
            mx.random.seed(draws(first + turn), ctx=device)
            images = engine.on_device(batch.images[piece], device)
            losses = self._steps[number](images, batch.labels[piece])
            found.append({name: loss.asnumpy() for name, loss in losses.items()})
            if turns > 1:
                self._add(number, turn, turns)
        return {name: np.concatenate([losses[name] for losses in found]) for name in found[0]}

    def _add(self, number: int, turn: int, turns: int) -> None:
        gradients = self._gradients[number]
        if self._sums[number] is None:
            self._sums[number] = [mx.nd.zeros_like(gradient) for gradient in gradients]
        for total, gradient in zip(self._sums[number], gradients):
            if turn == 0:
                gradient.copyto(total)
            else:
                total += gradient
            if turn == turns - 1:
                total.copyto(gradient)

    def _exchange(self, found: list, images: int, caught: int) -> dict:
        """Sum gradients over all devices, average running statistics, and tell every process the losses of all."""
        communicator, (first, *others) = self.parallel.communicator, self._gradients
        for each in others:
            for total, gradient in zip(first, each):
                total += gradient.as_in_context(total.context)
        statistics, count = self._statistics[0], len(self._steps) * communicator.size
        for each in self._statistics[1:]:
            for total, values in zip(statistics, each):
                total += values.as_in_context(total.context)
        names = list(found[0])
        # of the other processes this holds 0, so that a sum puts their images' losses and their signals beside these
        known = np.zeros((images + communicator.size, len(names)), np.float32)
        known[self.parallel.part(images)] = np.concatenate(
            [np.stack([losses[name] for name in names], axis=1) for losses in found]
        )
        known[images + communicator.rank] = caught
        told = mx.nd.array(known)
        if communicator.size > 1:
            communicator.allreduce([*first, *statistics, told])
            known = told.asnumpy()
        self.stop = int(known[images:].max())
        if count > 1:
            for values in statistics:
                values /= count
        for each in others:
            for total, gradient in zip(first, each):
                total.copyto(gradient)
        for each in self._statistics[1:]:
            for total, values in zip(statistics, each):
                total.copyto(values)
        return {name: known[:images, column] for column, name in enumerate(names)}


def _running_statistics(step) -> list:
    """Arrays of the running means and variances that a step changes."""
    named = step.parameters()
    moving = [name for name in named if name.endswith(RUNNING)]
    return [named[name].data() for name in sorted(moving)]


def _by_name(network) -> dict:
    named = network._collect_params_with_prefix()
    return {name: named[name].data() for name in sorted(named)}
