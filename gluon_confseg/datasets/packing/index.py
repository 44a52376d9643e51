"""The index of a pack: what lies where in its one data file, with a checksum of each sample and of itself."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

from gluon_confseg import files
from gluon_confseg.datasets import contents, pictures
from gluon_confseg.datasets.base import SegmentationDataset
from gluon_confseg.errors import DatasetError
from gluon_confseg.labels import LABEL_SPACES, LabelSpace

VERSION = 1
INDEX, DATA = "index.json", "samples.bin"
ALIGNED = 4096  # a sample begins on a page of its own


class Entry(NamedTuple):
    """One sample: (height, width, 3) bytes of image and then (height, width) of train ids, from `offset` on.

    sources     (path, size, mtime in ns) of the files it was made from; a label may be missing
    checksum    CRC-32 of all its bytes; None while it is not packed yet
    """

    name: str
    height: int
    width: int
    offset: int
    sources: tuple
    checksum: int | None = None

    @property
    def size(self) -> int:
        """Bytes of image and label."""
        return 4 * self.height * self.width


@dataclasses.dataclass(frozen=True)
class Index:
    """about: split, description, label space, and what decides how labels were read; entries: the samples in order."""

    about: dict
    entries: tuple

    @property
    def total(self) -> int:
        """Bytes of the data file."""
        return max((_next_page(entry.offset + entry.size) for entry in self.entries), default=0)

    def fingerprints(self) -> list[str]:
        """For each entry a digest of all that decides its bytes and their place: equal ones need no packing again.

        Paths count from the data set's folder on, so that this may be moved, or be named in another way.
        """
        rules, root = _digest([self.about["labels"], self.about["reading"]]), self.about["root"]
        return [
            _digest(
                [rules, *entry[:4], [[os.path.relpath(path, root), *stamp] for path, *stamp in entry.sources]]
            )
            for entry in self.entries
        ]

    def with_checksums(self, checksums) -> Index:
        """The same, with the samples' checksums."""
        entries = (entry._replace(checksum=value) for entry, value in zip(self.entries, checksums))
        return dataclasses.replace(self, entries=tuple(entries))

    def label_space(self) -> LabelSpace:
        """The classes, as they were when packed."""
        stored = self.about["labels"]
        known = LABEL_SPACES.get(stored["name"])
        if known is not None and _described(known) == stored:
            return known
        colors = np.array(stored["colors"], np.uint8).reshape(-1, 3)
        return LabelSpace(
            stored["name"], stored["title"], tuple(stored["classes"]), colors, stored["ignore_label"]
        )


def plan(dataset: SegmentationDataset) -> Index:
    """The index that a data set's pack will have, from the headers of its files; checksums are still None.

    Raises DatasetError where a file is missing, or its header can't be read.
    """
    entries, offset = [], 0
    for name, image, label in zip(dataset.names, dataset.image_paths, dataset.label_paths):
        header = pictures.peek(image)
        sources = tuple(_stamp(path) for path in (image, label) if path is not None)
        entry = Entry(name, header.height, header.width, offset, sources)
        entries.append(entry)
        offset = _next_page(offset + entry.size)
    about = {
        "split": dataset.split,
        "root": str(dataset.root),
        "description": dataset.description,
        "drawn": bool(dataset.drawn),
        "labels": _described(dataset.labels),
        "reading": [type(dataset).__name__, _digest(dataset.rules())],
    }
    return Index(about, tuple(entries))


def save(folder: Path, index: Index) -> None:
    """Write the index, whole or not at all."""
    body = {"about": index.about, "entries": index.entries}
    files.write_json(folder / INDEX, {"version": VERSION, "sha256": _digest(body), **body})


def load(folder: Path) -> Index:
    """Read the index; DatasetError where there is none, or it is damaged, or another version's."""
    path = folder / INDEX
    try:
        stored = json.loads(path.read_bytes())
        if stored["version"] != VERSION:
            raise DatasetError(
                f"{path}: is of version {stored['version']}, not {VERSION}; pack the data set again."
            )
        if stored["sha256"] != _digest({"about": stored["about"], "entries": stored["entries"]}):
            raise ValueError("its checksum is wrong")
        entries = [Entry(*row[:4], tuple(map(tuple, row[4])), row[5]) for row in stored["entries"]]
    except FileNotFoundError as error:
        raise DatasetError(
            f"{path}: is not there, so this folder is no finished pack; pack the data set."
        ) from error
    except OSError as error:
        raise contents.unreadable(path, error) from error
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise DatasetError(f"{path}: is damaged ({error}); pack the data set again.") from error
    return Index(stored["about"], tuple(entries))


def _stamp(path) -> tuple[str, int, int]:
    try:
        status = Path(path).stat()
    except OSError as error:
        raise contents.unreadable(path, error) from error
    return str(path), status.st_size, status.st_mtime_ns


def _described(labels: LabelSpace) -> dict:
    return {
        "name": labels.name,
        "title": labels.title,
        "classes": list(labels.classes),
        "colors": np.asarray(labels.colors).tolist(),
        "ignore_label": labels.ignore_label,
    }


def _digest(value) -> str:
    return hashlib.sha256(json.dumps(value, separators=(",", ":")).encode()).hexdigest()


def _next_page(offset: int) -> int:
    return -(-offset // ALIGNED) * ALIGNED
