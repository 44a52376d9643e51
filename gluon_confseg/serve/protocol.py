"""Connections that send too slowly, end too early or speak no HTTP get a sentence: uvicorn's protocol with limits."""

from __future__ import annotations

import json
import sys

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from gluon_confseg.serve.limits import Limits

_HEADERS_SECONDS = 10.0  # for a request's line and headers
_REASONS = {400: b"Bad Request", 408: b"Request Timeout", 431: b"Request Header Fields Too Large"}


def guarded(limits: Limits, metrics) -> type:
    """The protocol's class, for uvicorn's `http`."""

    class Guarded(H11Protocol):
        _timer = None
        _unread_timer = None  # of its own: what the client sends meanwhile must not stop it

        def connection_made(self, transport) -> None:
            super().connection_made(transport)
            self._start(min(_HEADERS_SECONDS, limits.body_seconds), self._headers_late)

        def connection_lost(self, exc) -> None:
            self._stop()
            self._read_again()
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            was_idle = self._is_idle()
            super().data_received(data)
            if not self._is_idle():
                self._stop()  # the request is in the hands of `app`
            elif was_idle and self._timer is None and not self.transport.is_closing():
                self._start(min(_HEADERS_SECONDS, limits.body_seconds), self._headers_late)

        def eof_received(self) -> bool:
            """Nothing more comes; True: an answer is still to be sent."""
            if self._is_idle():
                if self.conn.trailing_data[0]:
                    self._refuse(400, "the request ended inside its headers; send it again")
                return False
            if self.cycle.more_body and not self.cycle.response_started:
                self._refuse(400, "the body ended before all of it was there; send it again")
                return False
            self.cycle.keep_alive = False
            return True

        def on_response_complete(self) -> None:
            super().on_response_complete()
            if not self.transport.is_closing() and self.cycle.response_complete:
                # what still comes of a refused body is passed over, but not for ever
                if self.conn.their_state is h11.SEND_BODY:
                    self._start(limits.body_seconds, self.transport.abort)

        def send_400_response(self, msg: str) -> None:
            error = sys.exc_info()[1]  # what h11 has against the request
            if getattr(error, "error_status_hint", 400) == 431:
                self._refuse(
                    431, f"the request's line and headers have more than {limits.header_bytes:,} bytes"
                )
            else:
                self._refuse(400, "this is no HTTP request that can be read; use an HTTP client")

        def pause_writing(self) -> None:
            """The client does not read what it asked for."""
            super().pause_writing()
            self._read_again()
            self._unread_timer = self.loop.call_later(limits.body_seconds, self.transport.abort)

        def resume_writing(self) -> None:
            self._read_again()
            super().resume_writing()

        def timeout_keep_alive_handler(self) -> None:
            self._stop()
            super().timeout_keep_alive_handler()

        def _is_idle(self) -> bool:
            """Whether no request is being read or answered: none has come, or only a part of its headers."""
            return self.cycle is None or self.cycle.response_complete

        def _headers_late(self) -> None:
            self._timer = None
            if self._is_idle() and not self.conn.trailing_data[0]:
                self.transport.close()  # a browser opens connections in case it needs them
            elif self._is_idle():
                self._refuse(408, "the request did not arrive in time; send it faster")

        def _refuse(self, status: int, sentence: str) -> None:
            """Answer in place of `app`, and close."""
            if self.transport.is_closing():
                return
            if self.cycle is not None and self.cycle.response_started and not self.cycle.response_complete:
                return self.transport.close()
            metrics.answered("other", status)
            body = (json.dumps({"error": sentence}) + "\n").encode()
            lines = [
                b"HTTP/1.1 %d %s" % (status, _REASONS[status]),
                b"content-type: application/json",
                b"content-length: %d" % len(body),
                b"connection: close",
            ]
            self.transport.write(b"\r\n".join([*lines, b"", body]))
            self.transport.close()

        def _read_again(self) -> None:
            if self._unread_timer is not None:
                self._unread_timer.cancel()
                self._unread_timer = None

        def _start(self, seconds: float, call) -> None:
            self._stop()
            self._timer = self.loop.call_later(seconds, call)

        def _stop(self) -> None:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None

    return Guarded
