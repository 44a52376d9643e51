"""A service with a network that needs no time, on loopback, and clients that send whatever they like."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import threading
import time

import cv2
import numpy as np

from gluon_confseg.labels import CITYSCAPES
from gluon_confseg.segmenter import Planes
from gluon_confseg.serve import server
from gluon_confseg.serve.limits import Limits


class StandIn:
    """Says a class by the red of each pixel, with the class after it close behind where green is above 127."""

    labels, groups, title, gives_probabilities = CITYSCAPES, [[0, 1], [2, 3, 4]], "a stand-in", True
    record = {"encoder": "none"}

    def __init__(self, seconds: float = 0.0):
        self.seconds, self.batches, self.fail = seconds, [], None

    def classes_of_batch(self, pictures) -> list:
        self.batches.append([picture.shape for picture in pictures])
        time.sleep(self.seconds)
        if self.fail is not None:
            raise self.fail
        return [picture[..., 0] % 19 for picture in pictures]

    def planes(self, picture: np.ndarray, close: float) -> Planes:
        (classes,) = self.classes_of_batch([picture])
        second, of_one_group = (classes + 1) % 19, np.zeros((19, 19), bool)
        for group in self.groups:
            of_one_group[np.ix_(group, group)] = True
        confused = of_one_group[classes, second] & (picture[..., 1] > 127)
        return Planes(classes, {}, np.where(confused, second, 255).astype(np.uint8), 1)


@contextlib.contextmanager
def running(segmenter=None, **limits):
    """A service in a thread; gives its port."""
    listening = server.bound("127.0.0.1", 0)
    port = listening.getsockname()[1]
    service = server.Service(segmenter or StandIn(), listening, Limits(**limits))
    ready = threading.Event()
    thread = threading.Thread(target=service.run, args=[ready.set])
    thread.start()
    assert ready.wait(60)
    try:
        yield port
    finally:
        service.stop()
        thread.join(60)
        assert not thread.is_alive()


def picture(seed: int = 0, height: int = 32, width: int = 48) -> np.ndarray:
    return np.random.RandomState(seed).randint(0, 256, (height, width, 3)).astype(np.uint8)


def png(pixels: np.ndarray, ending: str = ".png") -> bytes:
    return cv2.imencode(ending, cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))[1].tobytes()


def ask(port: int, method: str, target: str, body=None, **headers) -> tuple:
    """(status, headers, body) by the standard library's client."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request(
            method, target, body, {name.replace("_", "-"): value for name, value in headers.items()}
        )
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()
    finally:
        connection.close()


def segment(port: int, data: bytes, query: str = "", **headers) -> tuple:
    """The same of a picture."""
    headers = {"Content_Type": "application/octet-stream", **headers}
    return ask(port, "POST", f"/segment{query}", data, **headers)


def decoded(content: bytes) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)


def raw(port: int, *parts: bytes, pause: float = 0.0, half_close: bool = False, seconds: float = 30) -> tuple:
    """(status, headers as bytes, body) of bytes that are sent as they are, with pauses between the parts."""
    with socket.create_connection(("127.0.0.1", port), timeout=seconds) as connection:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            for part in parts:
                connection.sendall(part)
                time.sleep(pause)
            if half_close:
                connection.shutdown(socket.SHUT_WR)
        return read_answer(connection)


def read_answer(connection: socket.socket) -> tuple:
    """(status, headers, body) of one answer."""
    answer = http.client.HTTPResponse(connection)
    answer.begin()
    return answer.status, dict(answer.getheaders()), answer.read()


def sentence_of(body: bytes) -> str:
    """The sentence of an error, which must be all that it holds."""
    said = json.loads(body)
    assert list(said) == ["error"] and len(said["error"].split()) >= 4, said
    return said["error"]
