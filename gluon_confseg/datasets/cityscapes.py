"""The Cityscapes layout, real or drawn: leftImg8bit/SPLIT/CITY/, and gtFine/SPLIT/CITY/ or gtCoarse/SPLIT/CITY/."""

from __future__ import annotations

from pathlib import Path

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

# `scenes.draw` leaves it, so that its pictures are never taken for Cityscapes
DRAWN_MARK = "drawn_scenes.json"
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
        root = existing_root(root, f"leftImg8bit/ and {ANNOTATIONS[annotation]}/")
        check_choice("Cityscapes", "split", split, self.SPLITS)
        check_choice("Cityscapes", "label_kind", label_kind, ("auto", *LABEL_KINDS))
        check_choice("Cityscapes", "images", images, ("auto", *IMAGES))
        if annotation == "fine" and split == "train_extra":
            raise DatasetError(
                "Cityscapes has no fine labels for train_extra; open it with annotation='coarse', or open train."
            )
        if images == "auto":
            images = next((folder for folder in IMAGES if (root / folder / split).is_dir()), IMAGES[0])
        self.annotation, self.images = annotation, images
        self.label_kind, pairing = _pairing(root, split, images, ANNOTATIONS[annotation], label_kind)
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
        if self.raw and values.max() == 255:
            # raw ids have no 255, and go on above 18 (vegetation, sky, person, car): train ids do neither
            classes = values[values < 255]
            if classes.size and classes.max() < CITYSCAPES.num_classes:
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


def _pairing(root: Path, split: str, images: str, labels: str, kind: str) -> tuple[str, Pairing]:
    """The kind of labels ("auto" is decided here), and what pairs. images: leftImg8bit, ...; labels: gtFine, ..."""
    image_folder, label_folder = root / images / split, root / labels / split
    image_suffix, suffixes = f"_{images}.png", {kind: f"_{labels}_{kind}.png" for kind in LABEL_KINDS}
    found = files_by_name(image_folder, image_suffix, nested=True)
    of_kind = {kind: files_by_name(label_folder, suffix, nested=True) for kind, suffix in suffixes.items()}
    if kind == "auto":
        complete = [each for each in LABEL_KINDS if found.keys() <= of_kind[each].keys()]
        present = [each for each in LABEL_KINDS if of_kind[each]]
        kind = [*complete, *present, *LABEL_KINDS][0]
    unlabelled_test = split == "test" and not of_kind[kind]
    reason = None
    if not image_folder.is_dir():
        reason = f"there is no folder {images}/{split}"
    elif not found:
        reason = f"{images}/{split} holds no images of it"
    elif not label_folder.is_dir() and not unlabelled_test:
        reason = f"there is no folder {labels}/{split}"
    elif not of_kind[kind] and not unlabelled_test:
        reason = f"{labels}/{split} holds no labels of it"
    if reason:
        raise DatasetError(
            f"{root}: is not the Cityscapes layout, {reason} (looked for {images}/{split}/CITY/*{image_suffix} and "
            f"{labels}/{split}/CITY/*{suffixes['labelIds']} or *{suffixes['labelTrainIds']}); give the "
            f"folder that holds {images}/ and {labels}/.{nearby(root, images)}"
        )
    if unlabelled_test:
        return kind, unlabelled(found)
    ends = (image_folder, image_suffix), (label_folder, suffixes[kind])
    return kind, pair(root, found, of_kind[kind], *ends)
