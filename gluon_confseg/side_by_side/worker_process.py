"""What a process that trains phases for the process of a run does: what it is asked for, until one of the two ends.

It writes the files of its phase; what phases share (the log, the matrices) and what is shown goes through the socket.
When the socket closes, the other side is gone: the process then ends at once, and the run says so.
"""

from __future__ import annotations

import contextlib
import gc
import os
import pickle
import queue
import signal
import threading
import traceback
import warnings
from collections.abc import Callable
from multiprocessing.connection import Connection

from .. import progress, signals
from ..errors import RunError, Stopped
from ..progress import WholeRun
from ..run_folder import PartOfRun
from .stopwatch import time_steps

STOP = signal.SIGUSR1  # to a process that trains: finish the step, save, end


def work(descriptor: int) -> None:
    """The life of a `Worker`'s process: do what is asked for until it is stopped, or the run's process is gone."""
    signals.only(STOP)
    connection, orders, answers = Connection(descriptor), queue.SimpleQueue(), queue.SimpleQueue()
    # a signal interrupts the main thread alone, so that no message can be sent or read by half
    speaker = threading.Thread(target=_speak, args=(connection, answers), daemon=True)
    try:
        setting = connection.recv_bytes()
        threading.Thread(target=_listen, args=(connection, orders), daemon=True).start()
        speaker.start()
        _work(setting, orders, lambda *message: answers.put(message))
    except (EOFError, OSError):
        os._exit(1)
    except Stopped:
        answers.put(("stopped",))
    answers.put(None)
    speaker.join()
    os._exit(0)


def _work(setting: bytes, orders: queue.SimpleQueue, send: Callable) -> None:
    def ask(*message) -> None:
        send(*message)
        if orders.get() != ("written",):
            raise Stopped(STOP)  # the run failed to write it, and ends

    def warm() -> None:
        send("warm", None)
        orders.get()

    def note(message, category, *_, **__) -> None:
        if issubclass(category, RuntimeWarning):  # the others are libraries' complaints about each other
            send("say", f"Note: {' '.join(str(message).split())}")

    warnings.showwarning, folder = note, None
    while True:
        order, phase = orders.get()
        try:
            if folder is None:
                complete, job, *place = pickle.loads(setting)
                folder = PartOfRun(*place, ask)
            if order == "time":
                send("timed", time_steps(complete, job, phase, folder, warm))
            else:
                progress.relay(send)
                complete(job, phase, folder, WholeRun({}))
                progress.relay(None)
                gc.collect()
                send("done")
        except Exception as error:  # of any kind: the run's process raises it again
            send("failed", _sendable(error), traceback.format_exc())


def _sendable(error: Exception) -> Exception:
    try:
        pickle.loads(pickle.dumps(error))
        return error
    except Exception:
        return RunError(f"{type(error).__name__}: {error}")


def _listen(connection: Connection, orders: queue.SimpleQueue) -> None:
    try:
        while True:
            orders.put(connection.recv())
    except (EOFError, OSError):
        os._exit(1)  # the run's process is gone: what is saved is whole, and the next one may begin at once


def _speak(connection: Connection, answers: queue.SimpleQueue) -> None:
    with contextlib.suppress(OSError):
        while True:
            message = answers.get()
            if message is None:
                return
            connection.send(message)
