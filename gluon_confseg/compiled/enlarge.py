"""The compiled form of `engine.largest_enlarged`."""

from __future__ import annotations

import ctypes

import numpy as np

from . import library


def is_available() -> bool:
    """Whether `largest` can be called."""
    return library() is not None


def largest(grid: np.ndarray, vertical: tuple, across: tuple, threads: int) -> np.ndarray:
    """(N, K, h, w) float32 -> (N, H, W) uint8, the first class of those with the largest enlarged score.

    vertical, across   (first neighbours, second neighbours, weights, weights) of the result's rows and columns
    The result does not depend on the number of threads.
    """
    grid = np.ascontiguousarray(grid, np.float32)
    sides = [
        [np.ascontiguousarray(a, kind) for a, kind in zip(side, (np.int64, np.int64, np.float32, np.float32))]
        for side in (vertical, across)
    ]
    height, width = (len(side[0]) for side in sides)
    found = np.empty((len(grid), height, width), np.uint8)
    arguments = [_at(grid), *map(ctypes.c_int64, grid.shape)]
    for side in sides:
        arguments += [*map(_at, side), ctypes.c_int64(len(side[0]))]
    library().confseg_largest_enlarged(*arguments, ctypes.c_int(threads), _at(found))
    return found


def _at(array) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)
