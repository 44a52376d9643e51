"""What a file of weights is, told by its first bytes; and its arrays by name."""

from __future__ import annotations

import math
import os
import re
import stat
from pathlib import Path

from .. import checkpoint
from ..errors import WeightsError
from . import mistaken, params, safetensors_file, torch_file, zip_archive
from .stored import Arrays, Stored, checked_name

_OWN = "parameter:"
# binary, or one of the text protocol 0
_PICKLE = re.compile(rb"\x80[\x01-\x05]|\(*[ci][\w.]+\n[\w.]+\n|\([dl]p\d")


def read(file) -> Arrays:
    """The file's arrays, which are not read yet.

    Raises WeightsError, or CheckpointError for a damaged checkpoint of ours.
    """
    try:
        status = os.stat(file)
        if not stat.S_ISREG(status.st_mode):
            kind = "a folder" if stat.S_ISDIR(status.st_mode) else "no regular file"
            raise WeightsError(f"{Path(file)}: is {kind}; give a file of weights")
        if not status.st_size:
            raise WeightsError(f"{Path(file)}: is empty; get another copy of it")
        with open(file, "rb") as stream:
            start = stream.read(512)
            stream.seek(max(0, status.st_size - 8))
            end = stream.read(8)
    except OSError as error:
        raise WeightsError(f"{file}: can't be read ({error.strerror}); is this the file's path?") from error
    if (
        start[8:9] == b"{" and int.from_bytes(start[:8], "little") < 2**32
    ):  # a header's length, and its first brace
        return safetensors_file.read(file)
    if start.startswith(params.MAGIC):
        return params.read(file)
    if start.startswith(b"PK"):
        if not checkpoint.is_checkpoint(file):
            return torch_file.read_zip(file)
        with checkpoint.opened(file) as (archive, _):
            return Arrays(_own(archive, str(file)))
    if _PICKLE.match(start):
        return torch_file.read_legacy(file)
    wrong = mistaken.file(start, end, os.path.basename(file))
    if wrong:
        raise WeightsError(f"{file}: {wrong}")
    raise WeightsError(
        f"{file}: is no file of weights, or its beginning is damaged; a checkpoint of ours, MXNet's .params, "
        "PyTorch's .pth and .safetensors are read"
    )


def _own(archive, file: str):
    """(name, Stored) of the parameters in a checkpoint of ours."""
    for name, entry in archive.entries.items():
        if name.startswith(_OWN):
            start = zip_archive.start(archive.zip, entry.record) + entry.header
            strides = None
            if entry.fortran_order:
                strides = tuple(math.prod(entry.shape[:axis]) for axis in range(len(entry.shape)))
            yield checked_name(name[len(_OWN) :]), Stored(file, start, entry.dtype.str, entry.shape, strides)
