"""What worker processes say to each other."""

from __future__ import annotations

import atexit
import contextlib
import hashlib
import os
import pickle
import queue
import socket
import sys
import threading
from collections.abc import Callable

import numpy as np

from ..errors import ConfSegError, RunError, Stopped
from .watch import GOES_ON, Watch

_LEFT_IN_TIME = 15  # seconds in which the watch finds out who died, after an operation has failed


class Communicator:
    """A process without others: rank 0 of 1, whose collective operations change nothing and wait for nobody.

    It is the base of the kinds that have others. There every operation is collective: all ranks call it, in the same
    order, and it returns when its result is there. If another worker dies or leaves with an error, the operation is a
    RunError that says so; if another was stopped by a signal, it is `Stopped` by the same signal.
    As a context manager it is closed at the end; after an exception the process ends without waiting for others.
    """

    rank = 0
    size = 1
    local_rank = 0  # among the processes of this machine
    local_size = 1

    def allreduce(self, arrays: list) -> None:
        """Sum float NDArrays of any shapes over all ranks, in place.

        The order of summation depends on the number of ranks alone, so that the bits are the same in each run, and at
        every rank. float16 is summed in float32.
        """

    def broadcast(self, arrays: list) -> None:
        """Give NDArrays (float16, 32 and 64, int32, int64) the values that they have at rank 0, in place."""

    def allgather(self, thing) -> list:
        """What every rank gave, in the order of ranks; it must be picklable."""
        return [thing]

    def from_root(self, make: Callable[[], object]) -> object:
        """Call `make` at rank 0; every rank returns its picklable result, or raises what it raised."""
        return make()

    def barrier(self) -> None:
        """Wait until every rank is here."""

    def close(self) -> None:
        """Leave in order, together with all other ranks."""

    def abort(self, error: BaseException) -> None:
        """Leave without the other ranks, which are told why."""

    def __enter__(self):
        return self

    def __exit__(self, kind, error, traceback) -> None:
        if error is None:
            self.close()
        else:
            self.abort(error)


