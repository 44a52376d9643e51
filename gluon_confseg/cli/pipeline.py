"""Reading, computing and writing at once: one thread decodes ahead, the caller computes, two threads write.

Results come in the order of the jobs. What is in flight is bounded in number, and in bytes where a limit is known.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

AHEAD = 2  # jobs that are read before they are needed
WRITERS = 2  # threads
_WAITING = 4  # jobs that may wait for their files


class Room:
    """Bytes that jobs in flight may take together; a job larger than all goes alone.

    limit   None: no limit; may be changed by who takes room
    """

    def __init__(self, limit: int | None = None):
        self.limit, self._taken, self._jobs = limit, {}, threading.Condition()
        self._stopped = False

    def take(self, job: int, held: int, network: int) -> None:
        """Wait until a job fits: what it holds until it is written, and what the network takes meanwhile."""
        with self._jobs:
            self._jobs.wait_for(lambda: self._stopped or not self._taken or self._fits(held, network))
            self._taken[job] = held, network

    def give(self, job: int) -> None:
        """A job was written, or failed."""
        with self._jobs:
            self._taken.pop(job, None)
            self._jobs.notify_all()

    def wait_until_empty(self) -> None:
        """Wait until no job is in flight."""
        with self._jobs:
            self._jobs.wait_for(lambda: self._stopped or not self._taken)

    def stop(self) -> None:
        """Nobody waits any more."""
        with self._jobs:
            self._stopped = True
            self._jobs.notify_all()

    def _fits(self, held: int, network: int) -> bool:
        if self.limit is None:
            return True
        # one job at a time is in the network
        most = max([network, *(each[1] for each in self._taken.values())])
        return held + sum(each[0] for each in self._taken.values()) + most <= self.limit


def run(jobs: Iterable, compute: Callable, write: Callable, room: Room) -> Iterator:
    """Yields what `write` returned for each job, in order.

    jobs      (number, job); read in a thread of its own, `AHEAD` of what is computed. Each has taken its `room` by its
              number, which is given back here
    compute   job -> result, in this thread
    write     (job, result) -> anything, in threads of its own
    An error of any of them is raised here, and stops all.
    """
    ready, stopped = queue.Queue(AHEAD), threading.Event()

    def put(kind: str, content) -> bool:
        while not stopped.is_set():
            with contextlib.suppress(queue.Full):
                ready.put((kind, content), timeout=0.1)
                return True
        return False

    def read() -> None:
        try:
            for each in jobs:
                if not put("job", each):
                    return
                del each  # it would be held while the next one is waited for
            put("end", None)
        except BaseException as error:  # raised by who computes
            put("error", error)

    def finish(number: int, held: list):
        job, result = held
        held.clear()
        try:
            return write(job, result)
        finally:
            del job, result  # freed before the next one takes its place
            room.give(number)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    waiting, writers = deque(), ThreadPoolExecutor(WRITERS)
    try:
        while True:
            kind, content = ready.get()
            if kind == "error":
                raise content
            if kind == "end":
                break
            number, job = content
            waiting.append(writers.submit(finish, number, [job, compute(job)]))
            del content, job
            while len(waiting) > _WAITING or (waiting and waiting[0].done()):
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        stopped.set()
        room.stop()
        writers.shutdown(wait=True)
        reader.join(timeout=60)
