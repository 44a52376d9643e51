"""Bytes of files as they are, or one DatasetError: missing, no permission, a folder, a pipe, a loop of links."""

from __future__ import annotations

import io
import os
import stat
from pathlib import Path

from PIL import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile

from gluon_confseg.datasets import photograph
from gluon_confseg.errors import DatasetError

AGAIN = "copy or download this file again"
PILLOW_ERRORS = (OSError, SyntaxError, ValueError)  # of damaged pictures
_READERS = {"JPEG": JpegImageFile, "PNG": PngImageFile}


def read(path: Path) -> bytes:
    """The whole file."""
    try:
        with _open(path) as file:
            if (
                os.fstat(file.fileno()).st_size > 8 * photograph.limit()
            ):  # more than pixels take that don't compress
                raise OSError(0, f"it is larger than {8 * photograph.limit():,} bytes")
            return file.read()
    except OSError as error:
        raise unreadable(path, error) from error


def ends(path: Path, first: int, last: int) -> tuple[bytes, bytes]:
    """Its first and its last bytes, so many of each or fewer."""
    try:
        with _open(path) as file:
            head = file.read(first)
            file.seek(0, io.SEEK_END)
            file.seek(max(0, file.tell() - last))
            return head, file.read()
    except OSError as error:
        raise unreadable(path, error) from error


def _open(path: Path):
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):  # a pipe would be waited for, for ever
        os.close(descriptor)
        raise OSError(0, "it is a folder" if stat.S_ISDIR(mode) else "it is no regular file")
    return open(descriptor, "rb")


def unreadable(path: Path, error: OSError) -> DatasetError:
    return DatasetError(
        f"{path}: can't be read ({error.strerror or error}); check the file and its permissions."
    )


def check_ends(path: Path, data: bytes, kind: str, start: bytes, end: bytes, convert: str) -> None:
    """DatasetError unless a picture's content begins with its format's signature, and its end is in it."""
    if not data:
        raise DatasetError(f"{path}: is empty (0 bytes), where a {kind} picture was expected; {AGAIN}.")
    if data[: len(start)] != start[: len(data)]:
        raise DatasetError(
            f"{path}: is no {kind} file, whatever its name says (it begins with {bytes(data[:8])!r}); "
            f"{convert}, or {AGAIN}."
        )
    if end not in data:
        raise DatasetError(
            f"{path}: is truncated, its {len(data)} bytes end before the picture does; {AGAIN}."
        )


def opened(path: Path, data: bytes, kind: str) -> ImageFile.ImageFile:
    """The picture in a file's content, its header read; `PILLOW_ERRORS` from here on. kind: "PNG" or "JPEG".

    Raises DatasetError where it has more pixels than are read.
    """
    ImageFile.LOAD_TRUNCATED_IMAGES = False  # as GluonCV is imported, it sets this for the whole program
    # not Image.open, which has a limit of its own, for the whole program
    picture = _READERS[kind](io.BytesIO(data))
    photograph.check_pixels(path, *picture.size)
    return picture
