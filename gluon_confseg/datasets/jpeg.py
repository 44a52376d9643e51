"""Strict reading of JPEG files: what is cut short or is no JPEG is a DatasetError, never a half-grey picture.

JPEG has no checksums: a flipped bit inside the compressed pixels that leaves the markers whole is a picture like any
other.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from gluon_confseg.datasets import contents, photograph
from gluon_confseg.datasets.contents import AGAIN, PILLOW_ERRORS
from gluon_confseg.datasets.photograph import Photograph
from gluon_confseg.errors import DatasetError

_START, _END = b"\xff\xd8", b"\xff\xd9"
_HEAD_BYTES = 1 << 16
# the next segment or the end: not a stuffed FF 00 or a restart inside the compressed pixels
_SEGMENT = re.compile(rb"\xff([\x02-\xcf\xd9-\xfe])")
_SCAN = 0xDA
_FRAMES = {0xC0, 0xC1, 0xC2}  # coded after Huffman, as almost all are
_NOISE = bytes((170 + 151 * number) % 255 for number in range(64))  # no FF, and not what decoders fill up with
_REST = _NOISE + b"".join(bytes((0xFF, 0xD0 + number)) + _NOISE for number in range(8))


class Header(NamedTuple):
    """What the start of the frame says, and EXIF."""

    width: int
    height: int
    depth: int = 8
    orientation: int = 1


def read(path: Path) -> Photograph:
    """A JPEG file, gray ones too; not turned by its EXIF orientation."""
    data = contents.read(path)
    pixels, header = _decode(path, data)
    _check_end(path, data, pixels)
    return Photograph(pixels, header.orientation)


def read_image(path: Path) -> np.ndarray:
    """A JPEG file as (H, W, 3) uint8 RGB."""
    return read(path).pixels


def peek(path: Path) -> Header:
    """The header, from the file's first and last bytes where they tell; finds empty and truncated files."""
    head, tail = contents.ends(path, _HEAD_BYTES, len(_END))
    if tail == _END:
        with contextlib.suppress(DatasetError), _opened(path, head + tail) as picture:
            return _header(picture)
    with _opened(path, contents.read(path)) as picture:  # bytes after the end are allowed
        picture.load()
        return _header(picture)


def _decode(path: Path, data: bytes) -> tuple[np.ndarray, Header]:
    with _opened(path, data) as picture:
        return np.array(picture.convert("RGB")), _header(picture)


def _check_end(path: Path, data: bytes, pixels: np.ndarray) -> None:
    """DatasetError unless the compressed pixels go on to the file's end marker.

    Of a file that was cut and closed by an end marker, decoders fill up the rest with gray, and tell nobody. So it is
    decoded again with noise before that marker: what was complete stays as it was, and what was not shows the noise.
    """
    at, kind, wanted, found = len(_START), 0, set(), set()
    while kind != 0xD9:
        segment = _SEGMENT.search(data, at)
        if segment is None:
            raise DatasetError(f"{path}: is truncated, its last part has no end; {AGAIN}.")
        kind, at = segment[1][0], segment.end()
        length = int.from_bytes(data[at : at + 2], "big")
        body = data[at + 2 : at + length]
        if kind in _FRAMES:
            wanted = set(body[6::3])  # components, such as luminance and two of colour
        elif kind == _SCAN and body:
            found |= set(body[1 : 1 + 2 * body[0] : 2])
        at += length
    if not wanted:
        return
    end = len(data[: segment.start()].rstrip(b"\xff"))  # a last FF would take the noise for a marker
    if found == wanted:
        with contextlib.suppress(DatasetError):
            if np.array_equal(pixels, _decode(path, data[:end] + _REST + data[end:])[0]):
                return
    raise DatasetError(f"{path}: is truncated, its compressed pixels end before the picture does; {AGAIN}.")


def _header(picture: Image.Image) -> Header:
    return Header(*picture.size, orientation=photograph.orientation(picture.info.get("exif")))


@contextlib.contextmanager
def _opened(path: Path, data: bytes) -> Iterator[Image.Image]:
    """The picture, its header read; what Pillow says against it, there or in the block, is one DatasetError."""
    contents.check_ends(path, data, "JPEG", _START, _END, "convert it")  # Pillow does not mind a missing end
    try:
        with contents.opened(path, data, "JPEG") as picture:
            yield picture
    except PILLOW_ERRORS as error:
        raise DatasetError(f"{path}: is truncated or damaged ({error}); {AGAIN}.") from error
