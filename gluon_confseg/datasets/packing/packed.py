"""A packed split: a data set whose samples are windows into one file, each verified before anything of it is used."""

from __future__ import annotations

import mmap
import os
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from gluon_confseg.datasets.base import SegmentationDataset
from gluon_confseg.datasets.packing.index import DATA, Entry, Index
from gluon_confseg.datasets.pairing import Pair, Pairing, listed
from gluon_confseg.errors import DatasetError


class Packed(SegmentationDataset):
    """The data set that was packed, with the same interface; and `view`, `crop` and `shape`, which decode nothing.

    A sample's checksum is verified when it is first touched, once in each process; where the file has changed since,
    again. A damaged sample is a DatasetError, so that no pixel of it ever gets out.
    A sample is mapped while somebody looks at it, no longer: memory does not grow with the size of the pack.

    folder      of index.json and samples.bin
    """

    def __init__(self, folder: Path, index: Index):
        paths = [[Path(path) for path, _, _ in entry.sources] + [None] for entry in index.entries]
        pairs = [Pair(entry.name, image, label) for entry, (image, label, *_) in zip(index.entries, paths)]
        root, split = Path(index.about["root"]), index.about["split"]
        super().__init__(root, split, index.label_space(), Pairing(pairs, []), raw=False)
        self.folder, self.index = Path(folder), index
        self.drawn = index.about["drawn"]
        self._descriptor, self._status = None, None
        self._verified = np.zeros(len(index.entries), bool)

    @property
    def description(self) -> str:
        return self.index.about["description"]

    def __getstate__(self) -> dict:
        # another process opens the file itself, and trusts nothing
        fresh = {"_descriptor": None, "_status": None, "_verified": np.zeros_like(self._verified)}
        return {**self.__dict__, **fresh}

    def __del__(self) -> None:
        if getattr(self, "_descriptor", None) is not None:
            os.close(self._descriptor)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        image, mask = self.view(index)
        return image.copy(), mask.copy()

    def shape(self, index: int) -> tuple[int, int]:
        """(height, width) of a sample."""
        entry = self.index.entries[index]
        return entry.height, entry.width

    def crop(self, index: int, rows: slice, columns: slice) -> tuple[np.ndarray, np.ndarray]:
        """`dataset[index]` cut to a window; of the file, only the window is read (after the first time)."""
        image, mask = self.view(index)
        return image[rows, columns].copy(), mask[rows, columns].copy()

    def view(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """`dataset[index]` as read-only arrays that lie in the file."""
        entry = self.index.entries[index]
        content = self._content(entry)
        if content is None or not (self._verified[index] or zlib.crc32(content) == entry.checksum):
            raise DatasetError(
                f"{self.folder / DATA}: sample {entry.name} is damaged, or was changed since it was packed; delete "
                f"this folder, and pack the data set again."
            )
        self._verified[index] = True
        split = 3 * entry.height * entry.width
        image = content[:split].reshape(entry.height, entry.width, 3)
        return image, content[split:].reshape(entry.height, entry.width)

    def check(self, thorough: bool = False, progress: Callable[[int], None] | None = None) -> None:
        """ONE DatasetError names all damaged samples. thorough: verify every checksum; else only the file's size."""
        faults = []
        for number, entry in enumerate(self.index.entries):
            content = self._content(entry)
            if content is None or (thorough and zlib.crc32(content) != entry.checksum):
                faults.append(f"sample {entry.name} is damaged")
            if progress:
                progress(number + 1)
        if faults:
            raise DatasetError(f"{self.folder / DATA}: {listed(faults)}; pack the data set again.")

    def _content(self, entry: Entry) -> np.ndarray | None:
        """(size,) bytes of a sample in the file, unverified; None where the file ends before it."""
        path = self.folder / DATA
        try:
            if self._descriptor is None:
                self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            found = os.fstat(self._descriptor)
        except OSError as error:
            raise DatasetError(
                f"{path}: can't be read ({error.strerror}); pack the data set again."
            ) from error
        status = (found.st_size, found.st_mtime_ns)
        if status != self._status:  # changed since: nothing that was verified before is trusted
            self._status = status
            self._verified[:] = False
        offset = entry.offset - entry.offset % mmap.ALLOCATIONGRANULARITY
        end = entry.offset + entry.size
        if found.st_size < end:
            return None
        # a map of its own, gone with the arrays in it; past the end of a file it would be a SIGBUS
        mapped = mmap.mmap(self._descriptor, end - offset, access=mmap.ACCESS_READ, offset=offset)
        return np.frombuffer(mapped, np.uint8, entry.size, entry.offset - offset)
