"""What the workers of test_loader.py do: a module of its own, which they import without pytest."""

from __future__ import annotations

import os
import signal
import sys
import time

from gluon_confseg.errors import DatasetError


class Task:
    """Fills an array with its job; some jobs do something else."""

    def names(self, job) -> tuple:
        return (f"sample {job}", f"neighbour of {job}")

    def __call__(self, job, allocate):
        if job == "exit":
            os._exit(3)
        if job == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if job == "stop":
            os.kill(os.getpid(), signal.SIGSTOP)
        if job == "sleep":
            time.sleep(60)
        if job == "raise":
            raise DatasetError("street.png: is damaged; copy it again.")
        if job == "odd error":
            raise Odd(lambda: 1)
        if job == "modules":
            return allocate([((1,), "uint8")]) and "mxnet" in sys.modules
        if job == "id":
            return allocate([((1,), "uint8")]) and os.getpid()
        numbers, more = allocate([((3, 2), "float32"), ((job,), "uint8")])
        numbers[:], more[:] = job, job
        return f"number {job}"


class Odd(Exception):
    """Can't be pickled."""
