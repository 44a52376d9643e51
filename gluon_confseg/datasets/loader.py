"""Worker processes that prepare batches in shared memory, in order; a worker that dies is an error at once, one that
stands still is an error after a while.

A worker is a fresh interpreter with NumPy and OpenCV, which never imports MXNet nor the program's main module: it is no
fork of a process in which MXNet's threads run, and a script needs no `if __name__ == "__main__"`.
A socket leads to each. When it closes, the other side is gone: the program tells by it that a worker died, and
a worker that the program did. Batches are written where the program reads them; only their names go through the socket.
"""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import traceback
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from multiprocessing import reduction
from multiprocessing.connection import Connection, Pipe, wait

import cv2

from gluon_confseg.datasets.memory import Memory, Slots
from gluon_confseg.errors import RunError
from gluon_confseg.runtime import WORKER

# one thread each: workers are what fills the cores
_ENVIRONMENT = {WORKER: "1", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
PATIENCE = 120.0  # seconds without an answer of any worker


class WorkerTraceback(Exception):
    """Where in a worker an error was raised; the cause of the error that the program sees."""


# ---- in the program


def start_process(module: str, *arguments: int) -> tuple[Connection, subprocess.Popen]:
    """A fresh interpreter that runs `work(descriptor, *arguments)` of a module here, and our end of its socket."""
    ours, theirs = Pipe()
    with theirs:
        numbers = ", ".join(map(str, (theirs.fileno(), *arguments)))
        command = f"from gluon_confseg.datasets import {module}; {module}.work({numbers})"
        process = subprocess.Popen(
            [sys.executable, "-c", f"import sys; sys.path[:] = {sys.path!r}; {command}"],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=2,  # what a data set prints must not get into the program's answer
            env={**os.environ, **_ENVIRONMENT},
        )
    return ours, process


class Order:
    """One batch that was asked for: the job, the memory it goes to, and the answer once there is one."""

    def __init__(self, job, memory: Memory):
        self.job, self.memory, self.answer, self.dropped = job, memory, None, False


class Worker:
    """One process, what it was asked for and has not answered, and the memories it writes to."""

    def __init__(self):
        self.connection, self.process = start_process("loader")
        self.orders: deque[Order] = deque()
        self.slots, self._numbers = Slots(), {}

    def ask(self, job) -> Order:
        """Send a job, and the memory it goes to where that is a new one."""
        order = Order(job, self.slots.take())
        self.orders.append(order)
        new = order.memory not in self._numbers
        number = self._numbers.setdefault(order.memory, len(self._numbers))
        self.connection.send((number, new, job))
        if new:
            reduction.send_handle(self.connection, order.memory.descriptor, self.process.pid)
        return order

    def hear(self) -> None:
        """Take one answer."""
        answer = self.connection.recv()
        order = self.orders.popleft()
        order.answer = answer
        if order.dropped or answer[0] != "done":
            self.slots.give(order.memory)

    def stop(self) -> None:
        """End the process; what it was doing is not wanted any more."""
        self.connection.close()
        self.process.kill()
        self.process.wait()


class Workers:
    """Processes that run `task(job, allocate)` for one job after the other.

    task    is pickled once; it calls `allocate(layout)` for the arrays of its result, fills them, and returns
            what else there is to say; `task.names(job)` are the samples of a job, for the message when one dies
    """

    def __init__(self, task: Callable, count: int):
        self.task = task
        try:
            content = pickle.dumps(task, pickle.HIGHEST_PROTOCOL)
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            raise RunError(
                f"The data set can't be handed to worker processes ({error}); "
                f"keep lambdas and open files out of it, or use workers=0."
            ) from error
        self._workers: list[Worker] = []
        self._stop = weakref.finalize(self, _stop, self._workers)
        for _ in range(count):
            self._workers.append(self._guarded(None, Worker))
        for worker in list(self._workers):  # when all are starting: a long task waits until its worker reads
            self._guarded(worker, worker.connection.send_bytes, content)

    def run(self, jobs: Iterable, ahead: int) -> Iterator[tuple]:
        """(arrays, what the task returned) of each job, in order, while the next `ahead` are worked on.

        Arrays stay as they are for as long as they are held. An error arrives where its job's result is asked for.
        """
        pending: deque[tuple[Worker, Order]] = deque()
        try:
            for job in jobs:
                worker = min(self._workers, key=lambda one: len(one.orders))
                # of equals the one that was asked longest ago, so that all come to hold as many memories
                self._workers.remove(worker)
                self._workers.append(worker)
                pending.append((worker, self._guarded(worker, worker.ask, job)))
                if len(pending) > ahead:
                    yield self._result(*pending.popleft())
            while pending:
                yield self._result(*pending.popleft())
        finally:
            for worker, order in pending:
                order.dropped = True
                if order.answer is not None and order.answer[0] == "done":
                    worker.slots.give(order.memory)

    def close(self) -> None:
        """End the processes."""
        self._stop()

    @property
    def processes(self) -> list[int]:
        """Ids of the processes that run."""
        return [worker.process.pid for worker in self._workers]

    def _result(self, worker: Worker, order: Order) -> tuple:
        while order.answer is None:
            for _ in range(10):  # so that at most a tenth passes while the program itself is stopped (Ctrl-Z)
                found = wait([one.connection for one in self._workers], PATIENCE / 10)
                if found:
                    break
            else:
                process, samples = worker.process.pid, self.task.names(worker.orders[0].job)
                self.close()
                raise RunError(
                    f"No worker process has prepared a batch for {PATIENCE:.0f} seconds, and process {process} was to "
                    f"work on {_few(samples)}; see that nothing stops the processes (kill -STOP) and that the disk "
                    f"answers, then start again, with workers=0 to see it happen."
                )
            for connection in found:
                heard = next(one for one in self._workers if one.connection is connection)
                self._guarded(heard, heard.hear)
        kind, *content = order.answer
        if kind == "done":
            layout, said = content
            return worker.slots.lend(order.memory, layout), said
        error, text = content
        raise error from WorkerTraceback(text)

    def _guarded(self, worker: Worker | None, function: Callable, *arguments):
        """Call a function that talks to a worker; where that is gone, all end, and RunError says on what it worked."""
        try:
            return function(*arguments)
        except (EOFError, ConnectionError) as error:
            status = worker.process.wait() if worker else None
            samples = self.task.names(worker.orders[0].job) if worker and worker.orders else ()
            self.close()
            how = f"ended with status {status}"
            if status is not None and status < 0:
                how = f"was killed by {signal.Signals(-status).name}"
                if status == -signal.SIGKILL:
                    how += " (is the machine short of memory?)"
            raise RunError(
                f"A worker process that prepares batches {how} while it worked on {_few(samples) or 'nothing yet'}; "
                f"start again, with fewer workers or smaller batches, or with workers=0 to see it happen."
            ) from error
        except OSError as error:
            self.close()
            raise RunError(f"Worker processes can't be started or asked ({error}); use workers=0.") from error


def _stop(workers: list[Worker]) -> None:
    while workers:
        workers.pop().stop()


def _few(samples) -> str:
    """The first five names, and how many more there are."""
    samples = list(samples)
    return ", ".join(samples[:5]) + (f" and {len(samples) - 5} more" if len(samples) > 5 else "")


# ---- in a worker


def work(descriptor: int) -> None:
    """The life of a worker: prepare what is asked for until the other side of the socket closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the program's: it closes the socket
    cv2.setNumThreads(1)
    connection = Connection(descriptor)
    memories: dict[int, Memory] = {}
    try:
        task = _received(connection)
        while True:
            number, new, job = connection.recv()
            if new:
                memories[number] = Memory(reduction.recv_handle(connection))
            connection.send(_answer(task, job, memories[number]))
    except (EOFError, ConnectionError):
        os._exit(0)  # the program is done or gone


def _received(connection: Connection) -> Callable:
    """The task; or, where it can't be unpickled here, one that says why."""
    content = connection.recv_bytes()
    try:
        return pickle.loads(content)
    except Exception as error:
        sentence = (
            f"The data set can't be rebuilt in a worker process ({error}); "
            f"define its class in a module, not in the script, or use workers=0."
        )

    def unusable(job, allocate):
        raise RunError(sentence)

    return unusable


def _answer(task: Callable, job, memory: Memory) -> tuple:
    layouts = []

    def allocate(layout):
        layouts.append(layout)
        return memory.arrays(layout)

    try:
        said = task(job, allocate)
        return "done", layouts[-1], said
    except Exception as error:
        text = traceback.format_exc()
        try:
            pickle.loads(pickle.dumps(error))
        except Exception:  # it can't be sent
            error = RunError(f"{type(error).__name__}: {error}")
        return "failed", error, text
