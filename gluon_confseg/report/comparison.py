"""What a page is about: one or more arms, which are predictions of the same labelled images, and all about them."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np

from gluon_confseg import groups, metrics
from gluon_confseg.errors import CheckpointError, RunError
from gluon_confseg.report import costs, discovery, tables
from gluon_confseg.report.folder import Run, phase_of, read
from gluon_confseg.report.panels import ABREAST
from gluon_confseg.report.per_image import PerImage
from gluon_confseg.run_folder import AGAIN, read_predictions

MANY = 64  # more classes than these do not stand side by side
NO_CLASS = "(no class)"  # what pixels are taken for that are predicted as 255


@dataclasses.dataclass(frozen=True)
class Arm:
    """Predictions of all images by one network.

    name        what tables call it
    counts      (K, K) int64, rows truth, columns prediction
    misses      (K,) int64, pixels of each class that were predicted as none
    per_image   the same of each image; None where only the sums are known
    cell        the cell of results.json that it is; empty where it is of no run
    run         the run that it is of; None for predictions of a folder
    """

    name: str
    counts: np.ndarray
    misses: np.ndarray
    per_image: PerImage | None = None
    cell: dict = dataclasses.field(default_factory=dict)
    run: Run | None = None

    @cached_property
    def full(self) -> np.ndarray:
        """(K, K + 1) counts, the last column those that were predicted as no class."""
        return np.column_stack([self.counts, self.misses])

    @cached_property
    def shares(self) -> np.ndarray:
        """(K, K + 1) shares of each class's pixels; a class without pixels has zeros."""
        return metrics.normalize(self.full)

    @cached_property
    def iou(self) -> np.ndarray:
        """(K,) IoU, NaN where a class is neither in the truth nor predicted."""
        return metrics.iou(self.counts, self.misses)

    @property
    def mean_iou(self) -> float:
        """Their mean."""
        return metrics.mean_of_defined(self.iou)

    @cached_property
    def recall(self) -> np.ndarray:
        """(K,) share of each class's pixels that were found, NaN where a class is not in the truth."""
        return metrics.ratio(np.diag(self.counts), self.counts.sum(1) + self.misses)

    @cached_property
    def precision(self) -> np.ndarray:
        """(K,) share of the pixels taken for a class that are of it, NaN where a class was not predicted."""
        return metrics.ratio(np.diag(self.counts), self.counts.sum(0))

    @property
    def pixel_accuracy(self) -> float:
        """Share of the labelled pixels that are right, NaN without any."""
        return float(metrics.ratio(np.trace(self.counts), self.full.sum()))

    @cached_property
    def costs(self) -> np.ndarray:
        """(K, K + 1) mIoU that each confusion costs: `costs.pair_costs`."""
        return costs.pair_costs(self.counts, self.misses)

    @cached_property
    def ranked(self) -> list:
        """(truth, prediction) of the confusions that occur, those that cost most first; K is no class."""
        ranked = np.unravel_index(np.argsort(-self.costs, axis=None, kind="stable"), self.costs.shape)
        return [(int(i), int(j)) for i, j in zip(*ranked) if i != j and self.full[i, j]]


