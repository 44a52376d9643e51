"""Zip archives that store their records as they are, as `torch.save` and `numpy.savez` do.

Nothing is unpacked, so no archive can be larger than its file. Compressed, encrypted, overlapping and repeated records
are refused: neither program writes them.
"""

from __future__ import annotations

import contextlib
import os
import struct
import zipfile

from ..errors import WeightsError, plain
from .stored import DAMAGE, check_count


@contextlib.contextmanager
def opened(file):
    """The archive as a `zipfile.ZipFile`. Whatever is wrong with it, while it is open too, is a WeightsError."""
    try:
        with zipfile.ZipFile(file) as archive:
            names = archive.namelist()
            check_count(len(names), file)
            if len(set(names)) < len(names):
                raise WeightsError(
                    f"{file}: is a zip archive that holds two records of one name; save the weights again"
                )
            # overlapping records would make reading them all take the square of the file's size
            if sum(record.compress_size for record in archive.infolist()) > os.path.getsize(file):
                raise ValueError("its records overlap, or reach beyond its end")
            yield archive
    except (zipfile.BadZipFile, RuntimeError, OSError, *DAMAGE) as error:
        raise WeightsError(
            f"{file}: is a zip archive that is cut short or damaged ({plain(error)}); get another copy of it"
        ) from error


def refuse_packed(archive, file) -> None:
    """Raise WeightsError for an archive that does more than store."""
    for record in archive.infolist():
        if record.compress_type != zipfile.ZIP_STORED or record.flag_bits & 1:
            raise WeightsError(
                f"{file}: is a zip archive whose {plain(record.filename)} is compressed or encrypted, and weights "
                "are stored as they are; save them again"
            )
        if record.file_size != record.compress_size:
            raise ValueError(f"{plain(record.filename)} has two sizes")


def start(archive, record) -> int:
    """Where in the file a record's bytes begin: behind its own header, of 30 bytes, a name and an extra field."""
    with open(archive.filename, "rb") as stream:
        stream.seek(record.header_offset + 26)
        return record.header_offset + 30 + sum(struct.unpack("<HH", stream.read(4)))
