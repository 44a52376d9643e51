"""Training steps whose work is shared: by worker processes, by the devices of a process, and by shares of a batch that
a device computes one after the other (gradient accumulation).

A batch is cut into shares, first by rank, then by device, then by turn. The gradients of all shares are summed, and
every device makes the same update. A sample's loss and gradient do not depend on the other samples of its batch, so
the result is that of the whole batch on one device up to rounding, with these exceptions: batch norms that take their
statistics from the batch take them from a share of it, unless they are frozen or synchronised; a loss that averages
over the batch averages over a share; and dropout draws other masks.
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import mxnet as mx
import numpy as np

from . import checkpoint, engine, files, out_of_memory, progress, runtime
from .datasets.batches import Batch
from .distributed import Communicator, same_parameters
from .encoders import norms
from .errors import RunError
from .run_folder import Position, RunFolder


@dataclasses.dataclass(frozen=True)
class Parallel:
    """How the work of a training is shared.

    devices        those of this process; None stands for the default device
    accumulate     each device computes its part of a batch in so many shares, one after the other
    communicator   the worker processes: see `distributed`
    """

    devices: tuple = (None,)
    accumulate: int = 1
    communicator: Communicator = Communicator()

    @property
    def shares(self) -> int:
        """Into how many shares a batch is cut."""
        return self.communicator.size * len(self.devices) * self.accumulate

    @property
    def is_root(self) -> bool:
        """Whether this process is the one that writes the run folder and prints."""
        return self.communicator.rank == 0

    def describe(self) -> str:
        """In words, which saved states hold: "2 processes, 2 devices each, gradients of 4 shares accumulated"."""
        processes, devices = self.communicator.size, len(self.devices)
        said = [f"{processes} {'process' if processes == 1 else 'processes'}"]
        if devices > 1:
            said.append(f"{devices} devices each")
        if self.accumulate > 1:
            said.append(f"gradients of {self.accumulate} shares accumulated")
        return ", ".join(said)

    def part(self, images: int) -> slice:
        """Which images of a batch are this process's."""
        return cut(images, self.communicator.size)[self.communicator.rank]

    def caution(self, phase) -> str:
        """How a phase's result depends on the sharing by more than rounding; "" where it doesn't."""
        if self.shares == 1:
            return ""
        said = []
        if phase.loss == "recall":
            said.append("the loss recall counts recall over a share of the batch")
        if phase.loss in ("ce", "confusion_ce") and phase.average == "batch":
            said.append("average=batch takes the mean over a share of the batch")
        if phase.norm in ("batch", "inplace") and phase.part.trains_encoder:
            said.append("batch norms take their statistics from a share of the batch (norm=frozen does not)")
        return "; ".join(said)

    def check(self, phase, images: int) -> None:
        """Raise RunError where a phase's batches can't be cut into so many shares."""
        smallest = min(phase.batch_size, images)
        if smallest < self.shares:
            raise RunError(
                f"phase {phase.name}: batches of {smallest} can't be cut into {self.shares} shares "
                f"({self.describe()}); set batch_size={self.shares} or more, or share the work less"
            )
        if phase.norm == "sync" and self.communicator.size > 1:
            raise RunError(
                f"phase {phase.name}: norm=sync works on the devices of one process, not over {self.communicator.size} "
                "processes; set norm=frozen or norm=batch, or train in one process with --devices"
            )


SINGLE = Parallel()


