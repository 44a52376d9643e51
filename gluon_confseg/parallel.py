"""How the work of a training is shared: by worker processes, by the devices of a process, and by shares of a batch that
a device computes one after the other (gradient accumulation).

A batch is cut into shares, first by rank, then by device, then by turn. The gradients of all shares are summed, and
every device makes the same update. A sample's loss and gradient do not depend on the other samples of its batch, so
the result is that of the whole batch on one device up to rounding, with these exceptions: batch norms that take their
statistics from the batch take them from a share of it, unless they are frozen or synchronised; a loss that averages
over the batch averages over a share; and dropout draws other masks.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import mxnet as mx

from . import runtime
from .distributed import Communicator
from .errors import RunError


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


def cut(count: int, parts: int) -> list:
    """`count` samples as `parts` slices in order, whose lengths differ by at most 1."""
    ends = [count * number // parts for number in range(parts + 1)]
    return [slice(first, last) for first, last in zip(ends, ends[1:])]
