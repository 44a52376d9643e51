"""Places to write results to: looked at before the work, not after it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from gluon_confseg.errors import RunError


def file(path: Path) -> Path:
    """`path`, for a file that is to be written; RunError where that can't be."""
    if path.is_dir():
        raise RunError(f"{path}: is a folder, where a file is to be written; choose another name")
    folder(path.parent)
    return path


def folder(path: Path) -> Path:
    """`path`, made where it is not there; RunError where it can't be made or written to."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(
            f"{path}: can't be made ({error.strerror}); choose another place to write to"
        ) from error
    if not os.access(path, os.W_OK | os.X_OK):
        raise RunError(f"{path}: may not be written to; choose another place, or change its permissions")
    return path


@contextlib.contextmanager
def unless_failed(path: Path) -> Iterator[Path]:
    """`folder(path)`, which is removed again where it was made here and the block fails before it writes anything."""
    made = [parent for parent in (path, *path.parents) if not parent.exists()]
    try:
        yield folder(path)
    except BaseException:
        for each in made:
            with contextlib.suppress(OSError):  # not empty
                each.rmdir()
        raise
