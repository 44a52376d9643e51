"""Strict reading of PNG files: what is damaged, cut short or of the wrong kind is a DatasetError, never a picture.

Pillow verifies the checksum of every chunk before anything is decoded.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image

from gluon_confseg.datasets import contents, photograph
from gluon_confseg.datasets.contents import AGAIN, PILLOW_ERRORS
from gluon_confseg.datasets.faults import Fault
from gluon_confseg.datasets.photograph import Photograph
from gluon_confseg.errors import DatasetError

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_HEAD_BYTES = 1 << 16
_TRAILER = b"\0\0\0\0IEND\xaeB`\x82"
_GRAY, _PALETTE, _GRAY_ALPHA = 0, 3, 4
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_COLOR_TYPES = {0: "gray", 2: "RGB colours", 3: "palette indices", 4: "gray with alpha", 6: "RGBA colours"}


class Header(NamedTuple):
    """What the first chunk says, and EXIF.

    depth           bits per channel
    color_type      0 gray, 2 RGB, 3 palette, 4 and 6 gray and RGB with alpha
    orientation     EXIF's; of a file that was not read as a whole, if that stands before the pixels, as it should
    """

    width: int
    height: int
    depth: int
    color_type: int
    orientation: int = 1


def read(path: Path, data: bytes | None = None) -> Photograph:
    """A PNG file of any depth and colour type: 16 bits are divided by 256, alpha is dropped."""
    data = contents.read(path) if data is None else data
    header, values = verify(path, data), None
    if header.depth == 16:
        image = _decode(path, data, cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH)
        values = int(image.min()), int(image.max())
        image = np.right_shift(image, 8, out=image).astype(np.uint8)
    else:
        image = _decode(path, data, cv2.IMREAD_COLOR)
    return Photograph(cv2.cvtColor(image, cv2.COLOR_BGR2RGB, dst=image), header.orientation, values)


def read_image(path: Path) -> np.ndarray:
    """A PNG file as (H, W, 3) uint8 RGB."""
    return read(path).pixels


def read_label(path: Path) -> np.ndarray:
    """A PNG file of class indices, gray or palette with at most 8 bits, as (H, W) uint8 of the values stored."""
    return label_values(path, contents.read(path))


def label_values(path: Path, data: bytes) -> np.ndarray:
    """The same of a file's content; `path` is for messages."""
    header = verify(path, data)
    check_label_kind(path, header)
    return _channel(path, data, header)[0]


def _channel(path: Path, data: bytes, header: Header) -> tuple[np.ndarray, np.ndarray | None]:
    """(H, W) uint8 of the values stored, gray or palette with at most 8 bits; (N, 3) uint8 colours of the palette."""
    values = _decode(path, data, cv2.IMREAD_GRAYSCALE)
    if header.color_type == _PALETTE:  # of which OpenCV gives the colours
        with contents.opened(path, data, "PNG") as picture:
            return np.array(picture), np.array(picture.getpalette("RGB"), np.uint8).reshape(-1, 3)
    if header.depth < 8:  # decoders stretch 1, 2 and 4 bits to 0..255
        values //= 255 // (2**header.depth - 1)
    return values, None


class Stored(NamedTuple):
    """A label of any form. values: (H, W) uint8 or uint16 as stored, or (H, W, 3) RGB; palette: (N, 3) uint8, None."""

    values: np.ndarray
    palette: np.ndarray | None
    header: Header


def read_stored(path: Path) -> Stored:
    """A PNG file of any depth and colour type, unscaled. Alpha is dropped from colours; in gray it must be opaque."""
    data = contents.read(path)
    header = verify(path, data)
    if header.color_type in (_GRAY, _PALETTE) and header.depth <= 8:
        return Stored(*_channel(path, data, header), header)
    if header.color_type == _GRAY:
        return Stored(_decode(path, data, cv2.IMREAD_ANYDEPTH | cv2.IMREAD_GRAYSCALE), None, header)
    if header.color_type == _GRAY_ALPHA:
        pixels = _decode(path, data, cv2.IMREAD_UNCHANGED)
        if (pixels[..., -1] != np.iinfo(pixels.dtype).max).any():
            raise Fault(
                "mode",
                f"{path}: is gray with transparent pixels, so that a class may be meant by the gray or by the "
                f"transparency; save it as one channel without alpha.",
            )
        return Stored(np.ascontiguousarray(pixels[..., 0]), None, header)
    pixels = _decode(path, data, cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH)
    return Stored(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), None, header)


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
    values = _decode(path, data, cv2.IMREAD_ANYDEPTH | cv2.IMREAD_GRAYSCALE)
    return values.astype(np.uint16, copy=False)


