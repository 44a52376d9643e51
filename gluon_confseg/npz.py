"""Arrays in .npz files, which anyone may have written: their headers are read first and held against the file.

`numpy.load` makes an array as large as a header says, unpacks whatever the zip archive packs, and hands out records
that are no arrays. Here an array is made where the file holds its bytes, and a file that packs its arrays may unpack to
no more than `limits.max_bytes()`.
"""

from __future__ import annotations

import contextlib
import io
import lzma
import math
import os
import struct
import tokenize
import zipfile
import zlib
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from . import limits
from .errors import plain

_END = ".npy"
_LONGEST_HEADER = 10_000
_MOST_RECORDS = 10_000
_ENCRYPTED = 1
_READERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
_KINDS = "biufcUS"  # of numbers and text; an object array would be a pickle
# what zipfile and NumPy raise for damaged and odd files
DAMAGE = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, tokenize.TokenError, struct.error),
    *(EOFError, KeyError, MemoryError, OverflowError, RuntimeError, SyntaxError, TypeError, ValueError),
)


class Entry(NamedTuple):
    """An array in the archive. header: bytes that stand before its elements in the record."""

    shape: tuple
    dtype: np.dtype
    fortran_order: bool
    header: int
    record: zipfile.ZipInfo

    @property
    def size(self) -> int:
        """Bytes of its elements."""
        return self.record.file_size - self.header


class Archive:
    """An open .npz file.

    entries   name -> Entry of every array in it
    stored    whether nothing in it is packed, as `numpy.savez` writes it
    """

    def __init__(self, archive: zipfile.ZipFile):
        self.zip = archive
        records = archive.infolist()
        _check_records(records, os.fstat(archive.fp.fileno()).st_size)
        self.stored = all(record.compress_type == zipfile.ZIP_STORED for record in records)
        arrays = [record for record in records if record.filename.endswith(_END)]
        self.entries = {record.filename[: -len(_END)]: self._entry(record) for record in arrays}

    def read(self, name: str) -> np.ndarray:
        """An array. Raises ValueError where its bytes do not give their checksum."""
        entry = self.entries[name]
        with _one_error(), self.zip.open(entry.record) as stream:
            stream.read(entry.header)
            # one byte more than there should be: zipfile compares the checksum where it meets the end
            content = bytearray(stream.read(entry.size + 1))
            return np.ndarray(entry.shape, entry.dtype, content, order="F" if entry.fortran_order else "C")

    def _entry(self, record: zipfile.ZipInfo) -> Entry:
        with self.zip.open(record) as stream:
            head = io.BytesIO(stream.read(_LONGEST_HEADER))
        return Entry(*_header(head, record.filename, record.file_size), head.tell(), record)


def read_array(path) -> np.ndarray:
    """The array of an .npy file. Raises ValueError for all that is wrong with it; OSError where it can't be read."""
    with open(path, "rb") as stream, _one_error():
        head = io.BytesIO(stream.read(_LONGEST_HEADER))
        _header(head, os.path.basename(path), os.fstat(stream.fileno()).st_size)
        stream.seek(0)
        return np.lib.format.read_array(stream, allow_pickle=False)


def _header(head: io.BytesIO, name: str, size: int) -> tuple:
    """(shape, dtype, Fortran order) of an array of `size` bytes with its header; `head` is then behind it."""
    version = np.lib.format.read_magic(head)
    if version not in _READERS:
        raise ValueError(f"{name!r} is in version {version} of NumPy's format")
    start, content = head.tell(), head.getvalue()
    behind = start + (2 if version == (1, 0) else 4)
    header = content[: behind + int.from_bytes(content[start:behind], "little")]
    shape, fortran_order, dtype = _described(header)
    head.seek(len(header))
    sizes = all(type(side) is int and side >= 0 for side in shape)
    if dtype.kind not in _KINDS or not dtype.itemsize or dtype.subdtype or not sizes or len(shape) > 32:
        raise ValueError(f"{name!r} holds {dtype} of shape {shape}, which is no array of numbers")
    if math.prod(shape) * dtype.itemsize != size - head.tell():
        raise ValueError(f"{name!r} says that its shape is {shape}, and has other bytes than that")
    return shape, dtype, fortran_order


@lru_cache(maxsize=1024)
def _described(header: bytes) -> tuple:
    """(shape, Fortran order, dtype) of a header: the arrays of a network have few, and NumPy parses each slowly."""
    head = io.BytesIO(header)
    return _READERS[np.lib.format.read_magic(head)](head)


@contextlib.contextmanager
def opened(file):
    """The `Archive` of a path.

    Raises ValueError for all that is wrong with it, of which `limits.TooLarge` is one; OSError where it can't be read.
    """
    with open(file, "rb") as stream:
        with _one_error():
            archive = Archive(zipfile.ZipFile(stream))
        yield archive


@contextlib.contextmanager
def _one_error():
    try:
        yield
    except limits.TooLarge:
        raise
    except DAMAGE as error:
        raise ValueError(plain(error) or type(error).__name__) from error


def _check_records(records: list, size: int) -> None:
    """ValueError for a directory that NumPy has not written, and for one of more than may be unpacked."""
    if len(records) > _MOST_RECORDS:
        raise ValueError(f"it holds {len(records)} records")
    if len({record.filename for record in records}) < len(records):
        raise ValueError("it holds two records of one name")
    # records that lie over one another would unpack one piece of the file many times
    if sum(record.compress_size for record in records) > size:
        raise ValueError("its records overlap, or reach beyond its end")
    for record in records:
        if record.flag_bits & _ENCRYPTED:
            raise ValueError(f"{record.filename!r} is encrypted")
        if record.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ValueError(f"{record.filename!r} is packed in another way than NumPy packs")
    unpacked = sum(record.file_size for record in records)
    if unpacked > size:
        limits.check_bytes(unpacked, f"its {size / 1e6:,.1f} MB unpack to")
