"""Your own data: a folder of images, a folder of labels, and a small file of class names and colours."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from gluon_confseg.datasets import class_list, own_labels, png
from gluon_confseg.datasets.base import SegmentationDataset
from gluon_confseg.datasets.pairing import existing_root, pair, unlabelled
from gluon_confseg.datasets.pictures import FORMATS
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
    split       images/SPLIT/ and labels/SPLIT/; where these folders have no such subfolders, all is one split, "train"
    images      folder of .png, .jpg or .jpeg files
    labels      folder of .png files of the same names: one channel (gray or palette), or RGB colours; `own_labels` says
                how each file is told
    classes     see `class_list`: names and colours, and perhaps values and what to ignore
    strict      False: what does not pair is left out, and listed in `alone`
    Raises DatasetError: no such folder or file, a fault in the list of classes, images and labels that do not pair.
    """

    def __init__(
        self, root=None, split: str = "train", *, images=None, labels=None, classes=None, strict: bool = True
    ):
        if root is not None or None in (images, labels, classes):
            root = existing_root(root, _WANTED)
        given = images is not None
        images = _folder(root, images, "images", split, given)
        labels = _folder(root, labels, "labels", split, given)
        base = Path(os.path.commonpath([images.absolute(), labels.absolute()])) if root is None else root
        listed = class_list.read(_class_file(root, classes), base.absolute().name or "own data")
        self._reader = own_labels.Reader(listed)
        found, masks = _files(images, FORMATS), _files(labels, (".png",))
        if not found:
            raise DatasetError(
                f"{images}: holds no images ({', '.join(FORMATS)}); put the images of {split} there."
            )
        if masks or split != "test":
            below = base.absolute() if images.is_absolute() else base
            pairing = pair(below, found, masks, (images, ".png"), (labels, ".png"))
        else:
            pairing = unlabelled(found)
        super().__init__(base, split, listed.space, pairing, strict=strict)

    @classmethod
    def splits_in(cls, root: Path) -> list[str]:
        folders = _subfolders(root / "images")
        usual = [split for split in cls.SPLITS if split in folders]
        return usual + [name for name in folders if name not in usual] or ["train"]

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


def _subfolders(folder: Path) -> list[str]:
    try:
        return sorted(path.name for path in folder.iterdir() if path.is_dir() and path.name[0] != ".")
    except OSError:
        return []


def _folder(root: Path | None, given, name: str, split: str, named: bool) -> Path:
    """The folder of a split's images or labels. named: the caller named the folders, so they may be of any split."""
    folder = root / name if given is None else Path(given).expanduser()
    if (folder / split).is_dir():
        return folder / split
    if not folder.is_dir():
        raise DatasetError(f"{folder}: there is no such folder; it should hold the {name} of your own data.")
    there = _subfolders(folder)
    if name == "labels" and split == "test" and not named:
        return folder / split  # a test split may have no labels
    if (there or split != "train") and not named:
        known = ", ".join(there) or "train: all that is in it"
        raise DatasetError(
            f"{folder}: has no split {split!r}; make the folder {split} there, or use one of {known}."
        )
    return folder


def _class_file(root: Path | None, given) -> Path:
    if given is not None:
        return Path(given).expanduser()
    found = [root / name for name in class_list.FILES if (root / name).is_file()]
    if len(found) != 1:
        what = f"{len(found)} lists of classes" if found else "no list of classes"
        raise DatasetError(f"{root}: holds {what}; put one of {', '.join(class_list.FILES)} there.")
    return found[0]


def _files(folder: Path, suffixes) -> dict[str, Path]:
    """{name with subfolders, less the suffix: path}; links to folders are not followed, so that no loop is."""
    found: dict[str, Path] = {}
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if name[0] != ".")
        for name in sorted(names):
            path = Path(place, name)
            if path.suffix.lower() not in suffixes or name[0] == ".":
                continue
            key = path.relative_to(folder).with_suffix("").as_posix()
            if key in found:
                raise DatasetError(
                    f"{path}: has the same name as {found[key]}; rename one, labels pair by name."
                )
            found[key] = path
    return found