def of_arguments(devices: tuple | None, accumulate: int, communicator: Communicator) -> Parallel:
    """The sharing that a command line asks for.

    devices   ("gpu", 0), ...; None: with several processes the GPU with the process's number on its machine, as far as
              there are GPUs, and otherwise the default device
    Raises RunError for a device that is not there, in the process that lacks it.
    """
    if devices is None:
        there = runtime.devices()
        if communicator.size > 1 and there[0].device_type == "gpu":
            if communicator.local_rank >= len(there):
                raise RunError(
                    f"{communicator.local_size} processes on a machine with {len(there)} GPUs: start one for each GPU"
                )
            return Parallel((there[communicator.local_rank],), accumulate, communicator)
        return Parallel((there[0],), accumulate, communicator)
    if devices[0][0] == "gpu":
        there = {device.device_id for device in runtime.devices() if device.device_type == "gpu"}
        missing = [number for _, number in devices if number not in there]
        if missing:
            raise RunError(
                f"--devices: there is no GPU {missing[0]} that MXNet can use; `confseg doctor` lists those there are"
            )
    return Parallel(tuple(mx.Context(kind, number) for kind, number in devices), accumulate, communicator)


def in_turn(communicator: Communicator, task: Callable):
    """`task()` in every process, one after the other, so that files that one makes are there for the next.

    Those of other machines make them again where they do not share a disk.
    """
    for rank in range(communicator.size):
        if rank == communicator.rank:
            result = task()
        communicator.barrier()
    return result


def open_folder(
    communicator: Communicator, path, config: dict, save_every: float, *, tensorboard: bool = False
):
    """The run folder of a training: a `RunFolder`, or what stands for it in every one of several processes.

    Raises RunError as `RunFolder` does, and where the processes have other data or settings than rank 0.
    """
    if communicator.size == 1:
        return RunFolder(path, config, save_every, tensorboard=tensorboard)
    for rank, other in enumerate(communicator.allgather(config)):
        if other != config:
            keys = [key for key in config if other.get(key) != config[key]] or sorted(
                set(other) - set(config)
            )
            raise RunError(
                f"rank {rank} has other {'images, labels or classes' if keys == ['images'] else ', '.join(keys)} than "
                f"rank {communicator.rank}; give all processes the same command and the same data"
            )
    opened = None
    if communicator.rank:
        progress.relay(lambda *_: None)  # rank 0 shows what is done

    def at_root() -> None:
        nonlocal opened
        opened = RunFolder(path, config, save_every, tensorboard=tensorboard)

    communicator.from_root(at_root)
    return FolderOfRoot(opened, config, communicator, tensorboard)


