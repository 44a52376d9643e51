"""Signals that end long work: Ctrl-C, a machine that is shut down (SIGTERM), a terminal that closes (SIGHUP)."""

from __future__ import annotations

import contextlib
import os
import signal
import threading

from .errors import Stopped

ENDING = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


def only(number: int) -> None:
    """From now on the signal `number` ends this process's long work, and the usual ones, which a terminal sends to all
    processes of a command, are ignored."""
    global ENDING
    for usual in ENDING:
        signal.signal(usual, signal.SIG_IGN)
    ENDING = (number,)
    signal.signal(number, stop)


def stop(number: int, frame) -> None:
    """A handler that raises `Stopped`; soon after, where it meets a destructor, which would lose the exception."""
    while frame is not None:
        if frame.f_code.co_name == "__del__":
            again = threading.Timer(0.01, os.kill, (os.getpid(), number))
            again.daemon = True
            again.start()
            return
        frame = frame.f_back
    raise Stopped(number)


class Signals:
    """A context in which the signals ENDING raise `Stopped`: at once, or, during a `held` block, at its end.

    A second signal during the block does not wait for its end. `torn` then says that the block was interrupted, and
    that what it was changing must not be saved.
    together    other processes take part in the blocks: a block's end then raises the signal that all `agree` on
    Signals that the process was told to ignore (`nohup`) stay ignored. Outside of the main thread this does nothing.
    """

    def __init__(self, *, together: bool = False):
        self._holding, self.caught, self._before, self.torn = False, 0, {}, False
        self._together, self._agreed = together, 0

    def __enter__(self) -> Signals:
        if threading.current_thread() is threading.main_thread():
            for number in ENDING:
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, kind, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if kind is None and self._together and self.caught:  # too late for the others to agree
            raise Stopped(self.caught)

    def agree(self, number: int) -> None:
        """The signal that some process caught, or 0; all processes say the same in the same block."""
        self._agreed = number

    def _handle(self, number: int, frame) -> None:
        if self._holding and not self.caught:
            self.caught = number
        else:  # a second one does not wait
            stop(number, frame)

    @contextlib.contextmanager
    def held(self):
        """A block that must not be interrupted half way, such as a step and its counters."""
        self._holding = self.torn = True
        try:
            yield
            self.torn = False
        finally:
            self._holding = False
        ending = self._agreed if self._together else self.caught
        if ending:
            self.caught = 0
            raise Stopped(ending)