class Together(Communicator):
    """What the kinds with other processes share. They give `_sum`, `_spread`, `_gather` and `_finalize`.

    Operations run in a thread of their own, because MXNet waits for them in C++, where neither Ctrl-C nor the death of
    another worker would be noticed.
    """

    name = ""  # as in --kvstore

    def __init__(self, rank: int, size: int, root: str):
        """root: an address of the launcher or of rank 0, by which this machine's own address is found."""
        self.rank, self.size = rank, size
        self._orders: queue.SimpleQueue = queue.SimpleQueue()
        self._unfinished = self._left = False
        self._watch = None
        threading.Thread(target=self._work, name="communication", daemon=True).start()
        hosts = self.allgather(socket.gethostname())
        self.local_rank, self.local_size = hosts[:rank].count(hosts[rank]), hosts.count(hosts[rank])
        if size > 1:
            self._watch = Watch(rank, size, root, self.allgather)

    # ---- what a kind gives

    def _sum(self, flat):
        """The sum of a one-dimensional float32 or float64 NDArray over all ranks, as such an array."""
        raise NotImplementedError

    def _spread(self, array: np.ndarray) -> np.ndarray:
        """Rank 0's values of an array, whose shape and type all ranks know."""
        raise NotImplementedError

    def _gather(self, data: np.ndarray, lengths: list | None) -> list:
        """One-dimensional uint8 arrays of all ranks; lengths: of each, None where all are as long as this one."""
        raise NotImplementedError

    def _finalize(self) -> None:
        """Close the connections, where every rank does it."""
        raise NotImplementedError

    # ---- collective operations

    def allreduce(self, arrays: list) -> None:
        self._wait(lambda: self._allreduce(arrays))

    def _allreduce(self, arrays: list) -> None:
        import mxnet as mx

        # one flat array for each type and device: an operation's cost is mostly its latency
        together: dict = {}
        for array in arrays:
            wide = np.dtype("float64" if array.dtype == np.float64 else "float32")
            together.setdefault((wide.name, array.context), []).append(array)
        for (wide, _), parts in together.items():
            flat = self._sum(mx.nd.concat(*[part.reshape(-1).astype(wide) for part in parts], dim=0))
            start = 0
            for part in parts:
                end = start + part.size
                part[:] = flat[start:end].reshape(part.shape).as_in_context(part.context).astype(part.dtype)
                start = end
        for array in arrays:
            array.wait_to_read()

    def broadcast(self, arrays: list) -> None:
        self._wait(lambda: self._broadcast(arrays))

    def _broadcast(self, arrays: list) -> None:
        import mxnet as mx

        for array in arrays:
            values = self._spread(array.asnumpy())
            if self.rank and values.dtype.kind == "f":
                # an array, since oneDNN may hold a convolution's weights in an order that NumPy can't write to
                mx.nd.array(values, ctx=array.context, dtype=values.dtype).copyto(array)
            elif self.rank:
                array[:] = values  # from NumPy: MXNet's own arrays lose int64 values beyond 2^31
            array.wait_to_read()

    def allgather(self, thing) -> list:
        return self._wait(lambda: self._allgather(thing))

    def _allgather(self, thing) -> list:
        data = np.frombuffer(pickle.dumps(thing, protocol=4), np.uint8)
        length = np.array([data.size], np.int64).view(np.uint8)
        lengths = [int(each.view(np.int64)[0]) for each in self._gather(length, None)]
        return [pickle.loads(each.tobytes()) for each in self._gather(data, lengths)]

    def from_root(self, make: Callable[[], object]) -> object:
        outcome = (True, None)
        if self.rank == 0:
            try:
                outcome = (True, make())
                pickle.dumps(outcome)
            except (Exception, KeyboardInterrupt) as error:
                outcome = (False, error)
        fine, result = self._wait(lambda: self._from_root(outcome))
        if not fine:
            raise result
        return outcome[1] if self.rank == 0 else result

    def _from_root(self, outcome: tuple) -> tuple:
        if self.rank:
            data = np.zeros(0, np.uint8)
        else:
            data = np.frombuffer(
                pickle.dumps(outcome if outcome[0] else (False, sendable(outcome[1]))), np.uint8
            )
        length = int(self._spread(np.array([data.size], np.int64))[0])
        received = self._spread(data if self.rank == 0 else np.zeros(length, np.uint8))
        return outcome if self.rank == 0 else pickle.loads(received.tobytes())

    def barrier(self) -> None:
        self.allgather(None)

    # ---- leaving

    def close(self) -> None:
        if self._left:
            return
        self.barrier()
        self._left = True
        if self._watch is not None:
            self._watch.close()
        self._wait(self._finalize)

    def abort(self, error: BaseException) -> None:
        if self._left:
            return
        self._left = True
        signal = getattr(error, "signal", 2) if isinstance(error, KeyboardInterrupt) else None
        if self._watch is not None:
            self._watch.leave(str(error) if isinstance(error, ConfSegError) else repr(error), signal)
        # Horovod's and ps-lite's own ends wait for the others, which may be dead
        atexit.register(_leave, 1 if signal is None else 128 + signal)

    # ---- the thread that waits

    def _work(self) -> None:
        while True:
            task, answer = self._orders.get()
            try:
                answer.put((True, task()))
            except BaseException as error:
                answer.put((False, error))

    def _wait(self, task: Callable[[], object]) -> object:
        """Run an operation in its thread; returns its result. Looks for the death of others meanwhile."""
        if self._unfinished:
            raise RunError("an operation between the workers was interrupted, so they are no longer in step")
        answer: queue.SimpleQueue = queue.SimpleQueue()
        self._unfinished = True  # stays so where an exception, such as Stopped, ends the wait
        self._orders.put((task, answer))
        while True:
            try:
                fine, result = answer.get(timeout=0.25)
                break
            except queue.Empty:
                self._look()
        if not fine:
            if self._watch is not None:
                self._watch.wait(_LEFT_IN_TIME)
                self._look()
            if isinstance(result, (RunError, MemoryError)):
                raise result
            last = (str(result).strip().splitlines() or [type(result).__name__])[-1].strip()
            raise RunError(f"the connection between the workers broke ({last}); {GOES_ON}") from result
        self._unfinished = False
        return result

    def _look(self) -> None:
        lost = self._watch.lost if self._watch is not None else None
        if lost is not None and not self._left:
            if lost.signal is not None:
                raise Stopped(lost.signal)
            raise RunError(lost.sentence())


def sendable(error: BaseException) -> BaseException:
    """The error itself, where another process can read it, or else a RuntimeError of the same words."""
    with contextlib.suppress(Exception):
        if type(pickle.loads(pickle.dumps(error))) is type(error):
            return error
    return RuntimeError(f"{type(error).__name__}: {error}")


def _leave(status: int) -> None:
    """End this process at once, when Python is at its end and all is printed."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(status)


def same_parameters(communicator: Communicator, arrays: list, names: list) -> None:
    """RunError, at every rank, that names the first parameter whose values differ between ranks, and the rank.

    arrays  NDArrays, in the same order at every rank
    names   the name of each
    """
    hashes = []
    for array in arrays:
        values = array.asnumpy()
        found = hashlib.sha256(f"{values.dtype} {values.shape}".encode())
        found.update(np.ascontiguousarray(values).tobytes())
        hashes.append(found.hexdigest())
    every = communicator.allgather(list(zip(names, hashes)))
    for rank, found in enumerate(every):
        if len(found) != len(every[0]):
            raise RunError(f"rank {rank} has {len(found)} parameters and rank 0 has {len(every[0])}")
        for (name, value), (expected, root) in zip(found, every[0]):
            if name != expected:
                raise RunError(f"rank {rank} has the parameter {name} where rank 0 has {expected}")
            if value != root:
                raise RunError(
                    f"the parameter {name} differs between rank {rank} and rank 0, so that the workers would train "
                    f"different networks; use the same version of gluon-confseg everywhere, and start them again"
                )
