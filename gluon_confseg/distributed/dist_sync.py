"""Workers on MXNet's KVStore `dist_sync`: a parameter server (ps-lite), started by `confseg launch`.

The server adds floating-point numbers and nothing else, in the order of arrival. Of two workers the order does not
matter. More of them each send an array with a row for every rank, all zeros but their own, which is exact in any order,
and add the rows themselves; this costs `size` times the traffic.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys

import numpy as np

from .. import runtime
from ..errors import RunError
from .communicator import Together

START = "start it by `confseg launch --workers 2 -- confseg train ... --kvstore dist_sync`"
PIECE = 2**20  # numbers that are sent at once, by a rank
FINE = (
    2**16
)  # the lengths of shorter pieces are multiples of this, or powers of two: the server keeps each of them


def serve_if_asked() -> None:
    """In a process that was started as a scheduler or server of `dist_sync` (DMLC_ROLE), be that one, and exit."""
    if os.environ.get("DMLC_ROLE") in ("scheduler", "server"):
        with contextlib.suppress(OSError, AttributeError):
            # without its launcher nobody would end it: PR_SET_PDEATHSIG
            ctypes.CDLL(None).prctl(1, signal.SIGKILL)
        signal.signal(
            signal.SIGINT, signal.SIG_IGN
        )  # a terminal's Ctrl-C: the workers still need it to end in order
        runtime.check()
        import mxnet  # noqa: F401 - it serves until the workers have left, and raises SystemExit

        sys.exit(0)


class DistSync(Together):
    """Each operation pushes float32 numbers to a key of the server and pulls their sum; a key stands for a length."""

    name = "dist_sync"

    def __init__(self):
        runtime.check()
        wanted = ("DMLC_ROLE", "DMLC_PS_ROOT_URI", "DMLC_PS_ROOT_PORT", "DMLC_NUM_WORKER", "DMLC_NUM_SERVER")
        missing = [name for name in wanted if not os.environ.get(name)]
        if missing:
            raise RunError(
                f"--kvstore dist_sync wants to be started once for each worker by a launcher, and {missing[0]} is not "
                f"set; {START}"
            )
        import mxnet as mx

        self._store = mx.kv.create("dist_sync")
        self._keys: set = set()
        rank, size = self._store.rank, self._store.num_workers
        # ps-lite numbers workers as they arrive, and rank 0 writes the run folder, so a launcher's numbers count
        self.rank, self.size = rank, size
        number = int(os.environ.get("DMLC_TASK_ID") or -1)
        told = self._rows(np.array([number], np.float32))[:, 0].astype(int).tolist()
        if sorted(told) == list(range(size)):
            rank = number
        super().__init__(rank, size, os.environ["DMLC_PS_ROOT_URI"])

    def _added(self, array):
        """The server's sum of a one-dimensional float32 NDArray of all workers, as a new one."""
        import mxnet as mx

        key = array.size
        if key not in self._keys:
            self._keys.add(key)
            self._store.init(key, mx.nd.zeros(key))
        found = mx.nd.empty(key)
        self._store.push(key, array)
        self._store.pull(key, out=found)
        found.wait_to_read()
        return found

    def _rows(self, values: np.ndarray) -> np.ndarray:
        """(size, n): the one-dimensional float32 arrays of all ranks."""
        import mxnet as mx

        pieces = []
        for start in range(0, values.size, PIECE):
            piece = values[start : start + PIECE]
            rows = np.zeros((self.size, padded(piece.size)), values.dtype)
            rows[self.rank, : piece.size] = piece
            found = self._added(mx.nd.array(rows.reshape(-1), dtype=values.dtype)).asnumpy()
            pieces.append(found.reshape(rows.shape)[:, : piece.size])
        return np.concatenate(pieces, 1)

    def _sum(self, flat):
        import mxnet as mx

        values = flat.asnumpy()
        total = np.empty_like(values)
        if values.dtype == np.float64:  # they come back from the server rounded to float32
            every = [data.view(np.float64) for data in self._gather(values.view(np.uint8), None)]
            total[:] = every[0]
            for each in every[1:]:
                total += each
            return mx.nd.array(total, dtype=total.dtype, ctx=flat.context)
        for start in range(0, values.size, PIECE):
            piece = values[start : start + PIECE]
            if self.size == 2:
                sent = np.zeros(padded(piece.size), values.dtype)
                sent[: piece.size] = piece
                summed = self._added(mx.nd.array(sent, dtype=values.dtype)).asnumpy()[: piece.size]
            else:
                rows = self._rows(piece)
                summed = rows[0].copy()
                for row in rows[1:]:
                    summed += row
            total[start : start + PIECE] = summed
        return mx.nd.array(total, dtype=total.dtype, ctx=flat.context)

    def _spread(self, array: np.ndarray) -> np.ndarray:
        data = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        sent = as_floats(data if self.rank == 0 else np.zeros_like(data))
        return as_bytes(self._blind_sum(sent), data.size).view(array.dtype).reshape(array.shape)

    def _blind_sum(self, values: np.ndarray) -> np.ndarray:
        """A sum in any order, for what is zero at all ranks but one."""
        import mxnet as mx

        total = np.empty_like(values)
        for start in range(0, values.size, PIECE):
            piece = values[start : start + PIECE]
            sent = np.zeros(padded(piece.size), values.dtype)
            sent[: piece.size] = piece
            total[start : start + PIECE] = self._added(mx.nd.array(sent)).asnumpy()[: piece.size]
        return total

    def _gather(self, data: np.ndarray, lengths: list | None) -> list:
        lengths = lengths or [data.size] * self.size
        longest = np.zeros(max(lengths), np.uint8)
        longest[: data.size] = data
        rows = self._rows(as_floats(longest))
        return [as_bytes(row, length) for row, length in zip(rows, lengths)]

    def _finalize(self) -> None:
        # MXNet's object waits for the other workers when it is freed
        self._store = None


def padded(length: int) -> int:
    """The length of the array in which so many numbers are sent."""
    if length >= FINE:
        return -(-length // FINE) * FINE
    return 1 << max(length - 1, 0).bit_length()


def as_floats(data: np.ndarray) -> np.ndarray:
    """Bytes as float32 numbers that sums leave exact: two bytes in each."""
    even = np.zeros(data.size + data.size % 2, np.uint8)
    even[: data.size] = data
    return even.view(np.uint16).astype(np.float32)


def as_bytes(values: np.ndarray, length: int) -> np.ndarray:
    """The first `length` bytes of what `as_floats` made."""
    return values.astype(np.uint16).view(np.uint8)[:length]
