"""Runs one command per seed, some at a time, each a process with one thread: two of those beat one of two threads."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections import deque

from gluon_confseg.errors import RunError, Stopped


def run_each(commands: dict, processes: int) -> None:
    """Run commands (name -> argument list), `processes` at a time; their lines go to stderr behind their names.

    Raises RunError that names the first that failed, when those beside it are done or, interrupted, have stopped.
    Stopped by a signal, it waits until they have saved their state; SIGTERM and SIGHUP are passed on.
    """
    waiting, failed, running, lock = deque(commands.items()), [], [], threading.Lock()

    def work() -> None:
        while True:
            with lock:
                if not waiting or failed:
                    return
                name, command = waiting.popleft()
                try:
                    running.append(_start(command))
                except OSError as error:
                    print(f"{name}: can't be started ({error.strerror})", file=sys.stderr, flush=True)
                    failed.append(name)
                    return
                child = running[-1]
            for line in child.stderr:
                if line.strip():
                    print(f"{name}: {line.rstrip()}", file=sys.stderr, flush=True)
            if child.wait() != 0:
                failed.append(name)

    threads = [threading.Thread(target=work) for _ in range(min(processes, len(commands)))]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    except Stopped as stopped:
        with lock:
            waiting.clear()
            for child in running:
                if stopped.signal != signal.SIGINT:  # which reaches them from the terminal
                    child.terminate()
        for child in running:
            child.wait()  # it finishes its step and saves it, and leaves its run folder free
        raise
    if failed:
        raise RunError(f"{failed[0]} stopped, see its last line above; the same command goes on from there")


def _start(command: list) -> subprocess.Popen:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
