"""A process that trains phases, as the process of the run sees it: its start, its end, and the messages to and from it.

It is a fresh interpreter, since MXNet reads the number of threads when it is loaded, and can't be forked. A socket
leads to it. What it does is in `worker_process`.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from multiprocessing.connection import Pipe

from .. import signals
from ..errors import RunError


class Worker:
    """A process that works on one phase of this run after the other.

    phase   the one that it works on; None while it waits
    shown   what shows its lines and progress while it trains; None while it waits or measures
    """

    def __init__(self, threads: int):
        self.threads, self.phase, self.shown = threads, None, None
        self.connection, theirs = Pipe()
        command = f"from gluon_confseg import side_by_side; side_by_side.work({theirs.fileno()})"
        # it inherits which signals are blocked: Ctrl-C, which a terminal sends to it as well, is for the run alone
        before = signal.pthread_sigmask(signal.SIG_BLOCK, signals.ENDING)
        try:
            with theirs:
                self.process = subprocess.Popen(
                    [sys.executable, "-c", f"import sys; sys.path[:] = {sys.path!r}; {command}"],
                    pass_fds=[theirs.fileno()],
                    stdin=subprocess.DEVNULL,
                    stdout=2,  # nothing but the command's result goes to its stdout
                    env={**os.environ, "OMP_NUM_THREADS": str(threads), "OPENBLAS_NUM_THREADS": str(threads)},
                )
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def begin(self, setting: bytes) -> None:
        """Send what all that it does has in common. Raises RunError where the process is gone."""
        with self._told_if_gone():
            self.connection.send_bytes(setting)

    def tell(self, *message) -> None:
        """Send a message. Raises RunError where the process is gone."""
        with self._told_if_gone():
            self.connection.send(message)

    def hear(self) -> tuple:
        """Wait for a message. Raises RunError where the process is gone."""
        with self._told_if_gone():
            return self.connection.recv()

    @contextlib.contextmanager
    def _told_if_gone(self):
        try:
            yield
        except (EOFError, OSError) as error:
            status = self.process.wait()
            how = f"ended with status {status}"
            if status < 0:
                how = f"was killed by {signal.Signals(-status).name}"
            if status == -signal.SIGKILL:
                how += " (is the machine short of memory? with --jobs 1 one phase is trained after the other)"
            name = self.phase.name if self.phase else "a phase"
            raise RunError(
                f"the process that trained {name} {how}; the same command goes on from its last saved state"
            ) from error

    def end(self) -> None:
        """End the process; what it was doing is not wanted any more."""
        if self.shown is not None:
            self.shown.close()
        self.connection.close()
        self.process.kill()
        self.process.wait()
