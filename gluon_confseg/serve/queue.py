"""The queue in front of the network, and the one thread that runs it, on several pictures of one size at once."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import dataclasses
import logging
import threading
import time
from collections.abc import Callable, Iterator

import numpy as np

from gluon_confseg.datasets import pictures
from gluon_confseg.datasets.photograph import Photograph
from gluon_confseg.errors import DatasetError, RunError
from gluon_confseg.out_of_memory import is_out_of_memory
from gluon_confseg.segmenter import Planes
from gluon_confseg.serve.limits import Limits, Refusal
from gluon_confseg.serve.metrics import Metrics

NAME = "the picture"  # what messages call it: a client's file has no path here
LOG = logging.getLogger("confseg.serve")
_FULL = "as many requests as the service holds ({}) are waiting; ask again in a moment"


@dataclasses.dataclass(eq=False)
class Job:
    """A picture that waits.

    data     PNG or JPEG
    size     (width, height) by its header
    finish   makes the answer of the decoded picture and its `Planes`; called in the network's thread
    close    of `Segmenter.planes`: such a picture goes alone; None: classes are all that is wanted
    """

    data: bytes
    size: tuple[int, int]
    finish: Callable[[Photograph, Planes], object]
    close: float | None = None
    answer: asyncio.Future = None
    loop: asyncio.AbstractEventLoop = None
    since: float = 0.0
    abandoned: bool = False

    def end(self, value=None, error: Exception | None = None) -> None:
        """Hand the answer to the request, from another thread; nothing where the request has given up."""

        def hand_over() -> None:
            if not self.answer.done():
                self.answer.set_result(value) if error is None else self.answer.set_exception(error)

        with contextlib.suppress(RuntimeError):  # the loop has ended, and nobody waits
            self.loop.call_soon_threadsafe(hand_over)


class NetworkQueue:
    """Jobs, first come first served; those behind that have the first one's size go with it.

    The network's calls, and the decoding of pictures, are made in one thread: no more than one batch of pixels is in
    memory, however many wait.
    """

    def __init__(self, segmenter, limits: Limits, metrics: Metrics):
        self._segmenter, self._limits, self._metrics = segmenter, limits, metrics
        self._jobs: collections.deque[Job] = collections.deque()
        self._changed = threading.Condition()
        self._ending, self.admitted, self.answered = False, 0, 0
        self._thread = threading.Thread(target=self._work, name="network", daemon=True)

    def start(self) -> None:
        """Run the network once, in its thread, which builds its graph; raises what it raises."""
        failed: list[BaseException] = []

        def first() -> None:
            try:
                self._segmenter.classes_of_batch([np.zeros((64, 64, 3), np.uint8)])
            except BaseException as error:
                failed.append(error)

        self._first = first
        self._ready = threading.Event()
        self._thread.start()
        self._ready.wait()
        if failed:
            raise failed[0]

    def stop(self) -> None:
        """End the thread when all that waits is done."""
        with self._changed:
            self._ending = True
            self._changed.notify_all()
        self._thread.join()

    @property
    def is_working(self) -> bool:
        """Whether the thread runs and takes jobs."""
        return self._thread.is_alive() and not self._ending

    @contextlib.contextmanager
    def place(self) -> Iterator[None]:
        """A place in the queue for the block, from before a body is read; Refusal 503 where all are taken."""
        if self.admitted >= self._limits.queue:
            raise Refusal(503, _FULL.format(self._limits.queue), retry_after=1)
        self.admitted += 1
        self._metrics.waiting.set(self.admitted)
        try:
            yield
        finally:
            self.admitted -= 1
            self._metrics.waiting.set(self.admitted)

    async def run(self, job: Job):
        """The job's answer. Refusal 422 for a picture that can't be decoded, 503 where it takes too long."""
        job.loop = asyncio.get_running_loop()
        job.answer, job.since = job.loop.create_future(), time.monotonic()
        with self._changed:
            self._jobs.append(job)
            self._changed.notify_all()
        try:
            return await asyncio.wait_for(job.answer, self._limits.answer_seconds)
        except asyncio.TimeoutError:
            raise Refusal(
                503,
                f"there was no answer within {self._limits.answer_seconds:g} seconds; ask again later, or send a "
                "smaller picture",
                retry_after=10,
            ) from None
        finally:
            job.abandoned = True  # where it was not begun, it need not be

    def _work(self) -> None:
        self._first()
        self._ready.set()
        while True:
            with self._changed:
                while not self._jobs and not self._ending:
                    self._changed.wait()
                if not self._jobs:
                    return
                batch = self._take()
            self._segment(batch)
            del batch  # its pictures need not stay until the next one comes

    def _take(self) -> list:
        """The first job, and others of its size; how many go together is a power of two, so that shapes are few."""
        alive = [job for job in self._jobs if not job.abandoned]
        if not alive:
            self._jobs.clear()
            return []
        width, height = alive[0].size
        most = max(1, min(self._limits.batch, self._limits.batch_pixels // (width * height)))
        alike = alive[:1]
        if alive[0].close is None:
            alike = [job for job in alive if job.size == alive[0].size and job.close is None][:most]
        taken = alike[: 2 ** (len(alike).bit_length() - 1)]
        self._jobs = collections.deque(job for job in alive if job not in taken)
        return taken

    def _segment(self, batch: list) -> None:
        now = time.monotonic()
        decoded = []
        for job in batch:
            self._metrics.add("wait", now - job.since)
            try:
                with self._metrics.timed("decode"):
                    photograph = pictures.decode(NAME, job.data)
                if photograph.pixels.shape[1::-1] != job.size:
                    raise DatasetError(f"{NAME}: its header and its pixels are of two sizes; save it anew.")
                decoded.append((job, photograph))
            except DatasetError as error:
                job.end(error=Refusal(422, sentence(error)))
            except Exception as error:
                job.end(error=_failure(error))
        if decoded:
            self._answer(decoded)

    def _answer(self, together: list) -> None:
        try:
            with self._metrics.timed("network"):
                found = self._run_network(together)
        except Exception as error:
            if len(together) == 1:
                together[0][0].end(error=_failure(error))
            else:  # perhaps one is at fault, or all are too much
                for pair in together:
                    self._answer([pair])
            return
        self._metrics.batches.observe(len(together))
        for (job, photograph), planes in zip(together, found):
            self.answered += 1
            self._metrics.pixels.inc(planes.classes.size)
            try:
                with self._metrics.timed("encode"):
                    answer = job.finish(photograph, planes)
                job.end(answer)
            except Exception as error:
                job.end(error=_failure(error))

    def _run_network(self, together: list) -> list:
        shown = [photograph.pixels for _, photograph in together]
        close = together[0][0].close
        if close is not None:
            return [self._segmenter.planes(shown[0], close=close)]
        return [Planes(classes, {}, None, 1) for classes in self._segmenter.classes_of_batch(shown)]


def sentence(error: DatasetError) -> str:
    """A reader's sentence as an answer: in one line, without its full stop."""
    return " ".join(str(error).split()).rstrip(".")


def _failure(error: Exception) -> Refusal:
    # of an open network, a `RunError` says that not even the smallest window of the picture fits
    if is_out_of_memory(error) or isinstance(error, RunError):
        return Refusal(
            503, "there is not enough memory for this picture now; send a smaller one", retry_after=10
        )
    LOG.error("a picture could not be segmented", exc_info=error)
    return Refusal(
        500, "the network failed on this picture; whoever runs the service finds the reason in its log"
    )
