"""The process that reads SBD's MATLAB files with SciPy: it answers one after the other, until its program ends."""

from __future__ import annotations

import io
import os
import resource
import signal
import warnings
from multiprocessing.connection import Connection

import numpy as np
from scipy.io import loadmat


def work(descriptor: int, memory: int) -> None:
    """The life of a reader: answer files by their indices, or by what is wrong with them."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the program's: it closes the socket
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    resource.setrlimit(resource.RLIMIT_AS, (memory if hard < 0 else min(memory, hard), hard))
    warnings.simplefilter("ignore")
    connection = Connection(descriptor)
    try:
        while True:
            connection.send(_labels(connection.recv_bytes()))
    except (EOFError, ConnectionError):
        os._exit(0)


def _labels(data: bytes) -> np.ndarray | str:
    """The indices in a file, or what is wrong with it."""
    try:
        found = loadmat(io.BytesIO(data), variable_names=["GTcls"]).get("GTcls")
    except Exception as error:
        return f"is a truncated or damaged MATLAB file ({' '.join(str(error).split())[:80]})"
    if found is None:
        return "holds no variable GTcls, so it is none of SBD's cls/*.mat"
    if found.size != 1 or "Segmentation" not in (found.dtype.names or ()):
        return "holds a GTcls that is no struct with a Segmentation, so it is none of SBD's cls/*.mat"
    values = found["Segmentation"].item()
    if (
        not isinstance(values, np.ndarray)
        or values.ndim != 2
        or not values.size
        or values.dtype.kind not in "uif"
    ):
        return "holds a Segmentation that is no picture of rows and columns"
    indices = np.ascontiguousarray(values.astype(np.uint8))
    if not (indices == values).all():
        return "holds a Segmentation with more than class indices from 0 to 255"
    return indices
