"""Packs a split, or the rest of one: killed at any moment, the next call goes on, and ends with the same bytes."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import time
import zlib
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from gluon_confseg.datasets.base import SegmentationDataset
from gluon_confseg.datasets.packing import index as indices
from gluon_confseg.datasets.packing import journal
from gluon_confseg.datasets.packing.index import DATA, INDEX, Index
from gluon_confseg.datasets.packing.packed import Packed, checksum, write
from gluon_confseg.errors import DatasetError

LOCK = "lock"
SYNC_EVERY = 2.0  # seconds of work that a kill may cost
_MARGIN = 2**20


def pack(
    dataset: SegmentationDataset,
    folder,
    progress: Callable[[int], None] | None = None,
    workers: int = 2,
    thorough: bool = False,
    say: Callable[[str], None] | None = None,
) -> Packed:
    """Pack a data set into a folder, or what is missing, changed or damaged of it; at once where nothing is.

    progress    called with the number of samples done
    workers     threads that decode: OpenCV and zlib let others run meanwhile
    thorough    verify every sample of a finished pack now; else each is verified when it is first read
    say         called with one sentence on the disk space it takes, before the first byte
    Raises DatasetError: too little room on the disk (before the first byte), a sample that can't be read (what was
    packed before stays), a folder that is being packed by another process or can't be written.
    """
    folder, plan = Path(folder), indices.plan(dataset)
    finished = _finished(folder, plan, thorough)
    if finished is not None:
        _tidy(folder)
        return Packed(folder, finished, dataset)
    _check_room(folder, plan, say)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _locked(folder):
            index = _Filling(dataset, folder, plan, progress).run(workers)
    except OSError as error:
        raise DatasetError(f"{folder}: can't be packed into ({error.strerror or error}).") from error
    return Packed(folder, index, dataset)


def needed(dataset: SegmentationDataset) -> int:
    """Bytes of disk that the pack of a data set takes, from the headers of its files."""
    return indices.plan(dataset).total


def _finished(folder: Path, plan: Index, thorough: bool) -> Index | None:
    """The index of a pack of just this, else None."""
    try:
        found = indices.load(folder)
        if found.fingerprints() != plan.fingerprints() or (folder / DATA).stat().st_size != found.total:
            return None
        if thorough:
            Packed(folder, found).check(thorough=True)
    except (DatasetError, OSError):
        return None
    return plan.with_checksums(found.checksums())


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


def _tidy(folder: Path) -> None:
    """Remove what a finished pack needs no more, and what a kill left half written."""
    with contextlib.suppress(OSError):  # a pack that may only be read
        for path in [folder / journal.JOURNAL, *folder.glob(".*.part")]:
            path.unlink(missing_ok=True)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    with open(folder / LOCK, "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise DatasetError(
                f"{folder}: is being packed by another process; wait until that is done, then start again."
            ) from error
        yield


class _Filling:
    """One call's work: which samples are there already, and the rest."""

    def __init__(self, dataset, folder: Path, plan: Index, progress: Callable[[int], None] | None):
        self.dataset, self.folder, self.plan, self.progress = dataset, folder, plan, progress
        self.fingerprints = plan.fingerprints()
        self.checksums: dict[int, int] = {}
        self._unnoted: dict[str, int] = {}
        self._synced = time.monotonic()

    def run(self, workers: int) -> Index:
        """Fill in what is missing; returns the index, which is then on the disk."""
        known = self._claimed()
        journal.begin(self.folder, known)
        (self.folder / INDEX).unlink(
            missing_ok=True
        )  # until all is done again, the journal says what is there
        with _opened(self.folder / DATA, self.plan.total) as file:
            self._verify(file.fileno(), known)
            self._fill(file.fileno(), workers)
            self._note(file.fileno())
        index = self.plan.with_checksums([self.checksums[n] for n in range(len(self.plan.entries))])
        indices.save(self.folder, index)
        _tidy(self.folder)
        return index

    def _claimed(self) -> dict[str, int]:
        """{fingerprint: checksum} of the samples of this plan that an index or a journal says are there."""
        found = journal.read(self.folder)
        with contextlib.suppress(DatasetError):
            old = indices.load(self.folder)
            found.update(zip(old.fingerprints(), old.checksums()))
        return {one: found[one] for one in self.fingerprints if one in found}

    def _verify(self, descriptor: int, known: dict[str, int]) -> None:
        """Take what is there and whole as done."""
        for number, (entry, fingerprint) in enumerate(zip(self.plan.entries, self.fingerprints)):
            if fingerprint in known:
                content = os.pread(descriptor, entry.size, entry.offset)
                if zlib.crc32(content) == known[fingerprint] and len(content) == entry.size:
                    self._done(number, known[fingerprint])

    def _fill(self, descriptor: int, workers: int) -> None:
        missing = [number for number in range(len(self.plan.entries)) if number not in self.checksums]
        for number, value in _in_order(
            lambda n: (n, self._pack_one(descriptor, n)), missing, max(1, workers)
        ):
            self._unnoted[self.fingerprints[number]] = value
            if time.monotonic() - self._synced >= SYNC_EVERY:
                self._note(descriptor)
            self._done(number, value)

    def _pack_one(self, descriptor: int, number: int) -> int:
        entry = self.plan.entries[number]
        image, mask = self.dataset[number]
        if image.shape != (entry.height, entry.width, 3) or image.dtype != np.uint8:
            raise DatasetError(
                f"{entry.sources[0][0]}: gives an image of {image.shape} {image.dtype}, where its header says "
                f"{entry.width} x {entry.height}; was it changed just now? Start again."
            )
        write(descriptor, entry, image, mask)
        return checksum(image, mask)

    def _note(self, descriptor: int) -> None:
        """The bytes first, then the note that they are there."""
        os.fsync(descriptor)
        journal.add(self.folder, self._unnoted)
        self._unnoted, self._synced = {}, time.monotonic()

    def _done(self, number: int, value: int) -> None:
        self.checksums[number] = value
        if self.progress:
            self.progress(len(self.checksums))


@contextlib.contextmanager
def _opened(path: Path, size: int) -> Iterator:
    """The data file with exactly `size` bytes, all of them on the disk already, so that it can't run full later."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    with open(descriptor, "r+b", buffering=0) as file:
        file.truncate(size)
        if size and hasattr(os, "posix_fallocate"):
            os.posix_fallocate(descriptor, 0, size)
        yield file


def _in_order(function: Callable, items: list, workers: int) -> Iterator:
    """Results in order, while threads work on the next ones."""
    pool, pending = ThreadPoolExecutor(workers, thread_name_prefix="packing"), deque()
    try:
        for item in items:
            pending.append(pool.submit(function, item))
            if len(pending) > 2 * workers:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        for future in pending:
            future.cancel()
        pool.shutdown(wait=True)
