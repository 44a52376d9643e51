"""Strict reading of JPEG files: what is cut short or is no JPEG is a DatasetError, never a half-grey picture.

Decoders fill in what a truncated file lacks, so the markers are walked up to the end of the image first. JPEG has no
checksums: a flipped bit inside the compressed pixels that leaves the markers whole is a picture like any other.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from gluon_confseg.datasets import contents
from gluon_confseg.datasets.contents import AGAIN
from gluon_confseg.errors import DatasetError

_START, _END = b"\xff\xd8", b"\xff\xd9"
_END_OF_IMAGE, _START_OF_SCAN = 0xD9, 0xDA
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # start of frame, by coding; the three are tables
_TABLES = {0xC4, 0xCC, 0xDA, 0xDB, 0xDC, 0xDD, 0xFE, *range(0xE0, 0xF0)}
_AFTER_PIXELS = re.compile(
    rb"\xff[^\x00\xd0-\xd7\xff]"
)  # in a scan, FF 00 is a value and FF D0-D7 go on with it
_HEAD_BYTES = 1 << 16


class Header(NamedTuple):
    """What the start of the frame says."""

    width: int
    height: int


def read_image(path: Path) -> np.ndarray:
    """A JPEG file as (H, W, 3) uint8 RGB, gray ones too; not turned by its EXIF orientation, as its label is not."""
    data = contents.read(path)
    header = verify(path, data)
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error as error:  # more pixels than OpenCV allows
        raise _undecodable(path) from error
    if image is None or image.shape[:2] != (header.height, header.width):
        raise _undecodable(path)
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB, dst=image)


def peek(path: Path) -> Header:
    """The header, from the file's first and last bytes where they tell; finds empty and truncated files."""
    head, tail = contents.ends(path, _HEAD_BYTES, len(_END))
    if tail == _END and head[:2] == _START:
        frame = _frame(head, _segments(path, head, cut=True))
        if frame is not None:
            return frame
    return verify(path, contents.read(path))  # it says what is wrong; bytes after the end are allowed


def verify(path: Path, data: bytes) -> Header:
    """Walk the markers of a JPEG file up to its end; raise DatasetError where it is cut short or damaged."""
    if not data:
        raise DatasetError(f"{path}: is empty (0 bytes), where a JPEG picture was expected; {AGAIN}.")
    if data[:2] != _START[: len(data)]:
        raise DatasetError(
            f"{path}: is no JPEG file, whatever its name says (it begins with {bytes(data[:8])!r}); "
            f"convert it, or {AGAIN}."
        )
    segments = list(_segments(path, data))
    header = _frame(data, segments)
    if header is None or 0 in header or all(kind != _START_OF_SCAN for kind, _, _ in segments):
        raise DatasetError(f"{path}: is damaged, it has no JPEG header or no pixels; {AGAIN}.")
    return header


def _segments(path: Path, data: bytes, cut: bool = False) -> Iterator[tuple[int, int, int]]:
    """(marker, first byte, one past the last) of each segment's content, up to the end of the image.

    cut     `data` is only the beginning: stop where it ends, or where the pixels start
    """
    position = len(_START)
    while True:
        while data[position : position + 2] == b"\xff\xff":  # markers may be padded
            position += 1
        marker = data[position + 1] if position + 1 < len(data) else None
        if marker == _END_OF_IMAGE and data[position] == 0xFF:
            return
        end = position + 2 + int.from_bytes(data[position + 2 : position + 4], "big")
        if cut and (end > len(data) or marker == _START_OF_SCAN):
            return
        _check_segment(path, data, position, marker, end)
        yield marker, position + 4, end
        position = _after_scan(path, data, end) if marker == _START_OF_SCAN else end


def _check_segment(path: Path, data: bytes, position: int, marker: int | None, end: int) -> None:
    if position + 4 > len(data) or (end > len(data) and data[position] == 0xFF):
        raise _truncated(path, data)
    known = marker in _TABLES or marker in _FRAMES
    if data[position] != 0xFF or not known or end < position + 4:
        raise DatasetError(f"{path}: is damaged, there is no JPEG marker at its byte {position}; {AGAIN}.")


def _after_scan(path: Path, data: bytes, start: int) -> int:
    found = _AFTER_PIXELS.search(data, start)
    if found is None:
        raise _truncated(path, data)
    return found.start()


def _frame(data: bytes, segments) -> Header | None:
    for marker, start, end in segments:
        if marker in _FRAMES and end - start >= 6:
            height, width = (int.from_bytes(data[at : at + 2], "big") for at in (start + 1, start + 3))
            return Header(width, height)
    return None


def _truncated(path: Path, data: bytes) -> DatasetError:
    return DatasetError(f"{path}: is truncated, its {len(data)} bytes end before the picture does; {AGAIN}.")


def _undecodable(path: Path) -> DatasetError:
    return DatasetError(f"{path}: the picture data in this JPEG file can't be decoded; {AGAIN}.")
