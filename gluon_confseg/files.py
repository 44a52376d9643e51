"""Files that are whole or not there: written beside, synced, renamed."""

from __future__ import annotations

import contextlib
import errno
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

# what network file systems answer where a folder can not be synced; they bring a rename to the disk by themselves
_NO_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.EBADF, errno.EACCES, errno.EPERM, errno.EISDIR)


@contextlib.contextmanager
def replacing(path, end: str = "") -> Iterator[Path]:
    """A file beside `path` to write to: it replaces `path` where the block ends without an error.

    end     what its name ends in, for writers that look at that
    A kill at any moment leaves the old file or the new one, never a part. Raises OSError, whose `filename` is `path`,
    where it can't be written; the old file is then as it was.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}.part{end}")
    try:
        yield beside
        _sync(beside)
        os.replace(beside, path)
        _sync_folder(path.parent)
    except BaseException as error:
        if isinstance(error, OSError):  # a full disk's does not say which file
            error.filename, error.filename2 = str(path), None
        with contextlib.suppress(OSError):  # the part would keep the disk full
            beside.unlink()
        raise


def write_bytes(path, content: bytes) -> None:
    """Replace `path` by `content`; a kill at any moment leaves the old file or the new one, never a part.

    Raises OSError, whose `filename` is `path`, where it can't be written; the old file is then as it was.
    """
    write_parts(path, [content])


def write_parts(path, parts: Iterable[bytes]) -> None:
    """The same of a content that comes in parts, of which only one is in memory at a time."""
    with replacing(path) as beside, open(beside, "wb") as stream:
        for part in parts:
            stream.write(part)


def write_json(path, value) -> None:
    """Replace `path` by `value` as JSON, keys in the order given, numbers exact."""
    write_bytes(path, (json.dumps(value, indent=1, allow_nan=False) + "\n").encode())


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_folder(folder: Path) -> None:
    # without it the rename itself may be lost with the power
    try:
        _sync(folder)
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise
