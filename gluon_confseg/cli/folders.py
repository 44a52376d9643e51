"""The confusion matrix of any predictions: two folders of class ids, paired by path and name.

Files hold ids of a data set's label files ("raw ids", Cityscapes: 0-33, or the values of your list of classes), train
ids (0 to K - 1), or the classes' colours. Each pair is read once, and counted by the values that it holds; what the
values mean is decided in the end, when all of them were seen.
"""

from __future__ import annotations

import json
import os
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from gluon_confseg.cli import id_files
from gluon_confseg.cli.id_files import CLASSES
from gluon_confseg.datasets import SegmentationDataset, contents, matching
from gluon_confseg.datasets.base import in_threads
from gluon_confseg.datasets.pairing import listed
from gluon_confseg.errors import DatasetError
from gluon_confseg.labels import LABEL_SPACES, UNKNOWN, LabelSpace
from gluon_confseg.metrics import ConfusionMatrix, count_pairs
from gluon_confseg.progress import Progress
from gluon_confseg.report.per_image import PerImage

RAW, TRAIN = "raw", "train"
ABOUT = "classes.json"  # `confseg predict` writes it beside the PNGs of ids: what they are
KINDS = (RAW, TRAIN)
_THREADS = 2
_VALUES = 256
# Of two ways to read ids that nothing else tells apart, the one by which the two sides agree is taken where it is
# this share of the pixels at least, and so many times that of the other way
_AGREE, _TIMES = 0.25, 5


class Side(NamedTuple):
    """The files of one side.

    what     "label" or "prediction"
    files    key -> file, or whatever `read` takes
    read     a file -> ((H, W) uint8 values, and how they are meant: `id_files.CLASSES` or "ids")
    kind     what ids are, RAW or TRAIN; None: told by what the files hold
    chosen   every file is a label or prediction, as in a data set; else others may lie beside them
    """

    what: str
    files: Mapping[str, Path]
    read: Callable
    kind: str | None = None
    chosen: bool = False


