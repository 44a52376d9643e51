"""Strict reading of JPEG files: what is cut short or is no JPEG is a DatasetError, never a half-grey picture.

JPEG has no checksums: a flipped bit inside the compressed pixels that leaves the markers whole is a picture like any
other.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, UnidentifiedImageError

from gluon_confseg.datasets import contents
from gluon_confseg.datasets.contents import AGAIN, PILLOW_ERRORS
from gluon_confseg.errors import DatasetError

_START, _END = b"\xff\xd8", b"\xff\xd9"
_HEAD_BYTES = 1 << 16


class Header(NamedTuple):
    """What the start of the frame says."""

    width: int
    height: int


def read_image(path: Path) -> np.ndarray:
    """A JPEG file as (H, W, 3) uint8 RGB, gray ones too; not turned by its EXIF orientation, as its label is not."""
    with _opened(path, contents.read(path)) as picture:
        return np.array(picture.convert("RGB"))


def peek(path: Path) -> Header:
    """The header, from the file's first and last bytes where they tell; finds empty and truncated files."""
    head, tail = contents.ends(path, _HEAD_BYTES, len(_END))
    if tail == _END:
        with contextlib.suppress(DatasetError), _opened(path, head + tail) as picture:
            return Header(*picture.size)
    with _opened(path, contents.read(path)) as picture:  # bytes after the end are allowed
        picture.load()
        return Header(*picture.size)


@contextlib.contextmanager
def _opened(path: Path, data: bytes) -> Iterator[Image.Image]:
    """The picture, its header read; what Pillow says against it, there or in the block, is one DatasetError."""
    contents.check_ends(path, data, "JPEG", _START, _END, "convert it")  # Pillow does not mind a missing end
    try:
        with contents.opened(data, "JPEG") as picture:
            yield picture
    except PILLOW_ERRORS as error:
        reason = "it has no JPEG header" if isinstance(error, UnidentifiedImageError) else error
        raise DatasetError(f"{path}: is truncated or damaged ({reason}); {AGAIN}.") from error
