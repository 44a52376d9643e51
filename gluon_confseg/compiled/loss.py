"""The compiled value and gradient of the paper's loss, with the arguments of `losses.blockwise.value_and_gradient`."""

from __future__ import annotations

import ctypes

import numpy as np

from ..losses import memory
from . import library


def is_available() -> bool:
    """Whether `value_and_gradient` can be called."""
    return library() is not None


def value_and_gradient(
    logits, labels, weights, ignore_label: int, divisors, want_gradient: bool, threads: int
):
    """See `losses.blockwise.value_and_gradient`; the result does not depend on the number of threads."""
    samples, classes, pixels = logits.shape
    logits = np.ascontiguousarray(logits)
    labels = np.ascontiguousarray(labels, np.int32)
    diagonal, columns = np.diag(weights).copy(), weights.T.copy()
    np.fill_diagonal(columns, 0.0)
    scales = (1.0 / divisors).astype(np.float32)
    gradient = memory.take(logits.shape) if want_gradient else None
    parts = np.empty((samples, -(-pixels // _block(classes))), np.float64)
    library().confseg_loss(
        _at(logits),
        _at(labels),
        _at(diagonal),
        _at(columns),
        ctypes.c_int(bool(columns.any())),
        ctypes.c_int(ignore_label),
        _at(scales),
        ctypes.c_int64(samples),
        ctypes.c_int64(classes),
        ctypes.c_int64(pixels),
        ctypes.c_int(threads),
        _at(parts),
        _at(gradient),
    )
    return (parts.sum(1) / divisors).astype(np.float32), gradient


def _block(classes: int) -> int:
    function = library().confseg_loss_block
    function.restype = ctypes.c_int64
    return function(ctypes.c_int64(classes))


def _at(array) -> ctypes.c_void_p:
    return ctypes.c_void_p(None if array is None else array.ctypes.data)
