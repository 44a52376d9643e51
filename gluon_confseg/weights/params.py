"""MXNet's `.params`: a list of arrays, then their names.

Read here and not by MXNet, whose reader trusts the lengths that a file declares. Whole numbers are little-endian:

    file    u64 0x112, u64 0; u64 count, arrays; u64 count, names (u64 length, bytes)
    array   u32 magic; [i32 storage]; i32 axes, i64 each; i32 device, i32 its number; i32 type; elements
    before MXNet 0.11: no magic, and u32 axes, u32 each
"""

from __future__ import annotations

import os
import struct

from ..errors import WeightsError, plain
from .stored import (
    BFLOAT16,
    LONGEST_NAME,
    Arrays,
    Stored,
    check_count,
    checked_name,
    checked_shape,
    item_size,
    span,
)

MAGIC = struct.pack("<Q", 0x112)
_V1, _V2, _V3 = 0xF993FAC8, 0xF993FAC9, 0xF993FACA
_DENSE = 0
_TYPES = {0: "<f4", 1: "<f8", 2: "<f2", 3: "|u1", 4: "<i4", 5: "|i1", 6: "<i8", 7: "|b1", 12: BFLOAT16}


def read(file) -> Arrays:
    """name -> Stored, in the file's order. Raises WeightsError for anything but a whole, dense, named list."""
    with open(file, "rb") as stream:
        reader = _Reader(stream, file)
        try:
            return reader.arrays_by_name()
        except ValueError as error:
            raise WeightsError(
                f"{file}: is a damaged MXNet .params file ({error}); get another copy of it"
            ) from error


class _Reader:
    """Walks the file; every length is held against what is left of the file before it is believed."""

    def __init__(self, stream, file):
        self.stream, self.file = stream, str(file)
        self.left = os.fstat(stream.fileno()).st_size

    def arrays_by_name(self) -> Arrays:
        self.skip(16)
        count = self.count(at_least=4)
        check_count(count, self.file)
        arrays = [self.array() for _ in range(count)]
        count = self.count(at_least=8)
        check_count(count, self.file)
        names = [self.name() for _ in range(count)]
        if self.left:
            raise ValueError(f"{self.left} bytes follow its end")
        if arrays and not names:
            raise WeightsError(
                f"{self.file}: holds arrays without names; write it with save_parameters(), which names them"
            )
        if len(arrays) != len(names) or len(set(names)) != len(names):
            raise ValueError(f"{len(arrays)} arrays have {len(set(names))} different names")
        return Arrays((name, array) for name, array in zip(names, arrays) if array is not None)

    def array(self):
        """One array; None for one without a shape, which MXNet writes for an array that was never filled."""
        shape = self.shape()
        if shape is None:
            return None
        _, _, code = self.numbers("<iii")
        if code not in _TYPES:
            raise ValueError(f"an array of type {code}, which MXNet has not")
        array = Stored(self.file, self.stream.tell(), _TYPES[code], shape)
        self.skip(span(shape) * item_size(array.dtype))
        return array

    def shape(self):
        (magic,) = self.numbers("<I")
        if magic not in (_V1, _V2, _V3):
            return self.sizes(magic, "I") or None  # the oldest files: the number of axes stands there
        if magic != _V1 and self.numbers("<i") != (_DENSE,):
            raise WeightsError(
                f"{self.file}: holds a sparse array, and weights here are dense: "
                "convert it with tostype('default') and save it again"
            )
        (axes,) = self.numbers("<i")
        if magic == _V3:  # with NumPy's shapes, no axes mean a single number
            return None if axes == -1 else self.sizes(axes, "q")
        return self.sizes(axes, "q") or None

    def sizes(self, axes: int, kind: str) -> tuple:
        if not 0 <= axes <= 32:
            raise ValueError(f"an array of {axes} axes")
        return checked_shape(self.numbers(f"<{axes}{kind}"), "an array")

    def name(self) -> str:
        length = self.count(at_least=1)
        if length > 4 * LONGEST_NAME:
            raise ValueError(f"a name has {length} bytes")
        raw = self.take(length)
        try:
            return checked_name(raw.decode())
        except UnicodeDecodeError:
            raise ValueError(f"a name that is no text: {plain(raw[:20])}") from None

    def count(self, at_least: int) -> int:
        """A number of things, of which each takes some bytes of the file."""
        (count,) = self.numbers("<Q")
        if count * at_least > self.left:
            raise ValueError("it is cut short, or declares more than it holds")
        return count

    def numbers(self, layout: str) -> tuple:
        return struct.unpack(layout, self.take(struct.calcsize(layout)))

    def take(self, length: int) -> bytes:
        self._within(length)
        return self.stream.read(length)

    def skip(self, length: int) -> None:
        self._within(length)
        self.stream.seek(length, os.SEEK_CUR)

    def _within(self, length: int) -> None:
        if length > self.left:
            raise ValueError("it is cut short, or declares more than it holds")
        self.left -= length
