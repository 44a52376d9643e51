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
_MOST_SCANS, _MOST_WORK = 100, 2**31  # the latter in pixels of all scans
# neither FF nor what decoders fill up with; and the same after each restart
_NOISE = bytes((170 + 151 * number) % 255 for number in range(64))
_NOISE += b"".join(bytes((0xFF, 0xD0 + number)) + _NOISE for number in range(8))


class Header(NamedTuple):
    """What the start of the frame says, and EXIF."""

    width: int
    height: int
    depth: int = 8
    orientation: int = 1


def read(path: Path, data: bytes | None = None) -> Photograph:
    """A JPEG file, gray ones too; not turned by its EXIF orientation.

    Of a file that was cut and closed by an end marker, decoders fill up the rest with gray, and tell nobody. So a
    picture that ends in a flat block, or comes in several scans, is decoded again with noise after each scan: what is
    complete stays as it is, else the noise shows. A cut inside the last 16 x 16 pixels is not told.
    """
    data = contents.read(path) if data is None else data
    with _opened(path, data) as picture:
        header, scans = _header(picture), _scans(path, data)
        if len(scans) * header.width * header.height > _MOST_WORK:
            raise DatasetError(
                f"{path}: has {len(scans)} scans of {header.width} x {header.height} pixels; save it anew."
            )
        if scans and 512 * len(data) < header.width * header.height:  # not a bit for each block of 8 x 8
            raise DatasetError(f"{path}: is truncated, {len(data)} bytes are too few for its size; {AGAIN}.")
        pixels = _pixels(picture)
    progressive = picture.info.get("progressive")  # its first scan alone is smoothed, and does not end flat
    if not progressive and len(scans) < 2 and not _ends_flat(pixels):
        return Photograph(pixels, header.orientation)
    parts = [data[start:end] for start, end in zip([0, *scans], [*scans, len(data)])]
    with contextlib.suppress(DatasetError), _opened(path, _NOISE.join(parts)) as picture:
        if np.array_equal(pixels, _pixels(picture)):
            return Photograph(pixels, header.orientation)
    raise DatasetError(f"{path}: is truncated, its compressed pixels end before the picture does; {AGAIN}.")


def read_image(path: Path) -> np.ndarray:
    """A JPEG file as (H, W, 3) uint8 RGB."""
    return read(path).pixels


def peek(path: Path) -> Header:
    """The header, from the file's first and last bytes where they tell; finds empty and truncated files."""
    head, tail = contents.ends(path, _HEAD_BYTES, len(_END))
    if tail == _END:
        with contextlib.suppress(DatasetError), _opened(path, head + tail) as picture:
            return _header(picture)
    data = contents.read(path)
    with _opened(path, data) as picture:  # bytes after the end are allowed
        _scans(path, data)
        return _header(picture)


def _scans(path: Path, data: bytes) -> list[int]:
    """Where the compressed pixels of each scan end; DatasetError for what can't be a whole picture.

    Empty where they are not coded after Huffman: an arithmetic coder may leave out the last bytes.
    """
    at, kind, ends, wanted, found = len(_START), 0, [], set(), set()
    while kind != 0xD9:
        segment = _SEGMENT.search(data, at)
        if segment is None:
            raise DatasetError(f"{path}: is truncated, there is no end of the picture in it; {AGAIN}.")
        if kind == _SCAN:
            # a last FF would make noise a marker
            ends.append(len(data[at : segment.start()].rstrip(b"\xff")) + at)
        kind, at = segment[1][0], segment.end()
        length = int.from_bytes(data[at : at + 2], "big")
        body = data[at + 2 : at + length]
        if kind in _FRAMES:
            wanted = set(body[6::3])  # components, such as luminance and two of colour
        elif kind == _SCAN and body:
            found |= set(body[1 : 1 + 2 * body[0] : 2])
        at += length
    if len(ends) > _MOST_SCANS:
        raise DatasetError(
            f"{path}: has {len(ends)} scans, where photographs have up to {_MOST_SCANS}; save it anew."
        )
    if not found >= wanted:
        raise DatasetError(f"{path}: is truncated, its colours are missing; {AGAIN}.")
    return ends if wanted else []


def _ends_flat(pixels: np.ndarray) -> bool:
    """Whether the last block of 8 x 8 is of one brightness, as those that lack are; it may be cut by the edge."""
    height, width = pixels.shape[:2]
    block = pixels[(height - 1) // 8 * 8 :, (width - 1) // 8 * 8 :].astype(np.int32)
    return np.ptp(block @ np.array([299, 587, 114])) <= 2000  # two units: colours are rounded


def _pixels(picture: Image.Image) -> np.ndarray:
    return np.array(picture if picture.mode == "RGB" else picture.convert("RGB"))


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
