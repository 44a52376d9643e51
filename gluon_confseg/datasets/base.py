"""What all data sets share: strict reading of (image, mask) pairs, and checks of whole folders."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np

from gluon_confseg.datasets import png
from gluon_confseg.datasets.pairing import Pair, listed
from gluon_confseg.errors import DatasetError
from gluon_confseg.labels import UNKNOWN, LabelSpace


class SegmentationDataset:
    """`dataset[i]` -> image (H, W, 3) uint8 RGB, mask (H, W) uint8 of train ids with 255 ignored.

    Nothing is random here and nothing is cached: threads may read at the same time.

    labels          LabelSpace
    names           file names less what they share, in the order of the items
    image_paths     of the items
    label_paths     of the items; None where the split has no labels: the mask is then 255 everywhere
    description     one sentence: which data this is
    drawn           True for street scenes that this package drew
    Raises DatasetError with file and remedy when an item is damaged or does not fit.
    """

    drawn = False

    def __init__(self, root: Path, split: str, labels: LabelSpace, pairs: Sequence[Pair], raw: bool = True):
        self.root, self.split, self.labels, self.raw = root, split, labels, raw
        self.names: list[str] = [pair.name for pair in pairs]
        self.image_paths: list[Path] = [pair.image for pair in pairs]
        self.label_paths: list[Path | None] = [pair.label for pair in pairs]
        self._table = labels.table(raw)

    @property
    def classes(self) -> tuple[str, ...]:
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
        return f"{self.labels.title}, {self.split}: {len(self)} images."

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        image = png.read_image(self.image_paths[index])
        label_path = self.label_paths[index]
        if label_path is None:
            return image, np.full(image.shape[:2], self.labels.ignore_label, np.uint8)
        values = png.read_label(label_path)
        if values.shape != image.shape[:2]:
            raise _other_size(label_path, values.shape, image.shape)
        return image, self._train_ids(label_path, values)

    def check(self, thorough: bool = False, progress: Callable[[int], None] | None = None) -> None:
        """Check every file; ONE DatasetError names all faults.

        thorough    decode everything and check every pixel value; else only what the first and last bytes of the
                    files tell: missing, empty, truncated, colour or 16-bit labels, sizes that differ
        progress    called with the number of items done
        """
        faults = []
        for index in range(len(self)):
            try:
                self[index] if thorough else self._peek(index)
            except DatasetError as error:
                faults.append(str(error))
            if progress:
                progress(index + 1)
        if len(faults) == 1:
            raise DatasetError(faults[0])
        if faults:
            raise DatasetError(f"{len(faults)} of {len(self)} items are faulty: {listed(faults)}.")

    def _peek(self, index: int) -> None:
        image = png.peek(self.image_paths[index])
        label_path = self.label_paths[index]
        if label_path is None:
            return
        label = png.peek(label_path)
        png.check_label_kind(label_path, label)
        if (label.height, label.width) != (image.height, image.width):
            raise _other_size(label_path, (label.height, label.width), (image.height, image.width))

    def _train_ids(self, path: Path, values: np.ndarray) -> np.ndarray:
        mask = cv2.LUT(values, self._table)
        unknown = mask == UNKNOWN
        if unknown.any():
            row, column = np.unravel_index(int(unknown.argmax()), mask.shape)
            raise DatasetError(
                f"{path}: value {values[row, column]} at row {row}, column {column} is no {self._value_name()} "
                f"({self.labels.valid_range(self.raw)}); {self._suspicion(values)}"
            )
        return mask

    def _value_name(self) -> str:
        return f"{self.labels.title} class"

    def _suspicion(self, values: np.ndarray) -> str:
        """What the file may be instead, and what to do."""
        if values[values != 255].max(initial=0) <= 33:
            return "is this a raw Cityscapes label?"
        return "correct the label, or use the file that holds class indices."


def _other_size(path: Path, label: Sequence[int], image: Sequence[int]) -> DatasetError:
    return DatasetError(
        f"{path}: the label is {label[1]} x {label[0]} pixels, its image {image[1]} x {image[0]}; they must be of one "
        f"size: use the label made for this image, or resize it by nearest neighbour."
    )
