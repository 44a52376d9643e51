"""SBD's label files: MATLAB 5 files with a struct GTcls whose field Segmentation holds class indices.

SciPy reads them, in a process of its own, because some damaged files kill the process that SciPy's reader runs in.
That process reads one file after the other for as long as this one lives. What is written compressed carries checksums,
which are verified; a flipped bit in the pixels of an uncompressed file is a value like any other.
"""

from __future__ import annotations

import os
from collections import deque
from pathlib import Path

import numpy as np

from gluon_confseg.datasets import contents
from gluon_confseg.datasets.contents import AGAIN
from gluon_confseg.datasets.loader import start_process
from gluon_confseg.errors import DatasetError

PATIENCE = 60.0  # seconds for one file
MEMORY = 1 << 30  # bytes that the process may take: some damaged files claim any amount


def read_label(path: Path) -> np.ndarray:
    """Class indices as (H, W) uint8; one DatasetError for a file that is damaged or anything else."""
    data = contents.read(path)
    if not data:
        raise DatasetError(f"{path}: is empty (0 bytes), where a MATLAB file was expected; {AGAIN}.")
    if not data.startswith(b"MATLAB 5.0"):
        raise DatasetError(
            f"{path}: is no MATLAB 5 file, as SBD's are (it begins with {bytes(data[:8])!r}); {AGAIN}."
        )
    answer = _ask(data)
    if isinstance(answer, str):
        raise DatasetError(f"{path}: {answer}; {AGAIN}.")
    return answer


class _Reader:
    """The process, which ends when the other side of its socket is closed."""

    def __init__(self):
        self.connection, self.process = start_process("mat_process", MEMORY)

    def stop(self) -> None:
        """End the process."""
        self.connection.close()
        self.process.kill()
        self.process.wait()


_IDLE: deque[_Reader] = deque()  # several threads may read at the same time, each with a process
os.register_at_fork(after_in_child=_IDLE.clear)


def _ask(data: bytes) -> np.ndarray | str:
    """The indices in a file, or what is wrong with it."""
    try:
        reader = _IDLE.pop()
    except IndexError:
        reader = _Reader()
    try:
        reader.connection.send_bytes(data)
        if not reader.connection.poll(PATIENCE):
            reader.stop()
            return f"is damaged so that SciPy's reader does not end within {PATIENCE:.0f} seconds"
        answer = reader.connection.recv()
    except (EOFError, ConnectionError):
        return f"is damaged so that SciPy's reader crashes (exit status {reader.process.wait()})"
    except BaseException:  # Ctrl-C: its answer must not be taken for that of the next file
        reader.stop()
        raise
    _IDLE.append(reader)
    return answer