def palette(path: Path, data: bytes) -> np.ndarray | None:
    """(N, 3) uint8 RGB colours of a palette PNG's indices; None where it has no palette."""
    if verify(path, data).color_type != _PALETTE:
        return None
    with contents.opened(path, data, "PNG") as picture:
        return np.array(picture.getpalette("RGB"), np.uint8).reshape(-1, 3)


def encode_indexed(values: np.ndarray, colors: np.ndarray) -> bytes:
    """(H, W) uint8 indices and (N, 3) uint8 RGB colours -> a palette PNG; decoded as a palette, the indices remain."""
    picture, file = Image.fromarray(values), io.BytesIO()
    picture.putpalette(np.asarray(colors, np.uint8).tobytes())
    picture.save(file, "PNG")
    return file.getvalue()


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
    head, tail = contents.ends(path, _HEAD_BYTES, len(_TRAILER))
    if head.startswith(_SIGNATURE) and tail == _TRAILER:
        header = _header(path, head)
        if any(kind == b"IDAT" for kind, _ in _chunks(head)):
            return header
    return verify(path, contents.read(path))  # it says what is wrong; bytes after the end are allowed


def verify(path: Path, data: bytes) -> Header:
    """The header; DatasetError where the file is cut short, a checksum is wrong, or it is no PNG."""
    # of the last chunk, Pillow looks at no more than the kind
    contents.check_ends(path, data, "PNG", _SIGNATURE, _TRAILER, "convert it without loss")
    header = _header(path, data)
    try:
        with contents.opened(path, data, "PNG") as picture:
            picture.verify()
    except PILLOW_ERRORS as error:
        remedy = "save it without texts and colour profile" if isinstance(error, ValueError) else AGAIN
        raise DatasetError(f"{path}: is damaged ({error}); {remedy}.") from error
    chunks = list(_chunks(data))
    if any(kind == b"acTL" for kind, _ in chunks):
        raise DatasetError(
            f"{path}: is an animation (APNG); save the picture that is meant as a file of its own."
        )
    row = -(-header.width * header.depth * _CHANNELS[header.color_type] // 8) + 1
    if sum(len(body) for kind, body in chunks if kind == b"IDAT") > 2 * header.height * row + 2**16:
        # decoders would unpack all of it, a thousand times as much
        raise DatasetError(f"{path}: is damaged, it holds more than the pixels of its size; {AGAIN}.")
    return header


def _header(path: Path, data: bytes) -> Header:
    """What the first chunk says, which is there and sound, and the EXIF among the others."""
    header = Header(*struct.unpack_from(">IIBB", data.ljust(26), 16))
    whole = data[8:16] == b"\0\0\0\rIHDR" and data[29:33] == struct.pack(">I", zlib.crc32(data[12:29]))
    if not whole or header.color_type not in _COLOR_TYPES or 0 in header[:3]:
        raise DatasetError(f"{path}: is damaged, its header is that of no PNG file; {AGAIN}.")
    photograph.check_pixels(path, header.width, header.height)
    exif = next((body for kind, body in _chunks(data) if kind == b"eXIf"), None)
    return header._replace(orientation=photograph.orientation(exif))


def _chunks(data: bytes) -> Iterator[tuple[bytes, memoryview]]:
    """The kind and the body of each chunk; of the last, if data end before it, what is there."""
    content, at = memoryview(data), len(_SIGNATURE)
    while at + 8 <= len(content):
        length, kind = struct.unpack_from(">I4s", content, at)
        yield kind, content[at + 8 : at + 8 + length]
        at += length + 12


def _decode(path: Path, data: bytes, flags: int) -> np.ndarray:
    """The pixels by OpenCV: it is quicker than Pillow, and insists on the last row, which Pillow would make black."""
    # it would turn a picture by its EXIF orientation, and not its label
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error:  # a side of more than 2**20 pixels
        image = None
    if image is None:
        raise DatasetError(f"{path}: the picture data in this PNG file can't be decoded; {AGAIN}.")
    return image
