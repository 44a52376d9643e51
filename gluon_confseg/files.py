"""Files that are whole or not there: written beside, synced, renamed."""

from __future__ import annotations

import contextlib
import errno
import json
import os
from pathlib import Path

# what network file systems answer where a folder can not be synced; they bring a rename to the disk by themselves
_NO_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.EBADF, errno.EACCES, errno.EPERM, errno.EISDIR)


def write_bytes(path, content: bytes) -> None:
    """Replace `path` by `content`; a kill at any moment leaves the old file or the new one, never a part.

    Raises OSError, whose `filename` is `path`, where it can't be written; the old file is then as it was.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with open(beside, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(beside, path)
        _sync_folder(path.parent)
    except BaseException as error:
        if isinstance(error, OSError):  # a full disk's does not say which file
            error.filename, error.filename2 = str(path), None
        with contextlib.suppress(OSError):  # the part would keep the disk full
            beside.unlink()
        raise


def write_json(path, value) -> None:
    """Replace `path` by `value` as JSON, keys in the order given, numbers exact."""
    write_bytes(path, (json.dumps(value, indent=1, allow_nan=False) + "\n").encode())


def _sync_folder(folder: Path) -> None:
    # without it the rename itself may be lost with the power
    try:
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise
