"""Photographs, PNG or JPEG as their names say: the one reader of images, of data sets and of every command."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from gluon_confseg.datasets import contents, jpeg, png
from gluon_confseg.datasets.photograph import UPRIGHT, Photograph
from gluon_confseg.errors import DatasetError

FORMATS = {".png": png, ".jpg": jpeg, ".jpeg": jpeg}
_SIGNATURES = {b"\x89PNG\r\n\x1a\n": ("PNG", png), b"\xff\xd8\xff": ("JPEG", jpeg)}


def read(path: Path) -> Photograph:
    """A file's pixels, and what to say about them; DatasetError where it is damaged, or not what its name says."""
    return _format(path).read(path)


def read_image(path: Path) -> np.ndarray:
    """A file as (H, W, 3) uint8 RGB."""
    return read(path).pixels


def kind_of(data: bytes) -> str | None:
    """ "PNG" or "JPEG", as a file's first bytes say; None for any other."""
    return next((kind for start, (kind, _) in _SIGNATURES.items() if data.startswith(start)), None)


def size_of(name: str, data: bytes) -> tuple[int, int]:
    """(width, height) as the header of a file's content declares them: nothing is decoded.

    name    for messages
    Raises DatasetError for content that is neither PNG nor JPEG, or whose header is damaged.
    """
    kind = kind_of(data)
    if kind is None:
        raise DatasetError(f"{name}: is neither PNG nor JPEG; convert the picture to one of them.")
    try:
        with contents.header_of(data, kind) as picture:
            width, height = picture.size
    except contents.PILLOW_ERRORS as error:
        raise DatasetError(f"{name}: is truncated or damaged ({error}); {contents.AGAIN}.") from error
    return width, height


def decode(name: str, data: bytes) -> Photograph:
    """As `read`, of a file's content, PNG or JPEG as its first bytes say; `name` is for messages."""
    for start, (_, form) in _SIGNATURES.items():
        if data.startswith(start):
            return form.read(name, data)
    raise DatasetError(f"{name}: is neither PNG nor JPEG; convert the picture to one of them.")


def peek(path: Path) -> jpeg.Header | png.Header:
    """Its header (width, height, depth, orientation), from the file's first and last bytes alone where they tell."""
    return _format(path).peek(path)


def notes(headers: Sequence) -> list[str]:
    """What may be wrong with how images are read, a sentence each without its full stop. headers: (path, header)."""
    found = []
    turned = [(path, header) for path, header in headers if header.orientation != 1]
    if turned:
        path, header = turned[0]
        found.append(
            f"{len(turned)} of {len(headers)} images have an EXIF orientation other than 1 (the first is {path}: "
            f"{header.orientation}); they are read as they are stored, so a label that was drawn on the turned image "
            f"is wrong: {UPRIGHT}"
        )
    deep = [path for path, header in headers if header.depth > 8]
    if deep:
        found.append(
            f"{len(deep)} of {len(headers)} images have 16 bits a channel (the first is {deep[0]}); the values are "
            f"divided by 256, so those of a sensor of fewer bits become almost black"
        )
    return found


def _format(path: Path):
    suffix = Path(path).suffix.lower()
    if suffix not in FORMATS:
        raise DatasetError(f"{path}: is none of {', '.join(FORMATS)}; convert the picture to one of them.")
    return FORMATS[suffix]