class Pictures:
    """The pixels of the images that can be shown; those of a run are in its folder.

    images     their indices, ascending
    complete   those of them that all arms have a prediction of
    """

    images: Sequence[int] = ()
    complete: Sequence[int] = ()

    def read(self, index: int) -> tuple:
        """Its photograph, (H, W, 3) uint8 RGB or None; truth, (H, W) uint8; each arm's prediction, alike, or None."""
        raise NotImplementedError


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Arms, the first of which the others are compared with.

    title, data     what the page is called, and a sentence on which data it was
    classes         K names
    colors          K lists of red, green, blue, 0 to 255
    names           of the images; empty where only sums over them are known
    groups          lists of classes that are confused with each other
    source          where the groups come from, in words
    train           (K, K) the matrix on training images that groups and weights come from; None without one
    runs            the runs that the arms are of
    pictures        the pixels of images
    notes           sentences on what is missing, or was read in a way that may surprise
    """

    title: str
    data: str
    classes: Sequence[str]
    colors: Sequence
    arms: Sequence[Arm]
    names: Sequence[str]
    groups: Sequence
    source: str
    train: np.ndarray | None
    runs: Sequence[Run]
    pictures: Pictures
    notes: Sequence[str]

    @cached_property
    def discoveries(self) -> list:
        """Groups at many thresholds, in the matrix on training images, the first arm's, and the best's: `Discovery`.

        Only the first of these where there are many classes.
        """
        sources = {} if self.train is None else {"training images": self.train}
        sources.update({arm.name: arm.counts for arm in (self.arms[0], self.best)})
        if len(self.classes) > MANY:
            sources = dict(list(sources.items())[:1])
        return [discovery.at_thresholds(name, counts) for name, counts in sources.items()]

    @property
    def abreast(self) -> list:
        """Indices of the arms that stand side by side in crops: all, or the first and the best of the others."""
        others = sorted(range(1, len(self.arms)), key=lambda place: -self.arms[place].mean_iou)
        return [0, *sorted(others[: ABREAST - 1])]

    @property
    def best(self) -> Arm:
        """The arm with the highest mIoU besides the first, the first of equals; the only one where there is one."""
        return max(self.arms[1:] or self.arms, key=lambda arm: arm.mean_iou)

    def named(self, klass: int) -> str:
        """The name of a class; K is that of no class."""
        return self.classes[klass] if klass < len(self.classes) else NO_CLASS

    def group_of(self, *classes: int) -> int | None:
        """The number, from 1, of the group that holds all of these classes; None where there is none."""
        return next((n for n, group in enumerate(self.groups, 1) if set(classes) <= set(group)), None)


def of_runs(folders: Sequence) -> Comparison:
    """The cells of one run or of several as arms.

    Raises RunError for a folder that is no finished run, and for runs of different classes or validation images.
    """
    given = [Path(folder).resolve() for folder in folders]
    for place, folder in enumerate(folders):
        if given.index(given[place]) < place:
            raise RunError(f"{folder}: the same run was given twice; give each once")
    runs = [read(folder) for folder in folders]
    first = runs[0]
    labels = distinct([run.folder for run in runs])
    for run in runs[1:]:
        if run.classes != first.classes:
            raise RunError(
                f"{run.folder}: its classes are not those of {first.folder}; compare runs of the same data"
            )
        if not np.array_equal(_truth(run), _truth(first)):
            raise RunError(
                f"{run.folder}: was scored on other labels than {first.folder}; compare runs of the same validation "
                "images"
            )
    arms = []
    for run, label in zip(runs, labels):
        for cell in run.cells:
            name = tables.cell_name(cell)
            if sum(tables.cell_name(other) == name for other in run.cells) > 1:
                name = f"{name} ({cell['key']})"
            counts = run.counts[cell["key"]]
            arms.append(
                Arm(
                    f"{label}: {name}" if len(runs) > 1 else name,
                    counts,
                    np.zeros(len(counts), np.int64),
                    run.per_image.get(cell["key"]),
                    cell,
                    run,
                )
            )
    names, notes = _names(runs, arms)
    if not names:
        arms = [dataclasses.replace(arm, per_image=None) for arm in arms]
    pictures = RunPictures(runs, arms, names)
    title = first.results["title"]
    if len(runs) > 1:
        titles = dict.fromkeys(run.results["title"] for run in runs)
        title = f"{len(runs)} runs: {'; '.join(titles)}"
    sources = dict.fromkeys(run.results["groups"]["source"] for run in runs)
    return Comparison(
        title=title,
        data=" ".join(dict.fromkeys(run.results["first_line"] for run in runs)),
        classes=first.classes,
        colors=first.results["colors"],
        arms=arms,
        names=names,
        groups=_with_groups(runs).groups,
        source=", ".join(sources),
        train=first.train,
        runs=runs,
        pictures=pictures,
        notes=[*notes, *pictures.notes, *_groups_differ(runs)],
    )


def _groups_differ(runs: Sequence[Run]) -> list:
    """A sentence where runs have other groups than the page shows."""
    shown = _with_groups(runs)
    others = [run for run in runs if run.groups and sorted(run.groups) != sorted(shown.groups)]
    if not others:
        return []
    told = "; ".join(f"{run.folder}: {_told(run)}" for run in others)
    return [
        f"The groups on this page are those of {shown.folder}. Other runs have subnets for other groups: {told}."
    ]


def _with_groups(runs: Sequence[Run]) -> Run:
    """The first run that has groups, the first of all where none has."""
    return next((run for run in runs if run.groups), runs[0])


def _told(run: Run) -> str:
    return ", ".join("/".join(run.classes[k] for k in group) for group in run.groups)


def _truth(run: Run) -> np.ndarray:
    """(K,) labelled pixels of each class."""
    return run.counts[run.cells[0]["key"]].sum(1)


def _names(runs: Sequence[Run], arms: Sequence[Arm]) -> tuple:
    """(names of the validation images, sentences on what of single images is not known)."""
    counted = [arm.per_image.num_images for arm in arms if arm.per_image is not None]
    if not counted:
        return [], [
            "Which images a confusion is in is not known: the folder lacks checkpoints/*.evaluation.npz, the counts "
            "of single images."
        ]
    known = [run.examples["names"] for run in runs if run.examples]
    if any(names != known[0] for names in known) or len(set(counted)) > 1:
        return [], ["The runs' validation images have other names, so single images are not shown."]
    if known and any(run.examples["images"] for run in runs):
        return known[0], []
    numbered = [f"image {number} of {counted[0]}" for number in range(1, counted[0] + 1)]
    return known[0] if known else numbered, [
        "There are no example pictures, as this run folder keeps no predictions: an earlier version wrote it. For "
        "pictures, delete its checkpoints/*.evaluation.npz, and give the `confseg train` command of the run again: "
        "nothing is trained again, and the validation images are evaluated once more."
    ]


class RunPictures(Pictures):
    """Photographs and labels that runs kept, with the predictions of all their cells."""

    def __init__(self, runs: Sequence[Run], arms: Sequence[Arm], names: Sequence[str]):
        self._kept = {}  # index -> (folder, photograph, labels)
        for run in reversed(runs) if names else ():
            for image in run.examples.get("images", ()):
                place = run.folder / "examples"
                self._kept[image["index"]] = place / image["photograph"], place / image["labels"]
        self.notes = []  # what is damaged
        self._predictions = [self._of(arm) if arm.run.examples else None for arm in arms]
        self._rules = [arm.cell.get("rule") for arm in arms]
        there = [
            set() if known is None else set(known.images) & self._kept.keys() for known in self._predictions
        ]
        self.images, self.complete = sorted(set.union(*there)), sorted(set.intersection(*there))

    def _of(self, arm: Arm):
        cell, split = arm.cell, arm.run.examples["split"]
        try:
            known = read_predictions(arm.run.folder, phase_of(cell), cell.get("tta", "single"), split)
        except CheckpointError as error:
            self.notes.append(
                f"{error}. {arm.name} has no predictions on this page. For them, delete the file, and that of the same "
                "name with evaluation in place of predictions, and give the `confseg train` command of the run again."
            )
            return None
        return known if known is not None and cell.get("rule") in known.rules else None

    def read(self, index: int) -> tuple:
        photograph, labels = self._kept[index]
        image, truth = _picture(photograph, cv2.IMREAD_COLOR), _picture(labels, cv2.IMREAD_GRAYSCALE)
        answers = [
            known.read(rule, index) if known is not None and index in known.images else None
            for known, rule in zip(self._predictions, self._rules)
        ]
        for array, what in [
            (image[..., 0], photograph),
            *((a, "a prediction") for a in answers if a is not None),
        ]:
            if array.shape != truth.shape:
                raise RunError(f"{labels}: is not of the size of {what}: they are of different runs; {AGAIN}")
        return cv2.cvtColor(image, cv2.COLOR_BGR2RGB), truth, answers


def _picture(path: Path, mode: int) -> np.ndarray:
    pixels = cv2.imread(str(path), mode)
    if pixels is None:
        raise RunError(f"{path}: can't be read as a picture; delete the folder it is in, and {AGAIN}")
    return pixels


def distinct(paths: Sequence[Path]) -> list:
    """A short name for each path that no other has: the last parts that differ, without words that all begin with."""
    parts = [Path(os.path.abspath(path)).parts for path in paths]
    names = [of_path[-1] for of_path in parts]
    depth = 1
    while len(set(names)) < len(names) and depth < max(map(len, parts)):
        depth += 1
        names = ["/".join(of_path[-depth:]) for of_path in parts]
    words = [name.split("-") for name in names]
    while len(words) > 1 and min(map(len, words)) > 1 and len({of_name[0] for of_name in words}) == 1:
        words = [of_name[1:] for of_name in words]
    return ["-".join(of_name) for of_name in words]


def discovered(counts: np.ndarray) -> list:
    """The groups in a matrix of counts, as lists of classes."""
    return [list(group) for group in groups.discover(metrics.normalize(counts))]
