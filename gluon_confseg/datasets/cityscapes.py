"""The Cityscapes layout, real or drawn: leftImg8bit/SPLIT/CITY/ and gtFine/SPLIT/CITY/."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from gluon_confseg.datasets.base import SegmentationDataset
from gluon_confseg.datasets.pairing import Pair, existing_root, files_by_name, nearby, pair
from gluon_confseg.errors import DatasetError
from gluon_confseg.labels import CITYSCAPES

DRAWN_MARK = (
    "drawn_scenes.json"  # `scenes.draw` leaves it, so that its pictures are never taken for Cityscapes
)
SPLITS = ("train", "val", "test")
LABEL_KINDS = ("labelIds", "labelTrainIds")
_IMAGE_SUFFIX = "_leftImg8bit.png"
_WANTED = "leftImg8bit/ and gtFine/"


class Cityscapes(SegmentationDataset):
    """Cityscapes fine, or anything in its layout.

    root        folder of leftImg8bit/ and gtFine/
    split       "train", "val" or "test"; test may have no labels
    label_kind  "labelIds" (raw ids), "labelTrainIds", or "auto": raw ids if every image has them, else train ids if
                every image has those
    Raises DatasetError: no such folder, another layout, images and labels that do not pair (all at once).
    """

    def __init__(self, root, split: str = "train", label_kind: str = "auto"):
        root = existing_root(root, "CITYSCAPES_ROOT", _WANTED)
        _check_choice("split", split, SPLITS)
        _check_choice("label_kind", label_kind, ("auto", *LABEL_KINDS))
        images = _images(root, split)
        labels = {
            kind: files_by_name(root / "gtFine" / split, _label_suffix(kind), nested=True)
            for kind in LABEL_KINDS
        }
        self.label_kind = _best_kind(images, labels) if label_kind == "auto" else label_kind
        pairs = _pairs(root, split, images, labels[self.label_kind], self.label_kind)
        self.drawn = (root / DRAWN_MARK).exists()
        super().__init__(root, split, CITYSCAPES, pairs, raw=self.label_kind == "labelIds")

    @property
    def description(self) -> str:
        if self.drawn:
            return f"street scenes drawn by gluon-confseg (not Cityscapes), {self.split}: {len(self)} images."
        return f"Cityscapes layout, {self.split}: {len(self)} images."

    def _value_name(self) -> str:
        return "raw Cityscapes id" if self.raw else "Cityscapes train id"

    def _suspicion(self, values: np.ndarray) -> str:
        if not self.raw and values[values != 255].max(initial=0) <= 33:
            return "these look like raw ids: use the *_gtFine_labelIds.png file, or convert the raw ids to train ids."
        return "correct the label, or make it again from the polygons."

    def _train_ids(self, path: Path, values: np.ndarray) -> np.ndarray:
        if self.raw and _look_like_train_ids(values):
            raise DatasetError(
                f"{path}: holds 255 and otherwise only values below 19, as train ids do, where raw ids (0-33) are "
                f"expected; name train-id labels *_gtFine_labelTrainIds.png, or use the raw ones."
            )
        return super()._train_ids(path, values)


def _look_like_train_ids(values: np.ndarray) -> bool:
    """Raw ids have no 255, and go on above 18 (vegetation, sky, person, car): train ids do neither."""
    if values.max() < 255:
        return False
    classes = values[values < 255]
    return classes.size > 0 and int(classes.max()) < CITYSCAPES.num_classes


def _images(root: Path, split: str) -> dict[str, Path]:
    folder = root / "leftImg8bit" / split
    images = files_by_name(folder, _IMAGE_SUFFIX, nested=True)
    if not folder.is_dir():
        raise _not_the_layout(root, split, f"there is no folder leftImg8bit/{split}")
    if not images:
        raise _not_the_layout(root, split, f"leftImg8bit/{split} holds no images of it")
    return images


def _best_kind(images: dict[str, Path], labels: dict[str, dict[str, Path]]) -> str:
    complete = [kind for kind in LABEL_KINDS if images.keys() <= labels[kind].keys()]
    present = [kind for kind in LABEL_KINDS if labels[kind]]
    return (complete + present + list(LABEL_KINDS))[0]


def _pairs(root: Path, split: str, images: dict[str, Path], labels: dict[str, Path], kind: str) -> list[Pair]:
    if not labels and split == "test":
        return [Pair(Path(key).name, images[key], None) for key in sorted(images)]
    if not (root / "gtFine" / split).is_dir():
        raise _not_the_layout(root, split, f"there is no folder gtFine/{split}")
    if not labels:
        raise _not_the_layout(root, split, f"gtFine/{split} holds no labels of it")
    return pair(
        root,
        images,
        labels,
        lambda key: root / "leftImg8bit" / split / (key + _IMAGE_SUFFIX),
        lambda key: root / "gtFine" / split / (key + _label_suffix(kind)),
    )


def _label_suffix(kind: str) -> str:
    return f"_gtFine_{kind}.png"


def _check_choice(what: str, got: str, known) -> None:
    if got not in known:
        raise DatasetError(f"Cityscapes has no {what} {got!r}; choose one of {', '.join(known)}.")


def _not_the_layout(root: Path, split: str, reason: str) -> DatasetError:
    return DatasetError(
        f"{root}: is not the Cityscapes layout, {reason} (looked for leftImg8bit/{split}/CITY/*{_IMAGE_SUFFIX} and "
        f"gtFine/{split}/CITY/*_gtFine_labelIds.png or *_gtFine_labelTrainIds.png); set CITYSCAPES_ROOT to the folder "
        f"that holds {_WANTED}.{nearby(root, 'leftImg8bit')}"
    )
