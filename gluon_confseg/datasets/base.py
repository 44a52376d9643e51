"""What all data sets share: strict reading of (image, mask) pairs, and checks of whole folders."""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np

from gluon_confseg.datasets import pictures, png
from gluon_confseg.datasets.faults import Fault
from gluon_confseg.datasets.gluoncv_view import GluonCVView
from gluon_confseg.datasets.pairing import Pairing, listed
from gluon_confseg.datasets.photograph import UPRIGHT
from gluon_confseg.errors import DatasetError
from gluon_confseg.labels import UNKNOWN, LabelSpace


class SegmentationDataset:
    """`dataset[i]` -> image (H, W, 3) uint8 RGB, mask (H, W) uint8 of train ids with 255 ignored.

    Nothing is random here and nothing is cached: threads may read at the same time.

    labels          LabelSpace
    names           file names less what they share, in the order of the items
    image_paths     of the items
    label_paths     of the items; None where the split has no labels: the mask is then 255 everywhere
    alone           what does not pair, a sentence each; empty unless opened with strict=False
    raw             label files hold the label space's own ids, not train ids
    description     one sentence: which data this is
    drawn           True for street scenes that this package drew
    block           how many neighbours are alike, such as frames of one film: statistics draw them together
    Raises DatasetError with file and remedy when an item is damaged or does not fit.
    """

    SPLITS: tuple[str, ...] = ("train", "val", "test")
    COUNTS: dict[str, int] = {}  # images of each split as published; empty where nobody published any
    NESTED: tuple[frozenset[str], ...] = ()  # splits that share images by definition
    ONE_SIZE = False  # whether all images are of one size as published
    drawn = False
    block = 1

    def __init__(
        self,
        root: Path,
        split: str,
        labels: LabelSpace,
        pairing: Pairing,
        raw: bool = True,
        strict: bool = True,
    ):
        if pairing.alone and strict:
            raise Fault(
                "unpaired",
                f"{root}: {listed(pairing.alone)}; add what is missing, or remove what is left alone.",
            )
        self.root, self.split, self.labels, self.raw = root, split, labels, raw
        self.alone = tuple(pairing.alone)
        self.names: list[str] = [pair.name for pair in pairing.pairs]
        self.image_paths: list[Path] = [pair.image for pair in pairing.pairs]
        self.label_paths: list[Path | None] = [pair.label for pair in pairing.pairs]
        self._table = labels.table(raw)

    @classmethod
    def splits_in(cls, root: Path) -> list[str]:
        """The splits that a check of the whole data set reads: those that must be there, and others that are."""
        raise NotImplementedError

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes, in the order of their train ids."""
        return self.labels.classes

    @property
    def num_class(self) -> int:
        """GluonCV's name for `num_classes`."""
        return self.labels.num_classes

    num_classes = num_class

    @property
    def mode(self) -> str:
        """GluonCV's name for `split`."""
        return self.split

    @property
    def description(self) -> str:
        """A sentence for people: which data they are, which split, and how many images."""
        return f"{self.labels.title}, {self.split}: {len(self)} images."

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        values = self.read_values(index)
        if values is None:
            image = self.read_image(index)
            return image, np.full(image.shape[:2], self.labels.ignore_label, np.uint8)
        header = pictures.peek(self.image_paths[index])
        # before a large picture is decoded
        self.check_size(index, values.shape, (header.height, header.width))
        return self.read_image(index), self.train_ids(index, values)

    def read_image(self, index: int) -> np.ndarray:
        """(H, W, 3) uint8 RGB."""
        return pictures.read_image(self.image_paths[index])

    def read_values(self, index: int) -> np.ndarray | None:
        """What the label file holds, (H, W) uint8 indices; None where there is no label."""
        path = self.label_paths[index]
        return None if path is None else png.read_label(path)

    def instance_path(self, index: int) -> Path | None:
        """The file of instance ids beside a label; None where there is none, or the data set has no such files."""
        return None

    def read_instances(self, index: int) -> np.ndarray:
        """(H, W) uint16 instance ids of an item that has an `instance_path`."""
        return png.read_instances(self.instance_path(index))

    def peek_label(self, index: int) -> Sequence[int]:
        """(H, W) of a label file, from its first and last bytes; what these tell against it is a DatasetError."""
        header = png.peek(self.label_paths[index])
        png.check_label_kind(self.label_paths[index], header)
        return header.height, header.width

    def check_size(self, index: int, label: Sequence[int], image: Sequence[int]) -> None:
        """DatasetError unless both (H, W, ...) are of one size."""
        if tuple(label[:2]) == tuple(image[:2]):
            return
        orientation = pictures.peek(self.image_paths[index]).orientation
        stored = "" if orientation == 1 else f" as it is stored, with EXIF orientation {orientation}"
        remedy = (
            "they must be of one size: use the label made for this image, or resize it by nearest neighbour"
        )
        if tuple(label[:2]) == tuple(image[1::-1]) and orientation > 4:
            remedy = (
                f"the label fits the image as viewers turn it, and images are never turned here: {UPRIGHT}"
            )
        elif tuple(label[:2]) == tuple(image[1::-1]):
            remedy = (
                "one of the two was turned by 90 degrees: turn it back; to resize the label would ruin it"
            )
        raise Fault(
            "size",
            f"{self.label_paths[index]}: the label is {label[1]} x {label[0]} pixels, its image "
            f"{image[1]} x {image[0]}{stored} ({self.image_paths[index]}); {remedy}.",
        )

    def train_ids(self, index: int, values: np.ndarray) -> np.ndarray:
        """(H, W) values of the label file -> (H, W) uint8 train ids; DatasetError for a value that means nothing."""
        mask = cv2.LUT(values, self._table)
        unknown = mask == UNKNOWN
        if unknown.any():
            row, column = np.unravel_index(int(unknown.argmax()), mask.shape)
            kind, suspicion = self._suspicion(values)
            raise Fault(
                kind,
                f"{self.label_paths[index]}: value {values[row, column]} at row {row}, column {column} is no "
                f"{self._value_name()} ({self.labels.valid_range(self.raw)}); {suspicion}",
            )
        return mask

    def reading(self, index: int, values: np.ndarray):
        """How these values of a label file were told, an `own_labels.Reading`; None where there is but one way."""
        return None

    def rules(self) -> list:
        """All that decides which train id a label's pixels get, as JSON holds it: a pack made by others is outdated."""
        return self._table.tolist()

    def for_gluoncv(self, transform: Callable | None = None) -> GluonCVView:
        """The same items as GluonCV's own data sets give them, for its scripts and metrics: see `GluonCVView`."""
        return GluonCVView(self, transform)

    def check(self, thorough: bool = False, progress: Callable[[int], None] | None = None) -> None:
        """Check every file; ONE DatasetError names all faults, and a warning what may be meant (`pictures.notes`).

        thorough    decode everything and check every pixel value; else only what the first and last bytes of the
                    files tell: missing, empty, truncated, colour or 16-bit labels, sizes that differ
        progress    called with the number of items done
        """
        faults, headers = [], []
        for index in range(len(self)):
            try:
                header = pictures.peek(self.image_paths[index])
                headers.append((self.image_paths[index], header))
                if thorough:
                    self[index]
                elif self.label_paths[index] is not None:
                    self.check_size(index, self.peek_label(index), (header.height, header.width))
            except DatasetError as error:
                faults.append(str(error))
            if progress:
                progress(index + 1)
        if len(faults) == 1:
            raise DatasetError(faults[0])
        if faults:
            raise DatasetError(f"{len(faults)} of {len(self)} items are faulty: {listed(faults)}.")
        for note in pictures.notes(headers):
            warnings.warn(f"{self.root}, {self.split}: {note}.", RuntimeWarning, stacklevel=2)

    def _value_name(self) -> str:
        return f"{self.labels.title} class"

    def _suspicion(self, values: np.ndarray) -> tuple[str, str]:
        """(kind of the fault, what the file may be instead, and what to do)."""
        if values[values != 255].max(initial=0) <= 33:
            return "raw_ids", "is this a raw Cityscapes label?"
        return "value", "correct the label, or use the file that holds class indices."


def in_threads(function: Callable, count: int, threads: int) -> Iterator:
    """function(0), function(1) ... in order, while threads work on the next few: Ctrl-C is answered at once."""
    pool, pending = ThreadPoolExecutor(threads, thread_name_prefix="items"), deque()
    try:
        for number in range(count):
            pending.append(pool.submit(function, number))
            if len(pending) > 2 * threads:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        for future in pending:
            future.cancel()
        pool.shutdown(wait=True)


def spread_indices(count: int, wanted: int | None) -> list:
    """`wanted` of `count` indices, evenly spaced; all of them if `wanted` is None or more than `count`."""
    if wanted is None or wanted >= count:
        return list(range(count))
    return [int(i) for i in np.linspace(0, count - 1, wanted).round()]
