"""What a file of weights is, told by its first bytes; and its arrays by name."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

from .. import checkpoint
from ..errors import WeightsError
from . import params, safetensors_file, torch_file, zip_archive
from .stored import Arrays, Held

_OWN = "parameter:"
# binary, or one of the text protocol 0
_PICKLE = re.compile(rb"\x80[\x01-\x05]|\(*[ci][\w.]+\n[\w.]+\n|\([dl]p\d")
_MISTAKEN = {
    b"version https://git-lfs": "a Git LFS pointer and not the file: fetch it with `git lfs pull`",
    b"<": "a web page or XML: download the file itself",
    b"\x89HDF": "an HDF5 file (Keras); convert it to .safetensors",
    b"\x1f\x8b": "compressed with gzip: unpack it first",
    b"\xfd7zXZ": "compressed with xz: unpack it first",
    b"\x93NUMPY": "a single NumPy array without a name",
}


def read(file) -> Arrays:
    """The file's arrays, which are not read yet; those of a checkpoint of ours are in memory.

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
            start = stream.read(64)
    except OSError as error:
        raise WeightsError(f"{file}: can't be read ({error.strerror}); is this the file's path?") from error
    if (
        start[8:9] == b"{" and int.from_bytes(start[:8], "little") < 2**32
    ):  # a header's length, and its first brace
        return safetensors_file.read(file)
    if start.startswith(params.MAGIC):
        return params.read(file)
    if start.startswith(b"PK"):
        with zip_archive.opened(file) as archive:
            if not checkpoint.is_checkpoint(file):
                return torch_file.read_zip(file)
            zip_archive.refuse_packed(
                archive, file
            )  # nothing that unpacks to more than the file reaches NumPy
        arrays, _ = checkpoint.load(file)
        return Arrays((k[len(_OWN) :], Held(array)) for k, array in arrays.items() if k.startswith(_OWN))
    if _PICKLE.match(start):
        return torch_file.read_legacy(file)
    for signature, kind in _MISTAKEN.items():
        if start.lstrip().startswith(signature):
            raise WeightsError(f"{file}: is {kind}")
    raise WeightsError(
        f"{file}: is no file of weights, or its beginning is damaged; a checkpoint of ours, MXNet's .params, "
        "PyTorch's .pth and .safetensors are read"
    )
