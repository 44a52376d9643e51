"""Measures the network between workers: what a sum over all ranks takes, by its size."""

from __future__ import annotations

import statistics
import time
from typing import NamedTuple

from .communicator import Communicator

SMALL_SUMS = 30
MEGABYTES = (1, 16, 64)
SECONDS = 60.0  # larger sums are left out once it has taken so long


class Probe(NamedTuple):
    """What `measure` found.

    size        number of ranks
    latency     seconds: the median of sums of one number
    seconds     MB (10^6 bytes) of float32 gradients -> seconds: the median time of their sum
    """

    size: int
    latency: float
    seconds: dict[int, float]

    def of(self, size_in_bytes: float) -> float:
        """Seconds that a sum of so many bytes takes at every rank, in proportion to the largest that was measured."""
        if self.size == 1:
            return 0.0
        largest = max(self.seconds)
        rate = max(self.seconds[largest] - self.latency, 0.0) / (largest * 1e6)
        return self.latency + rate * size_in_bytes

    def describe(self) -> str:
        """In words, for a line of `confseg doctor`."""
        sums = [
            f"{size} MB in {took * 1e3:.0f} ms ({size / took:.0f} MB/s)"
            for size, took in self.seconds.items()
        ]
        return f"a sum of one number takes {self.latency * 1e3:.1f} ms, of {', of '.join(sums)}"


def measure(communicator: Communicator, megabytes=MEGABYTES) -> Probe:
    """Measure sums of float32 arrays on the CPU; collective, with the same result at every rank, rank 0's."""
    import mxnet as mx

    def median(length: int, turns: int) -> float:
        array, times = mx.nd.zeros(length, ctx=mx.cpu()), []
        for _ in range(turns + 1):
            communicator.barrier()
            began = time.monotonic()
            communicator.allreduce([array])
            times.append(time.monotonic() - began)
        return statistics.median(times[1:])  # the first makes connections and buffers

    began, seconds = time.monotonic(), {}
    latency = median(1, SMALL_SUMS)
    for size in megabytes:
        seconds[size] = max(median(size * 250_000, 3), 1e-9)
        if communicator.from_root(lambda: time.monotonic() - began) > SECONDS:
            break
    return communicator.from_root(lambda: Probe(communicator.size, latency, seconds))
