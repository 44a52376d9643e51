"""The confusion matrix of any predictions: two sets of PNGs of class ids, paired by name.

Raw ids (Cityscapes: 0-33) and train ids are told apart by content. Each pair is read once, and counted by
the values that it holds; the values are mapped to classes in the end.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from gluon_confseg.datasets import png
from gluon_confseg.datasets.pairing import listed
from gluon_confseg.errors import DatasetError
from gluon_confseg.labels import UNKNOWN, LabelSpace
from gluon_confseg.metrics import ConfusionMatrix
from gluon_confseg.progress import Progress

_VALUES = 256
_SUFFIXES = ("_gtFine_labelIds", "_gtFine_labelTrainIds", "_leftImg8bit")  # one scene's names in Cityscapes
_NOT_IDS = ("_gtFine_color", "_gtFine_instanceIds")  # lie beside them


class CountedPairs(NamedTuple):
    """The matrix, how many pairs it is of, and how the values were read: "train ids" or "raw ids"."""

    matrix: ConfusionMatrix
    pairs: int
    labels: str
    predictions: str


def of_folder(folder: Path) -> dict:
    """Key -> PNG file, of a folder and those inside it; DatasetError for two files of one key."""
    if not folder.is_dir():
        raise DatasetError(f"{folder}: there is no such folder; give one that holds PNGs of class ids")
    found = {}
    for path in sorted(folder.rglob("*.png")):
        if path.name.startswith(".") or path.stem.endswith(_NOT_IDS):
            continue
        if key_of(path) in found:
            raise DatasetError(
                f"{path}: has the same name as {found[key_of(path)]}, and pairs are found by name; "
                "give a folder with one file for each image"
            )
        found[key_of(path)] = path
    if not found:
        raise DatasetError(f"{folder}: holds no *.png; give a folder that holds PNGs of class ids")
    return found


def key_of(path: Path) -> str:
    """The name that a label, an image and a prediction of one scene share."""
    suffix = next((suffix for suffix in _SUFFIXES if path.stem.endswith(suffix)), "")
    return path.stem[: len(path.stem) - len(suffix)]


def count(labels: dict, predictions: dict, space: LabelSpace) -> CountedPairs:
    """Count all pairs of two dicts from key to file.

    Raises DatasetError: one for all files that lack a partner; for a file that is no label, or does not fit.
    """
    faults = [f"label {labels[k]} has no prediction {k}.png" for k in sorted(labels.keys() - predictions)]
    faults += [f"prediction {predictions[k]} has no label" for k in sorted(predictions.keys() - labels)]
    if faults:
        raise DatasetError(
            f"labels and predictions pair by name, but {listed(faults)}; add or remove these files"
        )
    joint = np.zeros((_VALUES, _VALUES), np.int64)  # how often a label's value meets a prediction's
    truth, predicted = _Values(space, "label"), _Values(space, "prediction")
    with Progress("counting", len(labels), "image") as bar:
        for key in sorted(labels):
            label, prediction = png.read_label(labels[key]), png.read_label(predictions[key])
            if label.shape != prediction.shape:
                raise DatasetError(
                    f"{predictions[key]}: is {prediction.shape[1]} x {prediction.shape[0]} pixels, its label "
                    f"{labels[key]} {label.shape[1]} x {label.shape[0]}; predict at the size of the label"
                )
            values = label.astype(np.int64).ravel() * _VALUES + prediction.ravel()
            cells = np.bincount(values, minlength=_VALUES**2).reshape(_VALUES, _VALUES)
            truth.see(labels[key], label, cells.sum(1))
            predicted.see(predictions[key], prediction, cells.sum(0))
            joint += cells
            bar.update(1)
    matrix = _fold(joint, truth.table(), predicted.table(), space)
    return CountedPairs(matrix, len(labels), truth.kind, predicted.kind)


def _fold(joint: np.ndarray, rows: np.ndarray, columns: np.ndarray, space: LabelSpace) -> ConfusionMatrix:
    """(256, 256) counts of stored values -> matrix; rows, columns: (256,) value -> train id."""
    matrix = ConfusionMatrix(space.num_classes, space.ignore_label)
    values = np.argwhere(joint)
    truth, predicted, counts = rows[values[:, 0]], columns[values[:, 1]], joint[tuple(values.T)]
    labelled = truth != space.ignore_label
    hit, missed = labelled & (predicted != space.ignore_label), labelled & (predicted == space.ignore_label)
    np.add.at(matrix.counts, (truth[hit], predicted[hit]), counts[hit])
    np.add.at(matrix.misses, truth[missed], counts[missed])
    return matrix


class _Values:
    """What values the files of one side hold, and where each was first seen."""

    def __init__(self, space: LabelSpace, what: str):
        self._space, self._what = space, what
        self._first = {}  # value -> (file, row, column)
        self._evidence = {}  # "raw ids" or "train ids" -> the first file that can be nothing else
        raw, train = space.table(raw=True), space.table(raw=False)
        self._differ = not np.array_equal(raw[: space.num_classes], train[: space.num_classes])
        self._only_raw = self._differ & (raw != UNKNOWN) & (train == UNKNOWN)

    def see(self, path: Path, pixels: np.ndarray, counts: np.ndarray) -> None:
        """counts: (256,) how often each value occurs in `pixels`."""
        present = counts > 0
        for value in np.flatnonzero(present):
            if value not in self._first:
                row, column = np.argwhere(pixels == value)[0]
                self._first[value] = (path, row, column)
        if not self._differ:
            return
        if path.stem.endswith("_labelIds") or present[self._only_raw].any():
            self._evidence.setdefault("raw ids", path)
        elif path.stem.endswith("_labelTrainIds") or present[self._space.ignore_label]:
            self._evidence.setdefault("train ids", path)

    @property
    def kind(self) -> str:
        return "raw ids" if "raw ids" in self._evidence else "train ids"

    def table(self) -> np.ndarray:
        """(256,) value -> train id; DatasetError where files disagree, or a value is no class."""
        if len(self._evidence) == 2:
            raw, train = self._evidence["raw ids"], self._evidence["train ids"]
            title = self._space.title
            raise DatasetError(f"{raw} holds raw {title} ids and {train} train ids; give one kind of ids")
        read_raw = self.kind == "raw ids" or not self._differ
        table = self._space.table(read_raw)
        for value, (path, row, column) in self._first.items():
            if table[value] == UNKNOWN:
                raise DatasetError(
                    f"{path}: value {value} at row {row}, column {column} is no {self._space.title} class "
                    f"({self._space.valid_range(read_raw)}, or 255 for none); "
                    f"give {self._what}s of this data set, or another --data"
                )
        return table
