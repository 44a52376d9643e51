"""Strict reading of PNG files: what is damaged, cut short or of the wrong kind is a DatasetError, never a picture.

Some decoders fill what is missing in a truncated file, so signature, chunks and their checksums are checked first;
that costs about 1 % of decoding.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from gluon_confseg.datasets import contents
from gluon_confseg.datasets.contents import AGAIN
from gluon_confseg.datasets.faults import Fault
from gluon_confseg.errors import DatasetError

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_HEADER_BYTES = 33  # signature (8) and IHDR: length, type, 13 bytes, CRC
_TRAILER = b"\0\0\0\0IEND\xaeB`\x82"
_GRAY, _PALETTE = 0, 3
_COLOR_TYPES = {0: "gray", 2: "RGB colours", 3: "palette indices", 4: "gray with alpha", 6: "RGBA colours"}


class Header(NamedTuple):
    """What the first chunk says. depth: bits per channel; color_type: 0 gray, 2 RGB, 3 palette, 4 and 6 with alpha."""

    width: int
    height: int
    depth: int
    color_type: int

    @property
    def size(self) -> str:
        return f"{self.width} x {self.height}"


def read_image(path: Path) -> np.ndarray:
    """A PNG file as (H, W, 3) uint8 RGB, whatever its depth and colour type; alpha is dropped."""
    data = contents.read(path)
    verify(path, data)
    # OpenCV would turn the picture by its EXIF orientation, and the label stays as it is
    image = _decode(path, data, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB, dst=image)


def read_label(path: Path) -> np.ndarray:
    """A PNG file of class indices, gray or palette with at most 8 bits, as (H, W) uint8 of the values stored."""
    return label_values(path, contents.read(path))


def label_values(path: Path, data: bytes) -> np.ndarray:
    """The same of a file's content; `path` is for messages."""
    header = verify(path, data)
    check_label_kind(path, header)
    if header.color_type == _PALETTE:
        data = _palette_as_gray(path, data)
    values = _decode(path, data, cv2.IMREAD_GRAYSCALE | cv2.IMREAD_IGNORE_ORIENTATION)
    if header.depth < 8:  # decoders stretch 1, 2 and 4 bits to 0..255
        values //= 255 // (2**header.depth - 1)
    return values


def read_instances(path: Path) -> np.ndarray:
    """A PNG file of instance ids, gray with 8 or 16 bits, as (H, W) uint16."""
    data = contents.read(path)
    header = verify(path, data)
    if header.color_type != _GRAY or header.depth < 8:
        raise Fault(
            "mode",
            f"{path}: its pixels are {header.depth}-bit {_COLOR_TYPES[header.color_type]}, where instance ids are one "
            f"16-bit channel; use the file that came with the label, or remove it.",
        )
    values = _decode(path, data, cv2.IMREAD_ANYDEPTH | cv2.IMREAD_GRAYSCALE | cv2.IMREAD_IGNORE_ORIENTATION)
    return values.astype(np.uint16, copy=False)


def palette(path: Path, data: bytes) -> np.ndarray | None:
    """(N, 3) uint8 RGB colours of a palette PNG's indices; None where it has no palette."""
    found = [data[start + 8 : end - 4] for kind, start, end in _chunks(path, data) if kind == b"PLTE"]
    return np.frombuffer(found[0], np.uint8).reshape(-1, 3) if found and len(found[0]) % 3 == 0 else None


def encode_indexed(values: np.ndarray, colors: np.ndarray) -> bytes:
    """(H, W) uint8 indices and (N, 3) uint8 RGB colours -> a palette PNG; decoded as a palette, the indices remain."""
    data = cv2.imencode(".png", values)[1].tobytes()
    parts = [data[:12], _header_as(data, _PALETTE), _chunk(b"PLTE", np.asarray(colors, np.uint8).tobytes())]
    return b"".join([*parts, *_pixels_of(data)])


