"""The Cityscapes layout, real or drawn: leftImg8bit/SPLIT/CITY/, and gtFine/SPLIT/CITY/ or gtCoarse/SPLIT/CITY/."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from gluon_confseg.datasets.base import SegmentationDataset
from gluon_confseg.datasets.faults import Fault
from gluon_confseg.datasets.pairing import (
    Pairing,
    check_choice,
    existing_root,
    files_by_name,
    nearby,
    pair,
    unlabelled,
)
from gluon_confseg.errors import DatasetError
from gluon_confseg.labels import CITYSCAPES

DRAWN_MARK = (
    "drawn_scenes.json"  # `scenes.draw` leaves it, so that its pictures are never taken for Cityscapes
)
ANNOTATIONS = {"fine": "gtFine", "coarse": "gtCoarse"}
LABEL_KINDS = ("labelIds", "labelTrainIds")
IMAGES = ("leftImg8bit", "leftImg8bit_blurred")


class Cityscapes(SegmentationDataset):
    """Cityscapes, fine or coarse, or anything in its layout.

    root        folder of leftImg8bit/ and gtFine/ or gtCoarse/
    split       "train", "val", "test" or "train_extra" (coarse only); test may have no labels
    label_kind  "labelIds" (raw ids), "labelTrainIds", or "auto": raw ids if every image has them, else train ids if
                every image has those
    annotation  "fine", "coarse", or "auto": coarse for train_extra, else fine
    images      "leftImg8bit", "leftImg8bit_blurred" (faces and plates blurred), or "auto": the first unless only
                the second has this split
    strict      False: what does not pair is left out, and listed in `alone`
    Raises DatasetError: no such folder, another layout, images and labels that do not pair (all at once).
    """

    SPLITS = ("train", "val", "test", "train_extra")
    COUNTS = {"train": 2975, "val": 500, "test": 1525, "train_extra": 19_998}
    ONE_SIZE = True

    def __init__(
        self,
        root,
        split: str = "train",
        label_kind: str = "auto",
        annotation: str = "auto",
        images: str = "auto",
        *,
        strict: bool = True,
    ):
        check_choice("Cityscapes", "annotation", annotation, ("auto", *ANNOTATIONS))
        if annotation == "auto":
            annotation = "coarse" if split == "train_extra" else "fine"
        root = existing_root(root, "CITYSCAPES_ROOT", f"leftImg8bit/ and {ANNOTATIONS[annotation]}/")
        check_choice("Cityscapes", "split", split, self.SPLITS)
        check_choice("Cityscapes", "label_kind", label_kind, ("auto", *LABEL_KINDS))
        check_choice("Cityscapes", "images", images, ("auto", *IMAGES))
        if annotation == "fine" and split == "train_extra":
            raise DatasetError(
                "Cityscapes has no fine labels for train_extra; open it with annotation='coarse', or open train."
            )
        self.annotation, self.images = annotation, _image_folder(root, split, images)
        layout = _Layout(root, split, self.images, ANNOTATIONS[annotation])
        found, labels = layout.find_images(), {kind: layout.find_labels(kind) for kind in LABEL_KINDS}
        self.label_kind = _best_kind(found, labels) if label_kind == "auto" else label_kind
        pairing = layout.pair(found, labels[self.label_kind], self.label_kind)
        self.drawn = (root / DRAWN_MARK).exists()
        super().__init__(root, split, CITYSCAPES, pairing, self.label_kind == "labelIds", strict)

    @classmethod
    def splits_in(cls, root: Path) -> list[str]:
        wanted = ["train", "val"]
        has_test = any((root / folder / "test").is_dir() for folder in IMAGES)
        has_extra = (root / "gtCoarse" / "train_extra").is_dir()
        return wanted + ["test"] * has_test + ["train_extra"] * has_extra

    @property
    def description(self) -> str:
        if self.drawn:
            return f"street scenes drawn by gluon-confseg (not Cityscapes), {self.split}: {len(self)} images."
        coarse = ", coarse labels" if self.annotation == "coarse" else ""
        blurred = ", faces and plates blurred" if self.images == "leftImg8bit_blurred" else ""
        return f"Cityscapes layout{coarse}{blurred}, {self.split}: {len(self)} images."

    def instance_path(self, index: int) -> Path | None:
        label = self.label_paths[index]
        if label is None:
            return None
        path = label.with_name(label.name.replace(f"_{self.label_kind}.png", "_instanceIds.png"))
        return path if path.is_file() else None

    def train_ids(self, index: int, values: np.ndarray) -> np.ndarray:
        if self.raw and look_like_train_ids(values):
            raise Fault(
                "raw_ids",
                f"{self.label_paths[index]}: holds 255 and otherwise only values below 19, as train ids do, where "
                f"raw ids (0-33) are expected; name train-id labels "
                f"*_{ANNOTATIONS[self.annotation]}_labelTrainIds.png, or use the raw ones.",
            )
        return super().train_ids(index, values)

    def _value_name(self) -> str:
        return "raw Cityscapes id" if self.raw else "Cityscapes train id"

    def _suspicion(self, values: np.ndarray) -> tuple[str, str]:
        if not self.raw and values[values != 255].max(initial=0) <= 33:
            file = f"*_{ANNOTATIONS[self.annotation]}_labelIds.png"
            return (
                "raw_ids",
                f"these look like raw ids: use the {file} file, or convert the raw ids to train ids.",
            )
        return "value", "correct the label, or make it again from the polygons."


def look_like_train_ids(values: np.ndarray) -> bool:
    """Raw ids have no 255, and go on above 18 (vegetation, sky, person, car): train ids do neither."""
    if values.max() < 255:
        return False
    classes = values[values < 255]
    return classes.size > 0 and int(classes.max()) < CITYSCAPES.num_classes


class _Layout(NamedTuple):
    """Where the files of a split are. images: leftImg8bit or its blurred sibling; labels: gtFine or gtCoarse."""

    root: Path
    split: str
    images: str
    labels: str

    def find_images(self) -> dict[str, Path]:
        folder = self.root / self.images / self.split
        images = files_by_name(folder, f"_{self.images}.png", nested=True)
        if not folder.is_dir():
            raise self.other(f"there is no folder {self.images}/{self.split}")
        if not images:
            raise self.other(f"{self.images}/{self.split} holds no images of it")
        return images

    def find_labels(self, kind: str) -> dict[str, Path]:
        return files_by_name(self.root / self.labels / self.split, self.suffix(kind), nested=True)

    def pair(self, images: dict[str, Path], labels: dict[str, Path], kind: str) -> Pairing:
        if not labels and self.split == "test":
            return unlabelled(images)
        if not (self.root / self.labels / self.split).is_dir():
            raise self.other(f"there is no folder {self.labels}/{self.split}")
        if not labels:
            raise self.other(f"{self.labels}/{self.split} holds no labels of it")
        return pair(
            self.root,
            images,
            labels,
            lambda key: self.root / self.images / self.split / f"{key}_{self.images}.png",
            lambda key: self.root / self.labels / self.split / (key + self.suffix(kind)),
        )

    def suffix(self, kind: str) -> str:
        return f"_{self.labels}_{kind}.png"

    def other(self, reason: str) -> DatasetError:
        images, labels = f"{self.images}/{self.split}/CITY/*", f"{self.labels}/{self.split}/CITY/*"
        return DatasetError(
            f"{self.root}: is not the Cityscapes layout, {reason} (looked for {images}_{self.images}.png and "
            f"{labels}{self.suffix('labelIds')} or *{self.suffix('labelTrainIds')}); give the "
            f"folder that holds {self.images}/ and {self.labels}/.{nearby(self.root, self.images)}"
        )


def _image_folder(root: Path, split: str, wanted: str) -> str:
    if wanted != "auto":
        return wanted
    return next((folder for folder in IMAGES if (root / folder / split).is_dir()), IMAGES[0])


def _best_kind(images: dict[str, Path], labels: dict[str, dict[str, Path]]) -> str:
    complete = [kind for kind in LABEL_KINDS if images.keys() <= labels[kind].keys()]
    present = [kind for kind in LABEL_KINDS if labels[kind]]
    return (complete + present + list(LABEL_KINDS))[0]
