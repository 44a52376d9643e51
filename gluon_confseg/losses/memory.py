"""Memory for the loss's gradient that is used again: the first write to new memory takes longer than the arithmetic.

An array is taken again when nobody holds it or a part of it any more, as CPython counts references. MXNet holds those
that it still has to read.
"""

from __future__ import annotations

import sys
import threading

import numpy as np

MOST = (
    8  # arrays that are kept: more than the subnets of most networks, whose gradients are of different sizes
)
_ALONE = 2  # references to an array that its entry alone holds: that one, and the counting function's

_lock = threading.Lock()
_entries: list[_Entry] = []


class _Entry:
    """An array, and how often it was taken."""

    def __init__(self, array: np.ndarray):
        self.array, self.uses = array, 0


def take(shape: tuple) -> np.ndarray:
    """A float32 array of this shape with any values, which is the caller's as long as something refers to it."""
    with _lock:
        for entry in _entries:
            if entry.array.shape == shape and sys.getrefcount(entry.array) == _ALONE:
                break
        else:
            entry = _Entry(np.empty(shape, np.float32))
            _entries.append(entry)
            del _entries[:-MOST]
        entry.uses += 1
        return entry.array


def clear() -> None:
    """Keep none, as at the end of a training."""
    with _lock:
        _entries.clear()


class Kept:
    """A gradient between forward and backward, whose memory may be taken again after its first use.

    array   from `take`, or a reshaped view of such an array
    """

    def __init__(self, array: np.ndarray):
        self._array, self._shape = array, array.shape
        owner = array if array.base is None else array.base
        with _lock:
            self._entry = next((entry for entry in _entries if entry.array is owner), None)
            self._uses = self._entry.uses if self._entry else 0

    def use(self) -> np.ndarray:
        """The gradient. Raises RuntimeError from the second time on if its memory has been taken since."""
        if self._entry is None:
            return self._array
        array, self._array = self._array, None
        if array is None:
            with _lock:
                array = self._entry.array.reshape(self._shape)
                if self._entry.uses != self._uses:
                    raise RuntimeError(
                        "the gradient of this loss is gone, since another loss was computed after its first backward "
                        "pass: call backward a second time before that, or compute this loss again"
                    )
        return array
