"""What a file of weights is, told by its first bytes; and its arrays by name."""

from __future__ import annotations

import re
import stat
from pathlib import Path

from .. import checkpoint
from ..errors import WeightsError
from . import params, safetensors_file, torch_file, zip_archive
from .stored import Arrays, Held

_OWN = "parameter:"
_PICKLE = re.compile(
    rb"\x80[\x01-\x05]|\(*[ci][\w.]+\n[\w.]+\n|\([dl]p\d"
)  # binary, or one of the text protocol 0
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
        _check_regular(Path(file))
        with open(file, "rb") as stream:
            start = stream.read(64)
    except OSError as error:
        raise WeightsError(f"{file}: can't be read ({error.strerror}); is this the file's path?") from error
    return _reader(file, start)(file)


def _check_regular(path: Path) -> None:
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        kind = "a folder" if stat.S_ISDIR(status.st_mode) else "no regular file"
        raise WeightsError(f"{path}: is {kind}; give a file of weights")
    if not status.st_size:
        raise WeightsError(f"{path}: is empty; get another copy of it")


def _reader(file, start: bytes):
    if safetensors_file.looks_like(start):
        return safetensors_file.read
    if start.startswith(b"PK"):
        return _read_archive
    if start.startswith(params.MAGIC):
        return params.read
    if _PICKLE.match(start):
        return torch_file.read_legacy
    guess = next((kind for signature, kind in _MISTAKEN.items() if start.lstrip().startswith(signature)), "")
    raise WeightsError(
        f"{file}: is {guess}"
        if guess
        else f"{file}: is no file of weights, or its beginning is damaged; a checkpoint of ours, MXNet's .params, "
        "PyTorch's .pth and .safetensors are read"
    )


def _read_archive(file) -> Arrays:
    with zip_archive.opened(file) as archive:
        if not checkpoint.is_checkpoint(file):
            return torch_file.read_zip(file)
        zip_archive.refuse_packed(archive, file)  # nothing that unpacks to more than the file reaches NumPy
    arrays, _ = checkpoint.load(file)
    return Arrays((k[len(_OWN) :], Held(array)) for k, array in arrays.items() if k.startswith(_OWN))
