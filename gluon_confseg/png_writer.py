"""PNG files that are encoded a few rows at a time, so that a picture of any size needs no memory but these rows.

OpenCV and Pillow encode whole pictures alone.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator

import numpy as np

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_COLOR_TYPES = {1: 0, 3: 2}  # channels -> gray, RGB
_FILTERS = {
    1: 0,
    3: 1,
}  # channels -> none, which suits class ids; difference to the left, which suits photographs
_LEVELS = {1: 4, 3: 2}  # of zlib


def parts(height: int, width: int, channels: int, bands: Iterable[np.ndarray]) -> Iterator[bytes]:
    """The content of a PNG file, in parts.

    channels   1: gray; 3: RGB
    bands      (rows, W) or (rows, W, 3) uint8, from the top on; together they have `height` rows
    """
    yield SIGNATURE + _chunk(
        b"IHDR", struct.pack(">IIBBBBB", width, height, 8, _COLOR_TYPES[channels], 0, 0, 0)
    )
    packer = zlib.compressobj(_LEVELS[channels], strategy=zlib.Z_DEFAULT_STRATEGY)
    for band in bands:
        packed = packer.compress(_filtered(band, channels))
        if packed:
            yield _chunk(b"IDAT", packed)
    yield _chunk(b"IDAT", packer.flush()) + _chunk(b"IEND", b"")


def _filtered(band: np.ndarray, channels: int) -> bytes:
    """The rows as they are compressed: each after the number of its filter."""
    rows = band.reshape(len(band), -1)
    lines = np.empty((len(rows), 1 + rows.shape[1]), np.uint8)
    lines[:, 0] = _FILTERS[channels]
    lines[:, 1:] = rows
    if _FILTERS[channels]:
        lines[:, 1 + channels :] -= rows[:, :-channels]
    return lines.tobytes()


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(body, zlib.crc32(kind)))
