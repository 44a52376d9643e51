"""From a network to a service that runs until it is told to stop."""

from __future__ import annotations

import contextlib
import errno
import logging
import signal
import socket
import threading
from collections.abc import Callable, Iterator

import uvicorn

from gluon_confseg import signals
from gluon_confseg.errors import RunError
from gluon_confseg.serve.app import build
from gluon_confseg.serve.limits import Limits
from gluon_confseg.serve.metrics import Metrics
from gluon_confseg.serve.protocol import guarded
from gluon_confseg.serve.queue import NetworkQueue

_BACKLOG = 512  # connections that the system holds until they are taken
_KEEP_ALIVE = 15  # seconds, between two requests of a connection


def bound(host: str, port: int) -> socket.socket:
    """A socket bound to an address of this machine; port 0: any that is free. RunError where it can't be had."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        found = socket.socket(family, kind, protocol)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(address)
        return found
    except OSError as error:
        reasons = {
            errno.EADDRINUSE: "another program listens there; give another --port, or 0 for any that is free",
            errno.EACCES: "ports below 1024 are for the administrator; give another --port",
            errno.EADDRNOTAVAIL: "this machine has no such address; give another --host",
        }
        unknown = f"{error.strerror or error}; give another --host or --port"
        raise RunError(f"can't listen at {host}, port {port}: {reasons.get(error.errno, unknown)}") from error


class Service:
    """A network behind a socket.

    segmenter   a `segmenter.Segmenter`; called in a thread of its own alone
    listening   of `bound`
    close       the difference of the two largest probabilities below which a pixel is confused
    """

    def __init__(self, segmenter, listening: socket.socket, limits: Limits, *, close: float = 0.2):
        metrics = Metrics()
        self._listening, self._queue = listening, NetworkQueue(segmenter, limits, metrics)
        logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
        config = uvicorn.Config(
            build(segmenter, self._queue, limits, metrics, close),
            http=guarded(limits, metrics),
            ws="none",
            loop="asyncio",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            backlog=_BACKLOG,
            timeout_keep_alive=_KEEP_ALIVE,
            timeout_graceful_shutdown=int(limits.body_seconds + limits.answer_seconds) + 1,
            h11_max_incomplete_event_size=limits.header_bytes,
        )
        self._server = _Server(config)

    def run(self, ready: Callable[[], None]) -> int:
        """Answer until `stop`, or in the main thread until SIGINT, SIGTERM or SIGHUP.

        What was begun is then finished; a second signal does not wait for it.
        ready   called when the network has run once, and requests are answered
        Returns how many pictures were segmented.
        """
        self._queue.start()
        self._server.ready = ready
        self._server.run(sockets=[self._listening])
        if not self._server.force_exit:
            self._queue.stop()
        return self._queue.answered

    def stop(self) -> None:
        """Take no more requests, and end when those that were taken are answered; from any thread."""
        self._server.should_exit = True


class _Server(uvicorn.Server):
    """uvicorn's, which takes a signal as the regular end, and says when it answers."""

    ready: Callable[[], None]

    async def startup(self, sockets=None) -> None:
        await super().startup(sockets)
        self.ready()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.getsignal(number) for number in signals.ENDING}
        taken = {number: handler for number, handler in before.items() if handler is not signal.SIG_IGN}
        for number in taken:
            signal.signal(number, self._end)
        try:
            yield
        finally:
            for number, handler in taken.items():
                signal.signal(number, handler)

    def _end(self, number: int, frame) -> None:
        self.force_exit = self.should_exit  # a second one does not wait
        self.should_exit = True
