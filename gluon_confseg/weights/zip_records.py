"""The records of a zip archive that stores them as they are, as `torch.save` and `numpy.savez` do.

Nothing is unpacked, so no archive can be larger than its file. Compressed, encrypted, overlapping and repeated records
are refused: neither program writes them.
"""

from __future__ import annotations

import os
import struct
import zipfile
import zlib
from typing import NamedTuple

from ..errors import WeightsError
from .stored import plain

_LOCAL = struct.Struct("<4s22xHH")  # signature; lengths of the name and of the extra field that follow
_BLOCK = 1 << 20


class Record(NamedTuple):
    """Where a record's bytes lie in the file, and their CRC-32. packed: they are compressed or encrypted."""

    start: int
    size: int
    crc: int
    packed: bool = False


def read(file) -> dict:
    """name -> Record. Raises WeightsError for a damaged archive."""
    try:
        with zipfile.ZipFile(file) as archive, open(file, "rb") as stream:
            entries = [entry for entry in archive.infolist() if not entry.filename.endswith("/")]
            records = [_record(stream, entry) for entry in entries]
            _check_extents([*records], os.fstat(stream.fileno()).st_size)
    except (
        ValueError,
        zipfile.BadZipFile,
        NotImplementedError,
        struct.error,
        OSError,
        OverflowError,
        IndexError,
    ) as error:
        raise WeightsError(
            f"{file}: is a zip archive that is cut short or damaged ({plain(error)}); get another copy of it"
        ) from error
    by_name = {entry.filename: record for entry, record in zip(entries, records)}
    if len(by_name) < len(entries):
        raise WeightsError(
            f"{file}: is a zip archive that holds two records of one name; save the weights again"
        )
    return by_name


def refuse_packed(file, records: dict) -> None:
    """Raise WeightsError for an archive that does more than store."""
    for name, record in records.items():
        if record.packed:
            raise WeightsError(
                f"{file}: is a zip archive whose {plain(name)} is compressed or encrypted, and weights are stored "
                "as they are; save them again"
            )


def content(file, record: Record) -> bytes:
    """A record's bytes, for small ones."""
    with open(file, "rb") as stream:
        stream.seek(record.start)
        return stream.read(record.size)


def check(file, record: Record, name: str) -> None:
    """Raise WeightsError where a record's bytes do not give its checksum."""
    crc, left = 0, record.size
    with open(file, "rb") as stream:
        stream.seek(record.start)
        while left:
            block = stream.read(min(left, _BLOCK))
            if not block:
                break
            crc, left = zlib.crc32(block, crc), left - len(block)
    if left or crc != record.crc:
        raise WeightsError(
            f"{file}: is damaged ({plain(name)} does not give its checksum); get another copy of it"
        )


def _record(stream, entry) -> Record:
    stream.seek(entry.header_offset)
    signature, name, extra = _LOCAL.unpack(stream.read(_LOCAL.size))
    if signature != b"PK\x03\x04":
        raise ValueError(f"{plain(entry.filename)} is not where it should be")
    packed = entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1 == 1
    if not packed and entry.file_size != entry.compress_size:
        raise ValueError(f"{plain(entry.filename)} has two sizes")
    return Record(entry.header_offset + _LOCAL.size + name + extra, entry.compress_size, entry.CRC, packed)


def _check_extents(records: list, size: int) -> None:
    end = 0
    for record in sorted(records):
        if record.start < end or record.start + record.size > size:
            raise ValueError("its records overlap, or reach beyond its end")
        end = record.start + record.size
