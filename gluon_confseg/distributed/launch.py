"""Starts the worker processes of one machine for `dist_sync`, and the parameter server's own processes beside them.

MXNet's wheel brings a launcher, dmlc_tracker, but it fails here: its command imports a package that the wheel does not
bring, and it calls Thread.isAlive, which Python 3.9 removed. Slurm and Kubernetes start this once on each machine.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import sys
import time

from .. import hardware, runtime
from ..errors import RunError
from .watch import address_towards

PORT = 9091
PATIENCE = 20.0  # seconds in which the others of this machine may end by themselves, before they are ended
SERVE = [sys.executable, "-c", "from gluon_confseg.distributed import dist_sync; dist_sync.serve_if_asked()"]


def free_port() -> int:
    """A port of this machine that nobody uses now."""
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as server:
        return server.getsockname()[1]


def environments(workers: int, machines: int, machine: int, address: str | None) -> tuple[list, list]:
    """What the processes of this machine have in their environments: (of the parameter server, of the workers).

    workers     worker processes of each machine
    machine     the number of this one, from 0 on; the scheduler runs on machine 0
    address     HOST or HOST:PORT of machine 0; None where there is no other machine
    """
    if not 0 <= machine < machines:
        raise RunError(f"there is no machine {machine} among {machines}: they are counted from 0 on")
    if address is None and machines > 1:
        raise RunError("several machines need the address of machine 0: give it with --address HOST:PORT")
    host, _, port = (address or f"127.0.0.1:{free_port()}").partition(":")
    if port and not port.isdecimal():
        raise RunError(f"the address {address} has no number as its port: give HOST:PORT")
    try:
        own = address_towards(host)
    except OSError as error:
        raise RunError(f"the address of machine 0, {host}, is not known here: {error}") from None
    shared = {
        "DMLC_PS_ROOT_URI": socket.gethostbyname(host),
        "DMLC_PS_ROOT_PORT": port or str(PORT),
        "DMLC_NUM_WORKER": str(workers * machines),
        "DMLC_NUM_SERVER": str(machines),
        "DMLC_NODE_HOST": own,
    }
    threads = runtime.threads() or max(1, hardware.physical_cores() // workers)
    roles = (["scheduler"] if machine == 0 else []) + ["server"]
    return [{**shared, "DMLC_ROLE": role} for role in roles], [
        {
            **shared,
            "DMLC_ROLE": "worker",
            "DMLC_TASK_ID": str(machine * workers + number),
            "OMP_NUM_THREADS": str(threads),
        }
        for number in range(workers)
    ]


def launch(
    command: list, workers: int, machines: int = 1, machine: int = 0, address: str | None = None
) -> int:
    """Run `command` in every worker process of this machine; returns 0, or the status of the first that failed.

    When one fails, the others, which notice it, have PATIENCE seconds to end. Signals are passed on to the workers. On
    Linux the processes that it starts itself end with this one, however it ends: without the parameter server they
    would wait for ever. (A worker that a shell starts is the shell's: `exec` makes it this one's.)
    """
    servers, own = environments(workers, machines, machine, address)
    helpers, running = [], []
    try:
        started = {"preexec_fn": _ends_with_parent(os.getpid())}
        helpers = [subprocess.Popen(SERVE, env={**os.environ, **each}, **started) for each in servers]
        for each in own:
            # a session of its own: a terminal's Ctrl-C comes once, from here
            own_session = {**started, "start_new_session": True}
            running.append(subprocess.Popen(command, env={**os.environ, **each}, **own_session))
        return wait(running, helpers)
    except FileNotFoundError:
        raise RunError(
            f"there is no program {command[0]}: give the whole command, as in `-- confseg train`"
        ) from None
    except KeyboardInterrupt as error:
        number = getattr(error, "signal", 2)
        for process in running:
            with contextlib.suppress(OSError):
                process.send_signal(number)
        wait(running, helpers, failed=128 + number)
        raise
    finally:
        for process in [*running, *helpers]:
            if process.poll() is None:
                process.kill()
            process.wait()


def _ends_with_parent(parent: int):
    """What a new process calls first, so that the system kills it when its parent is no more; None off Linux."""
    if not sys.platform.startswith("linux"):
        return None
    library = ctypes.CDLL(None)  # loaded here: after a fork, as little as possible may happen
    set_signal, kill = 1, int(signal.SIGKILL)

    def first() -> None:
        library.prctl(set_signal, kill)
        if os.getppid() != parent:  # it ended in between
            os._exit(128 + kill)

    return first


def wait(running: list, helpers: list, failed: int = 0) -> int:
    """Wait for the workers. After the first failure of a worker or a helper, at most PATIENCE seconds more."""
    end = None
    while any(process.poll() is None for process in running):
        for process in [*running, *helpers]:
            if process.poll() not in (None, 0) and not failed:
                failed = process.returncode if process.returncode > 0 else 128 - process.returncode
        if failed and end is None:
            end = time.monotonic() + PATIENCE
        if end is not None and time.monotonic() > end:
            for process in running:
                if process.poll() is None:
                    process.kill()
        time.sleep(0.1)
    statuses = [process.returncode for process in running if process.returncode]
    return failed or next((code if code > 0 else 128 - code for code in statuses), 0)
