"""Packs a split into a folder, unless that is done already: a damaged, unfinished or outdated pack is made anew."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from gluon_confseg.datasets.base import SegmentationDataset, in_threads
from gluon_confseg.datasets.packing import index as indices
from gluon_confseg.datasets.packing.index import DATA, INDEX, Entry, Index
from gluon_confseg.datasets.packing.packed import Packed
from gluon_confseg.errors import DatasetError

LOCK = "lock"
_MARGIN = 2**20


def pack(
    dataset: SegmentationDataset,
    folder,
    progress: Callable[[int], None] | None = None,
    workers: int = 2,
    thorough: bool = False,
    say: Callable[[str], None] | None = None,
) -> Packed:
    """The pack of a data set in a folder: opened where it is there and whole, else made.

    progress    called with the number of samples done
    workers     threads that decode: OpenCV and zlib let others run meanwhile
    thorough    verify every sample of a finished pack now; else each is verified when it is first read
    say         called with one sentence on why a pack is made again, and one on the disk space it takes, before the
                first byte
    Raises DatasetError: too little room on the disk (before the first byte), a sample that can't be read, a folder
    that is being packed by another process or can't be written.
    """
    folder, plan = Path(folder), indices.plan(dataset)
    try:
        found = indices.load(folder)
        if found.fingerprints() != plan.fingerprints():
            raise DatasetError(
                f"{folder}: was packed from other files, or by other rules, than there are now; "
                f"pack the data set again."
            )
        packed = Packed(folder, plan.with_checksums(entry.checksum for entry in found.entries))
        packed.check(thorough)
        return packed
    except DatasetError as error:
        if say and any((folder / name).exists() for name in (INDEX, DATA)):
            say(f"{error} This is done now.")
    _check_room(folder, plan, say)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with open(folder / LOCK, "w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise DatasetError(
                    f"{folder}: is being packed by another process; wait until that is done, then start again."
                ) from error
            return Packed(folder, _fill(dataset, folder, plan, progress, workers))
    except OSError as error:
        raise DatasetError(
            f"{error.filename or folder}: the pack can't be written ({error.strerror or error}); make room, choose "
            "another folder, or train without a pack"
        ) from error


def needed(dataset: SegmentationDataset) -> int:
    """Bytes of disk that the pack of a data set takes, from the headers of its files."""
    return indices.plan(dataset).total


def _check_room(folder: Path, plan: Index, say: Callable[[str], None] | None) -> None:
    nearest = next(path for path in [folder, *folder.absolute().parents] if path.exists())
    there = 0
    with contextlib.suppress(OSError):
        there = (folder / DATA).stat().st_blocks * 512
    need, free = max(0, plan.total - there) + _MARGIN, shutil.disk_usage(nearest).free
    if say:
        say(
            f"Packing {len(plan.entries)} images takes {_size(plan.total)} of disk in {folder}: "
            f"{_size(need)} more than now, of {_size(free)} that are free."
        )
    if need > free:
        raise DatasetError(
            f"{folder}: packing takes {_size(need)} of disk, and only {_size(free)} are free; make room, choose "
            f"another folder, or train without a pack."
        )


def _size(count: int) -> str:
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.1f} MiB"


def _fill(dataset, folder: Path, plan: Index, progress: Callable[[int], None] | None, workers: int) -> Index:
    """Write the data, and when all of it is on the disk, the index."""
    for path in [folder / INDEX, folder / DATA, *folder.glob(".*.part")]:
        path.unlink(missing_ok=True)
    try:
        checksums = []
        with open(folder / DATA, "xb", buffering=0) as file:
            file.truncate(plan.total)
            if plan.total and hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, plan.total)  # so that the disk can't run full later
            for value in in_threads(
                lambda n: _pack_one(dataset, n, plan.entries[n], file.fileno()), len(dataset), max(1, workers)
            ):
                checksums.append(value)
                if progress:
                    progress(len(checksums))
            os.fsync(file.fileno())
        index = plan.with_checksums(checksums)
        indices.save(folder, index)
    except OSError as error:
        error.filename = error.filename or str(folder / DATA)
        (folder / DATA).unlink(missing_ok=True)  # it would keep the disk full
        raise
    return index


def _pack_one(dataset: SegmentationDataset, number: int, entry: Entry, descriptor: int) -> int:
    """Write a sample to its place in the data file; its CRC-32."""
    image, mask = dataset[number]
    if image.shape != (entry.height, entry.width, 3) or image.dtype != np.uint8:
        raise DatasetError(
            f"{entry.sources[0][0]}: gives an image of {image.shape} {image.dtype}, where its header says "
            f"{entry.width} x {entry.height}; was it changed just now? Start again."
        )
    checksum, offset = 0, entry.offset
    for array in map(np.ascontiguousarray, (image, mask)):
        checksum = zlib.crc32(array, checksum)
        view = memoryview(array).cast("B")
        while view:
            written = os.pwrite(descriptor, view, offset)
            view, offset = view[written:], offset + written
    return checksum
