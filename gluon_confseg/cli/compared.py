"""What `report` and `explain` are about: runs, or folders of predictions of the same labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from gluon_confseg.cli import folders, sides
from gluon_confseg.cli.confusion import suspicions
from gluon_confseg.datasets import matching, pictures
from gluon_confseg.errors import DatasetError
from gluon_confseg.report.comparison import Arm, Comparison, Pictures, discovered, distinct

if TYPE_CHECKING:
    from gluon_confseg.cli.folders import CountedPairs

TURNED = 0.02  # a photograph whose sides' ratio differs from its label's by more is of something else


def of_folders(arguments, images: Path | None = None, *, shown: bool = True) -> Comparison:
    """Folders of predictions as arms, the first of which the others are compared with.

    images    the folder of the photographs, if they are not a data set's
    shown     whether photographs are wanted at all

    Reads every file once, and again those that are shown. Raises DatasetError as `folders.count` does, and where the
    folders are not of the same labels.
    """
    labels, given = sides.labels(arguments), arguments.predictions
    if len({folder.resolve() for folder in given}) < len(given):
        raise DatasetError(f"{given[0]}: the same folder of predictions was given twice; give each once")
    if images is not None and arguments.labels:
        _matched(images, labels.side.files, arguments.suffix)  # said before the work, not after it
    found = []
    for folder in given:
        predictions = labels.predictions(folder, arguments.predictions_are)
        found.append(folders.count(labels.side, predictions, labels.space, arguments.suffix, each=True))
    first = found[0]
    for folder, counted in zip(given, found):
        if list(counted.pairs) != list(first.pairs) or counted.labels != first.labels:
            raise DatasetError(
                f"{folder}: its predictions are not of the same labels as those in {given[0]}, or the labels are read "
                "in another way beside them; give predictions of the same images, and --labels-are for what ids are"
            )
    notes = [note for counted in found for note in counted.notes]
    for folder, counted in zip(given, found):
        notes += suspicions(counted.matrix, arguments.labels, folder)
    if images is not None and images.resolve() in {
        each.resolve() for each in (arguments.labels, *given) if each
    }:
        notes.append(f"The photographs and the labels or predictions are the same folder, {images}.")
    photographs = _photographs(images, labels, first, arguments.suffix, notes) if shown else {}
    names = distinct(given)
    arms = [
        Arm(name, counted.matrix.counts, counted.matrix.misses, counted.per_image())
        for name, counted in zip(names, found)
    ]
    listed = ", ".join(str(folder) for folder in given)
    kinds = f"{first.predictions} {first.labels}"
    ids = " Train ids number the classes from 0, in the order of their list." if "train ids" in kinds else ""
    return Comparison(
        title=f"What is confused in {names[0]}"
        if len(arms) == 1
        else f"{', '.join(names[:-1])} and {names[-1]} compared",
        data=f"Data: {len(first.pairs)} images; predictions in {listed} (read as {first.predictions}), labels in "
        f"{labels.where} (read as {first.labels}), classes of {labels.space.title}.{ids}",
        classes=list(labels.space.classes),
        colors=np.asarray(labels.space.colors).tolist(),
        arms=arms,
        names=list(first.pairs),
        groups=discovered(arms[0].counts),
        source="discovered in the matrix of " + arms[0].name,
        train=None,
        runs=(),
        pictures=FolderPictures(found, photographs),
        notes=list(dict.fromkeys(notes)),
    )


class FolderPictures(Pictures):
    """The files of folders, read again when they are shown."""

    def __init__(self, found: Sequence[CountedPairs], photographs: Mapping[str, Path]):
        self._found, self._photographs, self._keys = found, photographs, list(found[0].pairs)
        self.images = self.complete = range(len(self._keys))

    def read(self, index: int) -> tuple:
        """See `Pictures`."""
        key = self._keys[index]
        truth, photograph = self._found[0].train_ids(key, 0), None
        if key in self._photographs:
            photograph = _fitted(self._photographs[key], truth.shape)
        return photograph, truth, [counted.train_ids(key, 1) for counted in self._found]


def _photographs(
    images: Path | None, labels: sides.Labels, counted: CountedPairs, suffix: str, notes: list
) -> dict:
    """Key of a pair -> its photograph; what is missing is added to the notes."""
    if images is None:
        if labels.dataset is not None:
            by_label = dict(zip(labels.dataset.label_paths, labels.dataset.image_paths))
            return {key: by_label[label] for key, (label, _) in counted.pairs.items()}
        notes.append(
            "No photographs were given, so crops show classes alone; give their folder with --images."
        )
        return {}
    files = {key: label for key, (label, _) in counted.pairs.items()}
    matched = _matched(images, files, suffix)
    if matched.alone[0]:
        notes.append(f"{len(matched.alone[0])} of {len(files)} images have no photograph in {images}.")
    return {key: photograph for key, (_, photograph) in matched.pairs.items()}


def _matched(images: Path, files: Mapping[str, Path], suffix: str) -> matching.Matching:
    """Labels and their photographs; DatasetError where there is none of any label."""
    if not images.is_dir():
        reason = "is a file, not a folder" if images.exists() else "there is no such folder"
        raise DatasetError(f"{images}: {reason}; give the folder of the photographs")
    found = matching.walk(images, pictures.FORMATS)
    matched = matching.match(files, found, names=("label", "image"), cure="give --suffix={}", suffix=suffix)
    if not matched.pairs:
        shown = (
            f"; it holds {next(iter(found))} and the like, labels are {next(iter(files))}" if found else ""
        )
        raise DatasetError(
            f"{images}: holds no photograph ({', '.join(pictures.FORMATS)}) of any label{matched.reason}{shown}; they "
            "pair by path and name, less usual endings"
        )
    return matched


def _fitted(path: Path, shape: tuple) -> np.ndarray:
    """(H, W, 3) uint8 RGB of a photograph, resized where it is larger or smaller than its label."""
    photograph = pictures.read_image(path)
    height, width = photograph.shape[:2]
    if abs(width * shape[0] / (height * shape[1]) - 1) > TURNED:
        raise DatasetError(
            f"{path}: is {width} x {height} pixels, its label {shape[1]} x {shape[0]}, which is of another form; give "
            "the photographs that the labels were made for"
        )
    if (height, width) == tuple(shape):
        return photograph
    return cv2.resize(photograph, tuple(shape[::-1]), interpolation=cv2.INTER_AREA)