class CountedPairs(NamedTuple):
    """The pairs of two sides, and their matrix.

    matrix       of all pairs together
    pairs        key, which is the label's -> (label, prediction), in the order in which they were counted
    labels       how the labels were read, for people
    predictions  the same of the predictions
    notes        sentences on what was read in a way that may surprise
    each         of each pair: (how its two sides are meant, joined values that occur, how often)
    values       what the values of labels and of predictions mean
    """

    matrix: ConfusionMatrix
    pairs: Mapping[str, tuple[Path, Path]]
    labels: str
    predictions: str
    notes: list[str]
    each: list[tuple]
    values: tuple

    def per_image(self) -> PerImage:
        """The matrix of every pair by itself; `count` was told to keep them."""
        space, images, cells, counts = self.values[0].space, [], [], []
        for number, (kinds, joined, often) in enumerate(self.each):
            truth, answer = (side.table(kind) for side, kind in zip(self.values, kinds))
            rows, columns = truth[joined // _VALUES], answer[joined % _VALUES]
            labelled = rows != space.ignore_label
            columns = np.where(columns == space.ignore_label, space.num_classes, columns)
            cell = rows[labelled].astype(np.int64) * (space.num_classes + 1) + columns[labelled]
            # several values may mean one class
            found, place = np.unique(cell, return_inverse=True)
            cells.append(found)
            counts.append(np.bincount(place, weights=often[labelled], minlength=len(found)).astype(np.int64))
            images.append(np.full(len(found), number))
        parts = (np.concatenate(part) if part else [] for part in (images, cells, counts))
        return PerImage(len(self.each), space.num_classes, *parts)

    def train_ids(self, key: str, side: int) -> np.ndarray:
        """(H, W) uint8 train ids of a pair's label (side 0) or prediction (1), read again."""
        values, kind = self.values[side].read(self.pairs[key][side])
        return self.values[side].table(kind)[values].astype(np.uint8)


def of_folder(folder: Path, what: str, read: Callable, kind: str | None = None) -> Side:
    """A side out of a folder; DatasetError where it holds none."""
    if not folder.is_dir():
        reason = "is a file, not a folder" if folder.exists() else "there is no such folder"
        raise DatasetError(f"{folder}: {reason}; give a folder that holds class ids")
    files = matching.walk(folder, id_files.SUFFIXES)
    if not files:
        others = matching.walk(folder, matching.NO_LABELS)
        there = ""
        if others:
            there = (
                f"{next(iter(others.values())).name} and others are there, but such files alter or lack ids: "
            )
        raise DatasetError(
            f"{folder}: holds no class ids ({', '.join(id_files.SUFFIXES)}); {there}give a folder of PNGs or arrays"
        )
    return Side(what, files, read, kind)


def said_kind(folder: Path, space: LabelSpace) -> str | None:
    """The kind of ids in a folder that `confseg predict` wrote; None for others. DatasetError for other classes."""
    file = folder / ABOUT
    if not file.is_file():
        return None
    try:
        said = json.loads(contents.text(file))
        classes = said["classes"] if said["ids"] == TRAIN else None
    except (ValueError, TypeError, KeyError, RecursionError):
        return None  # some other program's
    if classes is not None and classes != list(space.classes):
        raise DatasetError(
            f"{file}: these predictions are of the classes {', '.join(map(str, classes[:3]))}, ..., not of those of "
            f"{space.title}; give the list that the network was trained for"
        )
    return TRAIN if classes is not None else None


def of_dataset(dataset: SegmentationDataset) -> Side:
    """The labels of a data set, by the paths of their images below the folder that they share."""
    home = os.path.commonpath([path.parent for path in dataset.image_paths])
    names = [path.relative_to(home).with_suffix("").as_posix() for path in dataset.image_paths]
    indices = {label: index for index, label in enumerate(dataset.label_paths)}

    def read(label: Path) -> tuple[np.ndarray, str]:
        index = indices[label]
        return dataset.train_ids(index, dataset.read_values(index)), CLASSES

    keys = (unicodedata.normalize("NFC", name) for name in names)
    return Side("label", dict(zip(keys, dataset.label_paths)), read, chosen=True)


def count(
    labels: Side, predictions: Side, space: LabelSpace, suffix: str = "", *, each: bool = False
) -> CountedPairs:
    """Count all pairs.

    each     keep what every pair holds as well, for `CountedPairs.per_image`

    Raises DatasetError: one for all files that lack a partner; for a file that holds no ids, or does not fit; where
    ids may be raw or train ids and nothing tells.
    """
    files, notes = [], []
    for side, other in ((labels, predictions), (predictions, labels)):
        kept, beside = (side.files, []) if side.chosen else matching.labels_alone(side.files, other.files)
        files.append(kept)
        if beside:
            notes.append(
                f"{len(beside)} files of the {side.what}s were left out, which lie beside labels or are made of them "
                f"({listed(beside[:2])})."
            )
    names = (labels.what, predictions.what)
    matched = matching.match(*files, names=names, cure="give --suffix={}", suffix=suffix)
    if matched.by_name:
        notes.append(f"{matched.by_name} pairs have equal names in folders of other names.")
    if any(matched.alone):
        raise DatasetError(
            f"labels and predictions pair by path and name, but {listed(matched.faults())}; if the names differ by an "
            f"ending, give it with --suffix; else give the folders of one split, and add or remove what is left alone"
        )
    pairs = list(matched.pairs.values())

    def counted(number: int):
        label, prediction = pairs[number]
        (truth, truth_kind), (answer, answer_kind) = labels.read(label), predictions.read(prediction)
        if truth.shape != answer.shape:
            raise DatasetError(
                f"{prediction}: is {answer.shape[1]} x {answer.shape[0]} pixels, its label {label} {truth.shape[1]} x "
                f"{truth.shape[0]}; predict at the size of the label"
            )
        return (truth_kind, answer_kind), count_pairs(truth, answer)

    # how often a label's value meets a prediction's, by how the two are meant
    joint = defaultdict(lambda: np.zeros((_VALUES, _VALUES), np.int64))
    truth, answer, kept = _Values(space, labels), _Values(space, predictions), []
    with Progress("counting", len(pairs), "image") as bar:
        for pair, (kinds, cells) in zip(pairs, in_threads(counted, len(pairs), _THREADS)):
            truth.see(pair[0], kinds[0], cells.sum(1))
            answer.see(pair[1], kinds[1], cells.sum(0))
            joint[kinds] += cells
            if each:
                joined = np.flatnonzero(cells)
                kept.append((kinds, joined.astype(np.uint16), cells.ravel()[joined]))
            bar.update(1)
    for side in (truth, answer):
        side.kind = side.kind or side.told()
    if None in (truth.kind, answer.kind):
        notes.append(_settle(truth, answer, joint))
    matrix, described = _fold(joint, truth, answer), (truth.described, answer.described)
    return CountedPairs(matrix, matched.pairs, *described, notes, kept, (truth, answer))


def _fold(joint: Mapping, truth: _Values, answer: _Values) -> ConfusionMatrix:
    """Counts of stored values -> matrix, by what the two sides' values mean."""
    space = truth.space
    matrix = ConfusionMatrix(space.num_classes, space.ignore_label)
    for (truth_kind, answer_kind), cells in joint.items():
        values = np.argwhere(cells)
        rows, columns = truth.table(truth_kind)[values[:, 0]], answer.table(answer_kind)[values[:, 1]]
        counts, labelled = cells[tuple(values.T)], rows != space.ignore_label
        hit, missed = labelled & (columns != space.ignore_label), labelled & (columns == space.ignore_label)
        np.add.at(matrix.counts, (rows[hit], columns[hit]), counts[hit])
        np.add.at(matrix.misses, rows[missed], counts[missed])
    return matrix


def _settle(truth: _Values, answer: _Values, joint: Mapping) -> str:
    """Decide what ids of one side mean that nothing tells: as the other side agrees. Returns what to say about it."""
    if truth.kind == answer.kind:  # None
        raise DatasetError(truth.question())
    side, shares = answer if truth.kind else truth, {}
    for kind in KINDS:
        side.kind = kind
        found = _fold(joint, truth, answer)
        shares[kind] = found.counts.trace() / max(1, found.counts.sum() + found.misses.sum())
    other, best = sorted(KINDS, key=shares.get)
    if shares[best] < max(_AGREE, _TIMES * shares[other]):
        raise DatasetError(side.question())
    side.kind = best
    return (
        f"The {side.what}s may be raw ids or train ids; they are read as {side.described}, by which "
        f"{100 * shares[best]:.0f} % of the pixels agree, and by the other {100 * shares[other]:.0f} %."
    )


class _Values:
    """What values the files of one side hold, where each was first seen, and what they mean.

    kind     RAW or TRAIN; None while that is open
    """

    def __init__(self, space: LabelSpace, side: Side):
        self.space, self.what, self.kind, self.read = space, side.what, side.kind, side.read
        self._colours = False
        self._first: dict[int, Path] = {}  # value -> the first file that holds it
        self._evidence: dict[str, Path] = {}  # RAW or TRAIN -> the first file that can be nothing else
        self._likely: dict[str, Path] = {}  # the same of what a prediction hardly ever is
        self._tables = {RAW: space.table(raw=True), TRAIN: space.table(raw=False)}
        raw, train = self._tables[RAW], self._tables[TRAIN]
        self._only_raw = (raw != UNKNOWN) & (train == UNKNOWN)
        self._only_train = (raw == UNKNOWN) & (train != UNKNOWN)
        # no raw file of a published data set holds 255, while train ids mark ignored pixels by it
        self._only_train[space.ignore_label] = space.name in LABEL_SPACES
        # predicted as no class, if these were raw ids
        self._void = (raw == space.ignore_label) & (train != UNKNOWN)
        self._void[[0, space.ignore_label]] = False  # what programs write where they predict nothing

    def see(self, path: Path, kind: str, counts: np.ndarray) -> None:
        """counts: (256,) how often each value occurs in a file."""
        if kind == CLASSES:
            self._colours = True
            return
        present = counts > 0
        for value in np.flatnonzero(present):
            self._first.setdefault(int(value), path)
        name = str(getattr(path, "stem", "")).lower()
        named = self.what == "label"  # predictions are often saved under the names of labels
        if present[self._only_raw].any() or (named and name.endswith("_labelids")):
            self._evidence.setdefault(RAW, path)
        elif present[self._only_train].any() or (named and name.endswith("_labeltrainids")):
            self._evidence.setdefault(TRAIN, path)
        elif self.what == "prediction" and present[self._void].any():
            self._likely.setdefault(TRAIN, path)

    def told(self) -> str | None:
        """What names and values of the files tell; None where they tell nothing. DatasetError where they differ."""
        raw, train = self._evidence.get(RAW), self._evidence.get(TRAIN)
        if raw and train:
            raise DatasetError(
                f"{raw} holds raw {self.space.title} ids and {train} train ids; give one kind of ids"
            )
        if raw and self._likely:
            raise DatasetError(
                f"{raw} holds raw ids, and {self._likely[TRAIN]} looks as if it held train ids; give one kind of ids, "
                f"or say that all are of one with --{self.what}s-are"
            )
        present = list(self._first)
        if np.array_equal(self._tables[RAW][present], self._tables[TRAIN][present]):
            return TRAIN  # it makes no difference
        return next(iter(self._evidence or self._likely), None)

    @property
    def described(self) -> str:
        """How the files were read, for people."""
        kinds = [f"{self.kind} ids"] if self._first else []
        return " and ".join([*kinds, *(["classes"] if self._colours else [])])

    def question(self) -> str:
        """One sentence that asks what the values mean."""
        what, values = self.what, sorted(self._first)
        names = []
        for kind in KINDS:
            ids = [int(id) for id in self._tables[kind][values]]
            named = [self.space.classes[id] if id < self.space.num_classes else "no class" for id in ids]
            names.append(f"{', '.join(named[:4])}{', ...' if len(named) > 4 else ''} as {kind} ids")
        return (
            f"{next(iter(self._first.values()))}: the {what}s hold the values {', '.join(map(str, values[:4]))}"
            f"{', ...' if len(values) > 4 else ''}, which are {' but '.join(names)}; say which they are with "
            f"--{what}s-are raw or --{what}s-are train"
        )

    def table(self, kind: str) -> np.ndarray:
        """(256,) value -> train id; DatasetError where a value is no class."""
        if kind == CLASSES:
            return self._tables[TRAIN]
        table = self._tables[self.kind]
        for value, path in self._first.items():
            if table[value] == UNKNOWN:
                row, column = np.argwhere(self.read(path)[0] == value)[0]
                raise DatasetError(
                    f"{path}: value {value} at row {row}, column {column} is no {self.space.title} class "
                    f"({self.space.valid_range(self.kind == RAW)}, or 255 for none); "
                    f"give {self.what}s of this data set, or of other classes with --data or --classes"
                )
        return table
