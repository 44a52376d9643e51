"""What is counted, in the form that Prometheus reads."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

_SECONDS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100)
ADDRESSES = ("/", "/segment", "/network", "/health", "/metrics")  # others are counted as one


class Metrics:
    """The figures of one service, apart from those of others in the process."""

    def __init__(self):
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self.requests = Counter(
            "confseg_requests", "Requests that were answered.", ["address", "status"], registry=registry
        )
        self.waiting = Gauge(
            "confseg_queue_length", "Requests that are read, wait or are computed.", registry=registry
        )
        self.batches = Histogram(
            "confseg_batch_pictures",
            "Pictures that the network was given at once.",
            buckets=(1, 2, 4, 8, 16, 32, 64),
            registry=registry,
        )
        self.pixels = Counter("confseg_pixels", "Pixels that were segmented.", registry=registry)
        self._seconds = Histogram(
            "confseg_seconds",
            "Seconds by part: read (the body), wait (in the queue), decode, network, encode (the answer), whole.",
            ["part"],
            buckets=_SECONDS,
            registry=registry,
        )

    def add(self, part: str, seconds: float) -> None:
        """Count a part's seconds."""
        self._seconds.labels(part).observe(seconds)

    @contextlib.contextmanager
    def timed(self, part: str) -> Iterator[None]:
        """Count the seconds of a block."""
        began = time.monotonic()
        try:
            yield
        finally:
            self.add(part, time.monotonic() - began)

    def answered(self, path: str, status: int) -> None:
        """Count a request."""
        self.requests.labels(path if path in ADDRESSES else "other", status).inc()

    def text(self) -> bytes:
        """All figures, in Prometheus' text format."""
        return generate_latest(self.registry)
