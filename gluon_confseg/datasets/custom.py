"""Your own data: a folder of images, a folder of labels, and a small file of class names and colours."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from gluon_confseg.datasets import class_list, own_folders, own_labels, png
from gluon_confseg.datasets.base import SegmentationDataset
from gluon_confseg.datasets.pairing import existing_root
from gluon_confseg.errors import DatasetError

_WANTED = "images/, labels/ and classes.csv"


class Custom(SegmentationDataset):
    """Your own images and labels, paired by name. Ten lines, from folders to a trained class map:

        # street/classes.csv             street/images/train/a.jpg    street/labels/train/a.png
        # name,r,g,b                     street/images/val/b.jpg      street/labels/val/b.png
        # road,128,64,128
        # car,0,0,142
        # ignore,0,0,0
        from gluon_confseg.datasets import Custom

        train = Custom("street", "train")
        image, mask = train[0]          # (H, W, 3) uint8 RGB; (H, W) uint8: 0 road, 1 car, 255 ignored
        print(train.description, train.classes)

    root        folder of images/, labels/ and classes.csv (or .yaml); each may also be given by itself
    split       images/SPLIT/ and labels/SPLIT/, or a list SPLIT.txt of names; "training" and "validation" are train and
                val. Without either, all is one split, "train"
    images      folder of .png, .jpg or .jpeg files
    labels      folder of .png files of the same names: one channel (gray or palette), or RGB colours; `own_labels` says
                how each file is told
    classes     see `class_list`: names and colours, and perhaps values and what to ignore
    suffix      an ending of the labels' names, beside those that are known (`matching`)
    strict      False: what does not pair is left out, and listed in `alone`
    Raises DatasetError: no such folder or file, a fault in the list of classes, images and labels that do not pair.
    """

    def __init__(
        self,
        root=None,
        split: str = "train",
        *,
        images=None,
        labels=None,
        classes=None,
        suffix: str = "",
        strict: bool = True,
    ):
        if root is not None or None in (images, labels, classes):
            root = existing_root(root, _WANTED)
        found = own_folders.find(root, split, images, labels, suffix)
        self.listing = found.listing
        listed = class_list.read(class_file(root, classes), found.base.absolute().name or "own data")
        self._reader = own_labels.Reader(listed)
        super().__init__(found.base, split, listed.space, found.pairing, strict=strict)

    @classmethod
    def splits_in(cls, root: Path) -> list[str]:
        return own_folders.splits_in(root)

    @property
    def description(self) -> str:
        listed = f" (listed in {self.listing})" if self.listing else ""
        return f"{self.labels.title}, {self.split}: {len(self)} images{listed}."

    def read_values(self, index: int) -> own_labels.Label | None:
        """What the label file holds, indices or colours; None where there is no label."""
        path = self.label_paths[index]
        return None if path is None else own_labels.read(path)

    def peek_label(self, index: int) -> Sequence[int]:
        header = png.peek(self.label_paths[index])
        return header.height, header.width

    def train_ids(self, index: int, values: own_labels.Label) -> np.ndarray:
        return self._reader.train_ids(self.label_paths[index], values)

    def reading(self, index: int, values: own_labels.Label) -> own_labels.Reading:
        return self._reader.reading(self.label_paths[index], values)

    def rules(self) -> list:
        return self._reader.record()


def class_file(root: Path | None, given=None) -> Path:
    """The list of classes in a folder, or the given one; DatasetError where there is none, or several are."""
    if given is not None:
        return Path(given).expanduser()
    found = [root / name for name in class_list.FILES if (root / name).is_file()]
    if len(found) != 1:
        what = f"{len(found)} lists of classes" if found else "no list of classes"
        raise DatasetError(f"{root}: holds {what}; put one of {', '.join(class_list.FILES)} there.")
    return found[0]
