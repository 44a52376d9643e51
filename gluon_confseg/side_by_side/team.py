"""The processes that train phases for a run: they get work, and the run's process does what they ask for."""

from __future__ import annotations

import contextlib
import pickle
from collections.abc import Callable
from multiprocessing.connection import wait

from .. import build, losses, runtime, signals
from ..datasets.loader import WorkerTraceback
from ..errors import RunError, Stopped
from ..progress import Relayed, WholeRun
from .worker import Worker
from .worker_process import STOP


class Team:
    """The processes that train phases of a run, in a `with` block, after which there are none.

    An error that ends the block, such as a signal, stops the phases that are being trained as soon as their step is
    done and saved.
    """

    def __init__(self, complete: Callable, job, folder, whole: WholeRun):
        self.complete, self.job, self.folder, self.whole = complete, job, folder, whole
        self.threads = runtime.threads() or 1
        self.on_gpu = job.device is not None and job.device.device_type == "gpu"
        self._workers: list[Worker] = []
        self._downloaded = set()

    def __enter__(self) -> Team:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in [worker for worker in self._workers if worker.shown is None]:
            self._remove(worker)
        while self._workers:
            with contextlib.suppress(Stopped):  # another signal: then they are told again, and do not wait
                self._stop()

    @property
    def training(self) -> list:
        """The phases that are being trained in other processes."""
        return [worker.phase for worker in self._workers if worker.shown is not None]

    def start(self, phase, threads: int) -> None:
        """Begin to do what is left of a phase, in a process with so many threads."""
        self.count_labels(phase)
        # downloaded here and once: two processes at once would write into one file
        if phase.pretrained and phase.encoder not in self._downloaded:
            matrix = self.folder.training_matrix(phase.matrix) if phase.reads_matrix else None
            build.construct(phase, self.job.data.labels, matrix, seed=self.job.recipe.seed)
            self._downloaded.add(phase.encoder)
        (worker,) = self._waiting(threads, 1)
        with signals.Signals() as caught, caught.held():
            worker.phase, worker.shown = phase, Relayed(phase.name, self.whole)
            worker.tell("complete", phase)
        self.whole.at_once = len(self.training)

    def count_labels(self, phase) -> None:
        """Count the labels for a phase whose loss needs that, here, where it is shown, and once for all processes."""
        if phase.loss in losses.OTHER_LOSSES:
            self.folder.statistics(self.job.data.train)

    def serve(self) -> None:
        """Wait for messages of the processes that train, and do what they ask for."""
        with signals.Signals() as caught:
            workers = {worker.connection: worker for worker in self._workers if worker.shown is not None}
            for connection in wait(list(workers)):
                with caught.held():
                    self._serve(workers[connection])

    def times(self, phases, threads: int) -> list:
        """Seconds of a step of each of these phases, at once in processes of so many threads each."""
        workers, found = self._waiting(threads, len(phases)), {}
        try:
            for worker, phase in zip(workers, phases):
                worker.phase = phase
                worker.tell("time", phase)
            for worker in workers:  # all begin their timed steps together
                self._answer(worker, "warm")
            for worker in workers:
                worker.tell("go")
            for worker in workers:
                found[worker] = self._answer(worker, "timed")
        except BaseException:
            for worker in workers:
                self._remove(worker)
            raise
        for worker in workers:
            worker.phase = None
        return [found[worker] for worker in workers]

    def _answer(self, worker: Worker, wanted: str):
        while True:
            kind, *content = worker.hear()
            if kind == wanted:
                return content[0]
            if kind == "failed":
                error, text = content
                raise error from WorkerTraceback(text)
            # what it says of steps that are thrown away ("say") is not for the reader

    def _waiting(self, threads: int, count: int) -> list:
        """So many processes that wait for work; those that wait with another number of threads are ended."""
        for worker in [worker for worker in self._workers if worker.phase is None]:
            if worker.threads != threads:
                self._remove(worker)
        found = [worker for worker in self._workers if worker.phase is None][:count]
        folder = self.folder
        try:
            place = (folder.path.absolute(), folder.config, folder.save_every, folder.tensorboard)
            setting = (self.complete, self.job, *place)
            content = pickle.dumps(setting, pickle.HIGHEST_PROTOCOL)
            new = []
            for _ in range(count - len(found)):
                new.append(Worker(threads))
                self._workers.append(new[-1])
            for worker in new:  # when all are starting: a long setting waits until its process reads
                worker.begin(content)
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            raise RunError(
                f"the data set can't be handed to another process ({error}); keep lambdas and open files out of it, or "
                "train one phase after the other (jobs=1)"
            ) from error
        return found + new

    def _serve(self, worker: Worker) -> None:
        try:
            kind, *content = worker.hear()
        except RunError:
            self._remove(worker)
            raise
        if kind in ("log", "save_matrices"):
            done = "refused"
            try:
                getattr(self.folder, kind)(*content)
                done = "written"
            finally:
                worker.tell(done)
        elif kind == "done":
            worker.phase = worker.shown = None
            self.whole.at_once = max(1, len(self.training))
        elif kind == "failed":
            self._remove(worker)
            error, text = content
            raise error from WorkerTraceback(text)
        elif kind == "stopped":
            self._remove(worker)
            raise RunError(
                f"the process that trained {worker.phase.name} was stopped; the same command goes on"
            )
        else:
            worker.shown.show(kind, *content)

    def _stop(self) -> None:
        """Stop the phases that are being trained, and wait until they are saved."""
        for worker in self._workers:
            worker.process.send_signal(STOP)
        while self._workers:
            with contextlib.suppress(Exception):  # the run ends with the error that came first
                self.serve()
            for worker in [worker for worker in self._workers if worker.shown is None]:
                self._remove(worker)

    def _remove(self, worker: Worker) -> None:
        worker.end()
        self._workers.remove(worker)