def cut(count: int, parts: int) -> list:
    """`count` samples as `parts` slices in order, whose lengths differ by at most 1."""
    ends = [count * number // parts for number in range(parts + 1)]
    return [slice(first, last) for first, last in zip(ends, ends[1:])]


class Trainee:
    """A phase's network on all devices of this process, with its training steps and its updates by SGD.

    replicas   (network, step) of each device; all of them have the parameters of the first after `spread`
    of_sgd     settings of `engine.sgd`
    stop       after a step: the number of a signal that some process caught, or 0
    """

    def __init__(self, replicas: list, parallel: Parallel, **of_sgd):
        self.networks, self._steps = [list(each) for each in zip(*replicas)]
        self.network, self.parallel, self.stop = self.networks[0], parallel, 0
        self._trainers = [engine.sgd(step.parameters(), **of_sgd) for step in self._steps]
        self.trainer = self._trainers[0]
        self._gradients = [
            [p.grad() for p in trainer._params if p.grad_req != "null"] for trainer in self._trainers
        ]
        self._statistics = [_running_statistics(step) for step in self._steps]
        self._sums = [None] * len(self._steps)
        self._threads = ThreadPoolExecutor(len(self._steps)) if len(self._steps) > 1 else None
        if self.network.settings["norm"] == "sync":
            norms.synchronise([network.encoder for network in self.networks], list(parallel.devices))
            for network in self.networks:
                engine.hybridize_parts(network)

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

    def update(self, rate: float, images: int) -> None:
        """One update of all devices by the gradients of a batch of so many images."""
        for trainer in self._trainers:
            trainer.set_learning_rate(rate)
            trainer.step(images)

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
        # losses of the other processes' images are 0 here, so that a sum puts them together without rounding
        known = np.zeros((images + 1, len(names)), np.float32)
        known[:-1][self.parallel.part(images)] = np.concatenate(
            [np.stack([losses[name] for name in names], axis=1) for losses in found]
        )
        known[-1] = caught
        told = mx.nd.array(known)
        if communicator.size > 1:
            communicator.allreduce([*first, *statistics, told])
            known = told.asnumpy()
        self.stop = int(known[-1, 0])
        if count > 1:
            for values in statistics:
                values /= count
        for each in others:
            for total, gradient in zip(first, each):
                total.copyto(gradient)
        for each in self._statistics[1:]:
            for total, values in zip(statistics, each):
                total.copyto(values)
        return {name: known[:-1, column] for column, name in enumerate(names)}


def _running_statistics(step) -> list:
    """Arrays of the running means and variances that a step changes."""
    named = step.parameters()
    moving = [name for name in named if name.endswith(("running_mean", "running_var"))]
    return [named[name].data() for name in sorted(moving)]


def _by_name(network) -> dict:
    named = network._collect_params_with_prefix()
    return {name: named[name].data() for name in sorted(named)}


# ---- the run folder


class FolderOfRoot:
    """The run folder as all processes of a training see it: the process of rank 0 has it, the others ask.

    Every process calls the same methods in the same order. Rank 0 reads and writes; what it reads, or the error that it
    meets, is sent to the others. Rank 0 alone returns from `events` with something to write to.
    """

    SENT = (
        "finished", "begun", "given_up", "training_matrix", "statistics", "matrices", "evaluation", "predictions",
        "made_with", "logged",
    )  # fmt: skip
    OF_ROOT = (
        "save", "save_if_due", "save_best", "finish", "log", "give_up", "save_matrices", "save_evaluation",
        "save_predictions", "save_examples", "write", "add_time", "events",
    )  # fmt: skip

    def __init__(self, folder: RunFolder | None, config: dict, communicator: Communicator, tensorboard: bool):
        self._folder, self._communicator = folder, communicator
        self._config, self._tensorboard = config, tensorboard

    def __getattr__(self, name: str):
        if name in self.SENT:
            return lambda *given: self._communicator.from_root(lambda: getattr(self._folder, name)(*given))
        if name in self.OF_ROOT:
            return getattr(self._folder, name) if self._folder is not None else _nothing
        raise AttributeError(name)

    @property
    def sharing(self) -> str:
        """As that of `RunFolder`."""
        return self._folder.sharing if self._folder is not None else ""

    @sharing.setter
    def sharing(self, words: str) -> None:
        if self._folder is not None:
            self._folder.sharing = words

    def matrix_name(self, phase: str) -> str:
        """As `RunFolder.matrix_name`."""
        return RunFolder.matrix_name(self, phase)

    @property
    def config(self) -> dict:
        """The run's configuration."""
        return self._config

    @property
    def path(self) -> Path | None:
        """Where it is, at rank 0."""
        return self._folder.path if self._folder is not None else None

    @property
    def tensorboard(self) -> bool:
        """Whether rank 0 writes event files."""
        return self._tensorboard

    def checkpoint(self, phase: str) -> Path:
        """As `RunFolder.checkpoint`; the other processes than rank 0 find nothing there."""
        return self._folder.checkpoint(phase) if self._folder is not None else Path(f"rank 0/{phase}.npz")

    def resume(self, phase: str, network, trainer) -> Position:
        """As `RunFolder.resume`; in the other processes network and trainer stay as they are: see `Trainee.spread`."""
        return self._communicator.from_root(lambda: self._folder.resume(phase, network, trainer))


def _nothing(*_, **__) -> None:
    return None


def read_everywhere(path, parallel: Parallel, read: Callable):
    """`read(path)` of a file that rank 0 has, in every process."""
    if parallel.communicator.size == 1:
        return read(path)
    content = parallel.communicator.from_root(lambda: Path(path).read_bytes())
    if parallel.is_root:
        return read(path)
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / Path(path).name
        files.write_bytes(copy, content)
        return read(copy)
