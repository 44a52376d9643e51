"""Bytes of files as they are, or one DatasetError: missing, no permission, a folder, a pipe, a loop of links."""

from __future__ import annotations

import io
import os
import re
import stat
from pathlib import Path

from PIL import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile

from gluon_confseg import limits
from gluon_confseg.datasets import photograph
from gluon_confseg.errors import DatasetError

AGAIN = "copy or download this file again"
PILLOW_ERRORS = (OSError, SyntaxError, ValueError)  # of damaged pictures
_READERS = {"JPEG": JpegImageFile, "PNG": PngImageFile}


def read(path: Path) -> bytes:
    """The whole file."""
    try:
        with _open(path) as file:
            most = 8 * limits.max_pixels()  # what pixels take that don't compress
            if os.fstat(file.fileno()).st_size > most:
                raise OSError(0, f"it is larger than {most:,} bytes")
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
    picture = header_of(data, kind)
    photograph.check_pixels(path, *picture.size)
    return picture


def header_of(data: bytes, kind: str) -> ImageFile.ImageFile:
    """The same of any size; only its header may be looked at."""
    ImageFile.LOAD_TRUNCATED_IMAGES = False  # as GluonCV is imported, it sets this for the whole program
    # not Image.open, which has a limit of its own, for the whole program
    return _READERS[kind](io.BytesIO(data))


def text(path: Path, most: int = 1 << 24) -> str:
    """A text file, each line ended by a line feed alone: UTF-8, or UTF-16 where its first bytes say so.

    DatasetError for what is no text, has control characters in it, or is longer than `most` bytes.
    """
    data = ends(path, most + 1, 0)[0]
    if len(data) > most:
        raise DatasetError(f"{path}: has more than {most} bytes, too many for a list; is it the right file?")
    try:
        content = data.decode("utf-16" if data.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path}: is no UTF-8 text; save it as plain text in UTF-8.") from error
    content = content.replace("\r\n", "\n").replace("\r", "\n")
    control = re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f]", content)
    if control:
        line = content.count("\n", 0, control.start()) + 1
        raise DatasetError(
            f"{path}, line {line}: holds the control character U+{ord(control[0]):04X}, which no list has; save it as "
            f"plain text in UTF-8."
        )
    return content
