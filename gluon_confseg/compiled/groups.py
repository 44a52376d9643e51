"""The compiled search for groups, with the arguments of `groups._climb`."""

from __future__ import annotations

import ctypes

import numpy as np

from . import functions


def is_available() -> bool:
    """Whether `climb` can be called."""
    return functions() is not None


def climb(modularity: np.ndarray, starts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """See `groups._climb`; `modularity` is int64. Raises OverflowError for larger numbers."""
    modularity, starts = (np.ascontiguousarray(array, np.int64) for array in (modularity, starts))
    partitions, scores = np.empty_like(starts), np.empty(len(starts), np.int64)
    functions().confseg_groups_climb(
        ctypes.c_void_p(modularity.ctypes.data),
        ctypes.c_int64(len(modularity)),
        ctypes.c_void_p(starts.ctypes.data),
        ctypes.c_int64(len(starts)),
        ctypes.c_void_p(partitions.ctypes.data),
        ctypes.c_void_p(scores.ctypes.data),
    )
    return partitions, scores
