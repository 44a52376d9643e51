"""Files that are whole or not there: written beside, synced, renamed."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path


def write_bytes(path, content: bytes) -> None:
    """Replace `path` by `content`; a kill at any moment leaves the old file or the new one, never a part."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with open(beside, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(beside, path)
    except OSError as error:  # a full disk's does not say which file, and the part would keep it full
        error.filename = str(path)
        with contextlib.suppress(OSError):
            beside.unlink()
        raise
    _sync_folder(path.parent)


def write_json(path, value) -> None:
    """Replace `path` by `value` as JSON, keys in the order given, numbers exact."""
    write_bytes(path, (json.dumps(value, indent=1, allow_nan=False) + "\n").encode())


def _sync_folder(folder: Path) -> None:
    # without it the rename itself may be lost with the power
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