def check_label_kind(path: Path, header: Header) -> None:
    """Raise DatasetError unless the header is that of a picture of 8-bit indices."""
    if header.color_type not in (_GRAY, _PALETTE):
        raise Fault(
            "rgb",
            f"{path}: its pixels are {_COLOR_TYPES[header.color_type]}, where a label must be one 8-bit channel of "
            f"class indices; convert the colours to indices, or use the label file that holds them.",
        )
    if header.depth > 8:
        raise Fault(
            "mode",
            f"{path}: holds {header.depth}-bit values, where a label must be one 8-bit channel of class indices; "
            f"is this a file of instance ids?",
        )


def peek(path: Path) -> Header:
    """The header, from the file's first and last bytes alone: finds empty and truncated files and other formats.

    Cheap enough for every file of a data set before a run; flipped bits in between are left to `verify`.
    """
    head, tail = contents.ends(path, _HEADER_BYTES, len(_TRAILER))
    if tail == _TRAILER:
        return _header(path, head)
    return verify(path, contents.read(path))  # it says what is wrong; bytes after the end are allowed


def verify(path: Path, data: bytes) -> Header:
    """Walk the chunks of a PNG file up to its end; raise DatasetError where it is cut short or a checksum is wrong."""
    header = _header(path, data)
    for _ in _chunks(path, data):
        pass
    return header


def _chunks(path: Path, data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """(kind, first byte, one past the last) of each chunk up to IEND, its checksum verified."""
    view, start, kind = memoryview(data), len(_SIGNATURE), b""
    while kind != b"IEND":
        if start + 12 > len(data):
            raise DatasetError(
                f"{path}: is truncated, its {len(data)} bytes end before the picture does; {AGAIN}."
            )
        length, kind = struct.unpack_from(">I4s", data, start)
        end = start + 12 + length
        if end > len(data):
            raise DatasetError(
                f"{path}: is truncated, {end - len(data)} bytes are missing after the {len(data)} it has; {AGAIN}."
            )
        if zlib.crc32(view[start + 4 : end - 4]) != int.from_bytes(view[end - 4 : end], "big"):
            raise DatasetError(
                f"{path}: is damaged, the checksum of its bytes {start} to {end} is wrong; {AGAIN}."
            )
        yield kind, start, end
        start = end


def _palette_as_gray(path: Path, data: bytes) -> bytes:
    """The same picture with its indices as gray values: decoders would turn them into colours, and lose them."""
    return b"".join([data[:12], _header_as(data, _GRAY), *_pixels_of(data, path)])


def _header_as(data: bytes, color_type: int) -> bytes:
    """The first chunk from its kind on, with another colour type."""
    header = data[12:25] + bytes([color_type]) + data[26:29]
    return header + struct.pack(">I", zlib.crc32(header))


def _pixels_of(data: bytes, path: Path | None = None) -> list:
    return [data[start:end] for kind, start, end in _chunks(path, data) if kind in (b"IDAT", b"IEND")]


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _header(path: Path, data: bytes) -> Header:
    if not data:
        raise DatasetError(f"{path}: is empty (0 bytes), where a PNG picture was expected; {AGAIN}.")
    if data[:8] != _SIGNATURE[: len(data)]:
        raise DatasetError(
            f"{path}: is no PNG file, whatever its name says (it begins with {bytes(data[:8])!r}); "
            f"convert it without loss, or {AGAIN}."
        )
    if len(data) < _HEADER_BYTES:
        raise DatasetError(f"{path}: is truncated, its {len(data)} bytes end inside the header; {AGAIN}.")
    header = Header(*struct.unpack_from(">IIBB", data, 16))
    if data[12:16] != b"IHDR" or header.color_type not in _COLOR_TYPES or 0 in header[:3]:
        raise DatasetError(f"{path}: is damaged, its header is that of no PNG file; {AGAIN}.")
    return header


def _decode(path: Path, data: bytes, flags: int) -> np.ndarray:
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:  # more pixels than OpenCV allows
        raise _undecodable(path) from error
    if image is None:
        raise _undecodable(path)
    return image


def _undecodable(path: Path) -> DatasetError:
    return DatasetError(f"{path}: the picture data in this PNG file can't be decoded; {AGAIN}.")
