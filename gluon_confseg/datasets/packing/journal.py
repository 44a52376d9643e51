"""What an interrupted packing has done: a line per sample, each with a checksum of its own."""

from __future__ import annotations

import json
import os
import zlib
from pathlib import Path

from gluon_confseg import files

JOURNAL = "journal.jsonl"


def read(folder: Path) -> dict[str, int]:
    """{fingerprint: checksum} of samples that may be in the data file; cut or damaged lines don't count."""
    path, found = folder / JOURNAL, {}
    for line in path.read_bytes().splitlines() if path.exists() else ():
        content, _, check = line.rpartition(b" ")
        if check == b"%08x" % zlib.crc32(content):
            fingerprint, checksum = json.loads(content)
            found[fingerprint] = checksum
    return found


def begin(folder: Path, known: dict[str, int]) -> None:
    """Replace the journal by one of these samples."""
    files.write_bytes(folder / JOURNAL, _lines(known))


def add(folder: Path, done: dict[str, int]) -> None:
    """Note samples whose bytes are on the disk."""
    with open(folder / JOURNAL, "ab") as file:
        file.write(_lines(done))
        file.flush()
        os.fsync(file.fileno())


def _lines(samples: dict[str, int]) -> bytes:
    contents = [json.dumps(pair).encode() for pair in samples.items()]
    # each begins on a line of its own, also behind one that was cut short
    return b"".join(b"\n%s %08x\n" % (content, zlib.crc32(content)) for content in contents)
