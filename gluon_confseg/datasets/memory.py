"""Memory that processes share without a name: nothing to leave behind, however a program ends."""

from __future__ import annotations

import mmap
import os
import tempfile
import weakref
from collections import deque
from typing import Sequence, Tuple

import numpy as np

from gluon_confseg.errors import RunError

Layout = Sequence[Tuple[Tuple[int, ...], str]]  # (shape, dtype) of each array

_ALIGNED = 64


class Memory:
    """Memory behind a file descriptor, as large as the largest layout it has held. Pages stay, so none faults twice."""

    def __init__(self, descriptor: int | None = None):
        if descriptor is None and hasattr(os, "memfd_create"):
            descriptor = os.memfd_create(
                "confseg", os.MFD_CLOEXEC
            )  # not in /dev/shm, and not bound by its size
        elif descriptor is None:
            with tempfile.TemporaryFile() as file:
                descriptor = os.dup(file.fileno())
        self.descriptor = descriptor
        self._map: mmap.mmap | None = None
        self._close = weakref.finalize(self, os.close, self.descriptor)

    def arrays(self, layout: Layout) -> list[np.ndarray]:
        """Arrays of these shapes and types, one behind the other; they share one base, which keeps them mapped.

        Raises RunError where the machine has no room for them.
        """
        starts, total = [], 0
        for shape, dtype in layout:
            starts.append(total)
            size = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
            total += -(-size // _ALIGNED) * _ALIGNED
        root = np.frombuffer(self._mapped(max(total, 1)), np.uint8)
        return [np.ndarray(shape, dtype, root, start) for start, (shape, dtype) in zip(starts, layout)]

    def _mapped(self, size: int) -> mmap.mmap:
        if self._map is not None and len(self._map) >= size:
            return self._map
        grows = os.fstat(self.descriptor).st_size < size  # or the other side has made it as large
        try:
            if grows and hasattr(
                os, "posix_fallocate"
            ):  # room now: a page that can't be had later is a SIGBUS
                os.posix_fallocate(self.descriptor, 0, size)
            elif grows:
                os.ftruncate(self.descriptor, size)
        except OSError as error:
            raise RunError(
                f"There is no memory for a batch of {size / 2**20:.0f} MiB ({error.strerror}); "
                f"choose smaller batches, fewer workers, or a smaller prefetch."
            ) from error
        self._map = mmap.mmap(self.descriptor, os.fstat(self.descriptor).st_size)
        return self._map


class Slots:
    """Memories that are lent out and come back by themselves, when the last array in them is gone."""

    def __init__(self) -> None:
        self._free: deque[Memory] = deque()

    def take(self) -> Memory:
        """A memory that nobody looks at."""
        try:
            return self._free.pop()  # the last one back is still in the cache
        except IndexError:
            return Memory()

    def give(self, memory: Memory) -> None:
        """Take a memory back."""
        self._free.append(memory)

    def lend(self, memory: Memory, layout: Layout) -> list[np.ndarray]:
        """`memory.arrays(layout)`; it is free again when all of them, and all views of them, are gone."""
        arrays = memory.arrays(layout)
        root = arrays[0].base
        weakref.finalize(root, self._free.append, memory).atexit = False
        return arrays
