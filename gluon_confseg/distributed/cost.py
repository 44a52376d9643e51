"""What it costs to sum gradients over workers: computed from bandwidth and latency, for networks that are not at hand.

The assumptions are those of a plan. Every worker is on a machine of its own, whose connection carries the bandwidth in
both directions at once. What the CPU does beside it (copying, adding up) is part of a measured bandwidth, and is left
out where a bandwidth is given.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

from ..errors import RunError

KINDS = ("horovod", "dist_sync")
PIECE = (
    2**20
)  # numbers that dist_sync sends at once: `dist_sync.PIECE`, which can't be imported without MXNet
MEASURE = (
    "make it by `confseg doctor --kvstore KIND --json`, started for two or more workers by their launcher"
)


class Network(NamedTuple):
    """A network between workers. bandwidth: bytes in a second; latency: seconds of one message; source: in words."""

    bandwidth: float
    latency: float
    source: str


class Exchange(NamedTuple):
    """One sum over all workers. sent: bytes that each worker sends; messages: those that wait for each other."""

    sent: float
    messages: int

    def seconds(self, network: Network | None) -> float:
        """How long it takes; nothing where nothing is sent."""
        if not self.messages:
            return 0.0
        return self.sent / network.bandwidth + self.messages * network.latency


def exchange(kind: str, size_in_bytes: float, workers: int) -> Exchange:
    """What a sum of float32 numbers of so many bytes over so many workers takes.

    horovod    a ring: each worker sends 2 (N - 1) parts of N, each after the one before has come
    dist_sync  each worker sends all to the servers, one on each machine, and gets the sum back: 2 (N - 1) / N of the
               numbers go through its connection, in pieces that wait for each other. Of more than two workers each
               gets the numbers of all: N times as much (see `dist_sync`)
    """
    if workers == 1 or size_in_bytes <= 0:
        return Exchange(0.0, 0)
    around = 2 * (workers - 1)
    if kind == "horovod":
        return Exchange(size_in_bytes * around / workers, around)
    rows = 1 if workers == 2 else workers
    pieces = -(-int(size_in_bytes) // (4 * PIECE))
    return Exchange(rows * size_in_bytes * around / workers, 2 * pieces)


def measured(kind: str, workers: int, latency: float, seconds: dict, source: str) -> Network:
    """The network between so many workers that `probe.measure` looked at, such that `exchange` gives what it took.

    latency   seconds of a sum of one number
    seconds   MB (10^6 bytes) -> seconds of their sum; the largest counts
    """
    megabytes = max(seconds)
    found = exchange(kind, megabytes * 1e6, workers)
    each = latency / exchange(kind, 4, workers).messages
    # a latency that was disturbed must not leave nothing, or less, for the bytes
    each = min(each, seconds[megabytes] / (2 * found.messages))
    return Network(found.sent / (seconds[megabytes] - found.messages * each), each, source)


class Measured(NamedTuple):
    """A network, and the kind of communication that it was measured with."""

    kind: str
    network: Network


def record(kind: str, probe, machines: int) -> dict:
    """What `confseg doctor --kvstore KIND --json` prints of a `probe.Probe`, for `read`. machines: of the workers."""
    return {
        "kvstore": kind,
        "workers": probe.size,
        "machines": machines,
        "latency": probe.latency,
        "seconds_by_megabytes": {str(size): took for size, took in probe.seconds.items()},
    }


def read(path: Path) -> Measured:
    """The network in a file that `confseg doctor --kvstore KIND --json` printed; RunError where it holds none."""
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))["network"]
        kind, workers = found["kvstore"], int(found["workers"])
        latency, machines = float(found["latency"]), int(found["machines"])
        seconds = {int(size): float(took) for size, took in found["seconds_by_megabytes"].items()}
        right = kind in KINDS and seconds and latency > 0 and min(seconds.values()) > 0
    except OSError as error:
        raise RunError(f"{path}: can't be read ({error.strerror}); {MEASURE}") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        right = False
    if not right:
        raise RunError(f"{path}: holds no measured network; {MEASURE}")
    if workers < 2:
        raise RunError(f"{path}: was measured with one worker, which says nothing of a network; {MEASURE}")
    source = f"measured between {workers} workers on {machines} {'machine' if machines == 1 else 'machines'}"
    if machines == 1:
        source += ", not over a network"
    return Measured(kind, measured(kind, workers, latency, seconds, source))
