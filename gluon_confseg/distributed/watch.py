"""Notices that another worker has died: a connection of every rank to rank 0, on which each says that it lives.

Horovod notices a process that ends, but not a machine that does; with ps-lite, the parameter server of MXNet, the
others wait for ever. The operating system closes the connections of a dead process at once, and silence means that its
machine is dead.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import socket
import threading
import time
from typing import NamedTuple

from ..errors import RunError, plain

EVERY = 5.0  # seconds between signs of life
SILENCE = 40.0  # after so many seconds without one, a worker counts as dead
GOES_ON = "the same command resumes the run from its last saved state"


class Lost(NamedTuple):
    """A worker that left: why, if it said so, and the signal that stopped it, if one did."""

    rank: int
    why: str
    signal: int | None = None

    def sentence(self) -> str:
        """What a user is told."""
        if self.why:
            return f"the worker of rank {self.rank} ended with an error ({plain(self.why)}); {GOES_ON}"
        return f"the worker of rank {self.rank} died, and the others can't go on without it; {GOES_ON}"


def address_towards(host: str) -> str:
    """The address of this machine in the network through which it reaches `host`."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((socket.gethostbyname(host), 9))  # sends nothing
        return probe.getsockname()[0]


class Watch:
    """`lost` says which other worker has left; None while all live."""

    def __init__(self, rank: int, size: int, root: str, allgather):
        self.lost: Lost | None = None
        self._found, self._closing, self._rank = threading.Event(), False, rank
        self._connections: dict[int, socket.socket] = {}
        self._sending = threading.Lock()
        listener, where, failed = None, None, ""
        if rank == 0:
            try:
                listener = socket.create_server(("", 0), backlog=size)
                where = (address_towards(root), listener.getsockname()[1], secrets.token_hex(16))
            except OSError as error:
                failed = f"rank 0 can't listen for the others: {error}"
        where, first = allgather((where, failed))[0]
        if where is not None:
            try:
                self._meet(listener, size, *where)
            except OSError as error:
                failed = f"rank {rank} and rank 0 at {where[0]}, port {where[1]}, do not reach each other ({error})"
        problems = [said for said in allgather(failed or first) if said]
        if problems:
            self._drop()
            raise RunError(f"{problems[0]}; open the ports between the machines of the workers to each other")
        for other, connection in self._connections.items():
            threading.Thread(target=self._listen, args=(other, connection), daemon=True).start()
        threading.Thread(target=self._say, name="signs of life", daemon=True).start()

    def _meet(self, listener, size: int, host: str, port: int, token: str) -> None:
        """Fill `_connections`: rank 0's with all others, theirs with rank 0."""
        if listener is None:
            connection = socket.create_connection((host, port), timeout=SILENCE)
            connection.sendall(json.dumps([token, self._rank]).encode() + b"\n")
            self._connections[0] = connection
            return
        with listener:
            end = time.monotonic() + SILENCE
            while len(self._connections) < size - 1:
                listener.settimeout(max(end - time.monotonic(), 0.01))
                connection, _ = listener.accept()
                connection.settimeout(5)
                with contextlib.suppress(OSError, ValueError):
                    said, rank = json.loads(_line(connection))
                    if said == token:
                        self._connections[int(rank)] = connection
                        continue
                connection.close()

    def wait(self, seconds: float) -> None:
        """Wait until it is known who left, at most so long."""
        self._found.wait(seconds)

    def leave(self, why: str, signal: int | None) -> None:
        """Tell the others that this worker ends, and why."""
        self._closing = True
        self._tell({"rank": self._rank, "why": why, "signal": signal})
        self._drop()

    def close(self) -> None:
        """From now on it is no surprise that others leave."""
        self._closing = True
        self._tell({"closed": True})

    def _tell(self, record: dict, but: int | None = None) -> None:
        for other, connection in list(self._connections.items()):
            if other != but:
                with contextlib.suppress(OSError), self._sending:
                    connection.sendall(json.dumps(record).encode() + b"\n")

    def _drop(self) -> None:
        for connection in self._connections.values():
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_WR)  # what was sent still arrives

    def _say(self) -> None:
        while not self._closing and self.lost is None:
            self._tell({})
            time.sleep(EVERY)

    def _listen(self, other: int, connection: socket.socket) -> None:
        connection.settimeout(SILENCE)
        file = connection.makefile("rb")
        lost = Lost(other, "")
        with contextlib.suppress(OSError, ValueError):
            for line in file:
                record = json.loads(line)
                if record.get("closed"):
                    return
                if "rank" in record:
                    lost = Lost(record["rank"], record["why"], record["signal"])
                    break
        if self._closing or self.lost is not None:
            return
        self.lost = lost
        if self._rank == 0:
            self._tell(lost._asdict(), but=other)
        self._found.set()


def _line(connection: socket.socket) -> bytes:
    """A line of at most 200 bytes."""
    found = b""
    while not found.endswith(b"\n") and len(found) < 200:
        found += connection.recv(1)
    return found
