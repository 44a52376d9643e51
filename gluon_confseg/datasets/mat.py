"""SBD's label files: MATLAB 5 files with a struct GTcls whose field Segmentation holds class indices.

Read here and not by SciPy, whose reader kills the process on some damaged files. What is written compressed carries
checksums, which are verified; a flipped bit in the pixels of an uncompressed file is a value like any other.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from gluon_confseg.datasets import contents
from gluon_confseg.datasets.contents import AGAIN
from gluon_confseg.errors import DatasetError

_HEADER_BYTES = 128
_INT8, _INT32, _UINT32, _MATRIX, _COMPRESSED = 1, 5, 6, 14, 15  # types of elements
_NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_STRUCT, _NUMERIC = 2, range(6, 16)  # classes of arrays: double, single, int8 ... uint64
_MOST = 1 << 26  # bytes that a variable may unpack to
_VARIABLE, _FIELD = b"GTcls", b"Segmentation"


class _Malformed(ValueError):
    """What is wrong with a file, to stand between its path and the remedy."""


class _Array(NamedTuple):
    """An array, its header read. content: the elements that follow it."""

    kind: int
    shape: tuple[int, ...]
    name: bytes
    content: list[tuple[int, memoryview]]


def read_label(path: Path) -> np.ndarray:
    """Class indices as (H, W) uint8; one DatasetError for a file that is damaged or anything else."""
    data = contents.read(path)
    try:
        order = _byte_order(data)
        arrays = [_array(body, order) for body in _variables(memoryview(data)[_HEADER_BYTES:], order)]
        return _indices(_field(arrays, order), order)
    except _Malformed as error:
        raise DatasetError(f"{path}: {error}; {AGAIN}.") from error


def _byte_order(data: bytes) -> str:
    if not data:
        raise _Malformed("is empty (0 bytes), where a MATLAB file was expected")
    if data[:10] != b"MATLAB 5.0"[: len(data)]:
        raise _Malformed(f"is no MATLAB 5 file, as SBD's are (it begins with {bytes(data[:8])!r})")
    if len(data) < _HEADER_BYTES:
        raise _Malformed(f"is a truncated MATLAB file, its {len(data)} bytes end inside the header")
    order = {b"IM": "<", b"MI": ">"}.get(data[126:128])
    if order is None:
        raise _Malformed("is damaged, its header gives no byte order")
    return order


def _variables(data: memoryview, order: str) -> Iterator[memoryview]:
    """The content of each variable up to the very end of the file, unpacked."""
    position = 0
    while position < len(data) or position == 0:
        kind, body, position = _element(data, position, order)
        if kind == _COMPRESSED:
            kind, body, _ = _element(_unpacked(body), 0, order)
        if kind != _MATRIX:
            raise _Malformed("is damaged, something else than a variable is in it")
        yield body


def _element(data: memoryview, position: int, order: str) -> tuple[int, memoryview, int]:
    """(type, content, where the next one starts) of the element at `position`."""
    if position + 8 > len(data):
        raise _Malformed("is truncated or damaged, its data end inside an element")
    (tag,) = struct.unpack_from(f"{order}I", data, position)
    kind, length, start = tag & 0xFFFF, tag >> 16, position + 4
    if length == 0:  # else up to four bytes stand in the tag itself
        (length,) = struct.unpack_from(f"{order}I", data, position + 4)
        start = position + 8
    elif length > 4:
        raise _Malformed("is damaged, an element has an impossible length")
    padded = length if kind == _COMPRESSED else -(-length // 8) * 8
    end = start + padded if start == position + 8 else position + 8
    if end > len(data):
        raise _Malformed(f"is truncated or damaged, {end - len(data)} bytes of an element are missing")
    return kind, data[start : start + length], end


def _unpacked(packed: memoryview) -> memoryview:
    unpacker = zlib.decompressobj()
    try:
        data = unpacker.decompress(packed, _MOST)
    except zlib.error as error:
        raise _Malformed(f"is damaged, a variable can't be unpacked ({error})") from error
    if not unpacker.eof:
        reason = "would unpack to more than 64 MB" if len(data) >= _MOST else "ends inside a variable"
        raise _Malformed(f"is damaged, it {reason}")
    return memoryview(data)


def _array(body: memoryview, order: str) -> _Array:
    elements, position = [], 0
    while position < len(body):
        kind, content, position = _element(body, position, order)
        elements.append((kind, content))
    kinds = [kind for kind, _ in elements[:3]]
    if kinds != [_UINT32, _INT32, _INT8] or len(elements[0][1]) != 8 or len(elements[1][1]) % 4:
        raise _Malformed("is damaged, the header of an array in it is none")
    (flags,) = struct.unpack_from(f"{order}I", elements[0][1])
    shape = tuple(np.frombuffer(elements[1][1], f"{order}i4").tolist())
    return _Array(flags & 0xFF, shape, bytes(elements[2][1]), elements[3:])


def _field(arrays: list[_Array], order: str) -> _Array:
    labels = next((array for array in arrays if array.name == _VARIABLE), None)
    if labels is None:
        raise _Malformed("holds no variable GTcls, so it is none of SBD's cls/*.mat")
    if labels.kind != _STRUCT or math.prod(labels.shape) != 1 or len(labels.content) < 2:
        raise _Malformed("holds a GTcls that is not one struct, so it is none of SBD's cls/*.mat")
    width = int.from_bytes(labels.content[0][1], "little" if order == "<" else "big")
    joined = bytes(labels.content[1][1])
    if not width or len(joined) != width * (len(labels.content) - 2):
        raise _Malformed("is damaged, its struct has not as many fields as names")
    names = [joined[start : start + width].rstrip(b"\0") for start in range(0, len(joined), width)]
    fields = dict(zip(names, labels.content[2:]))
    if _FIELD not in fields or fields[_FIELD][0] != _MATRIX:
        raise _Malformed("holds a GTcls without Segmentation, so it is none of SBD's cls/*.mat")
    return _array(fields[_FIELD][1], order)


def _indices(array: _Array, order: str) -> np.ndarray:
    if array.kind not in _NUMERIC or len(array.shape) != 2 or min(array.shape) < 1 or not array.content:
        raise _Malformed("holds a Segmentation that is no picture of rows and columns")
    kind, content = array.content[0]
    dtype = np.dtype(order + _NUMBERS.get(kind, "u1"))
    if kind not in _NUMBERS or len(content) != math.prod(array.shape) * dtype.itemsize:
        raise _Malformed("is damaged, its Segmentation has not as many values as its size says")
    values = np.frombuffer(content, dtype)
    if dtype != np.uint8 and not ((values >= 0) & (values <= 255) & (values == np.floor(values))).all():
        raise _Malformed("holds a Segmentation with more than class indices from 0 to 255")
    return np.ascontiguousarray(values.astype(np.uint8).reshape(array.shape, order="F"))
