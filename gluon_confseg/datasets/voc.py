"""PASCAL VOC 2012 with its own labels and those of SBD: Table 5's data."""

from __future__ import annotations

import functools
import os
import re
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from gluon_confseg.datasets import contents, mat
from gluon_confseg.datasets.base import SegmentationDataset
from gluon_confseg.datasets.faults import Fault
from gluon_confseg.datasets.pairing import Pair, Pairing, check_choice, existing_root
from gluon_confseg.errors import DatasetError
from gluon_confseg.labels import VOC as SPACE

TRAIN_AUG = "train_aug"
# lists as published; SBD's two overlap VOC val, which train_aug leaves out
LISTS = {"VOC train": 1464, "VOC val": 1449, "SBD train": 8498, "SBD val": 2857}
_PLACES = (".", "VOC2012", "VOCdevkit/VOC2012", "VOCtrainval_11-May-2012/VOCdevkit/VOC2012")
_NAME = re.compile(r"[\w-]+\Z")
_WANTED = "VOCdevkit/VOC2012/ or VOC2012/"
_RELEASE = Path("benchmark_RELEASE") / "dataset"


class VOC(SegmentationDataset):
    """PASCAL VOC 2012 segmentation: photographs of many sizes, 21 classes with background; 255 is ignored.

    root        folder that holds VOC2012/ or VOCdevkit/VOC2012/, or is it
    split       "train", "val", "trainval", "test" (may have no labels), or "train_aug": SBD train and val and VOC
                train, less VOC val; VOC's own label is taken where both have one
    sbd_root    folder that holds benchmark_RELEASE/, or is it; None: looked for inside and beside root
    complete    whether train_aug must be the published 10,582 images. None: a warning where the lists are shorter
                or longer than published, an error where they are as published and yet give another number;
                True: an error in both cases; False: not checked
    strict      False: what does not pair is left out, and listed in `alone`
    Raises DatasetError: no such folder, another layout, names without image or label (all at once).
    """

    SPLITS = ("train", "val", "trainval", "test", TRAIN_AUG)
    COUNTS = {"train": 1464, "val": 1449, "trainval": 2913, "test": 1456, TRAIN_AUG: 10_582}
    NESTED = tuple(
        frozenset(pair) for pair in (("train", "trainval"), ("val", "trainval"), ("train", TRAIN_AUG))
    ) + (frozenset(("trainval", TRAIN_AUG)),)

    def __init__(
        self,
        root,
        split: str = "train",
        sbd_root=None,
        complete: bool | None = None,
        *,
        strict: bool = True,
    ):
        root = existing_root(root, _WANTED)
        check_choice("PASCAL VOC", "split", split, self.SPLITS)
        home = _home(root)
        pairing = _augmented(root, home, sbd_root, complete) if split == TRAIN_AUG else _own(home, split)
        super().__init__(root, split, SPACE, pairing, strict=strict)

    @classmethod
    def splits_in(cls, root: Path) -> list[str]:
        home = _home(root)
        found = [TRAIN_AUG if _find_sbd(root, home) else "train", "val"]
        listed = _read_list(_list_file(home, "test"), []) if _list_file(home, "test").is_file() else []
        has_test = any((home / "JPEGImages" / f"{name}.jpg").is_file() for name in listed[:1])
        return found + (["test"] if has_test else [])

    @property
    def description(self) -> str:
        return f"PASCAL VOC 2012{' with SBD' if self.split == TRAIN_AUG else ''}, {self.split}: {len(self)} images."

    def read_values(self, index: int) -> np.ndarray | None:
        path = self.label_paths[index]
        return mat.read_label(path) if _is_mat(path) else super().read_values(index)

    def peek_label(self, index: int) -> Sequence[int]:
        path = self.label_paths[index]
        return mat.read_label(path).shape if _is_mat(path) else super().peek_label(index)


def _is_mat(path: Path | None) -> bool:
    return path is not None and path.suffix == ".mat"


def _home(root: Path) -> Path:
    for place in _PLACES:
        if (root / place / "ImageSets" / "Segmentation").is_dir():
            return root / place
    looked = "JPEGImages/NAME.jpg, SegmentationClass/NAME.png and ImageSets/Segmentation/SPLIT.txt"
    raise DatasetError(
        f"{root}: is not the PASCAL VOC layout, there is no folder ImageSets/Segmentation (looked for {looked} in it, "
        f"in VOC2012/ and in VOCdevkit/VOC2012/); give the folder that holds {_WANTED}."
    )


def _list_file(home: Path, split: str) -> Path:
    return home / "ImageSets" / "Segmentation" / f"{split}.txt"


def _find_sbd(root: Path, home: Path, given=None) -> Path | None:
    """SBD's folder of img/NAME.jpg, cls/NAME.mat, train.txt and val.txt: at `given`, or inside or beside the others.

    None where it is not; DatasetError where `given` holds none.
    """
    places = [
        place for inner in (home.resolve(), root.resolve()) for place in (inner, *list(inner.parents)[:2])
    ]
    for place in places if given is None else [Path(given).expanduser()]:
        for folder in (place / _RELEASE, place / "dataset", place):
            if (folder / "cls").is_dir() and (folder / "train.txt").is_file():
                return folder
    if given is None:
        return None
    raise DatasetError(
        f"{given}: is not SBD (looked for {_RELEASE}/cls/ and train.txt there); unpack benchmark.tgz and give the "
        f"folder that holds benchmark_RELEASE/."
    )


def _read_list(path: Path, alone: list[str]) -> list[str]:
    """The names in a list, each once, in order; what is no name, or stands there twice, is told to `alone`."""
    names: dict[str, None] = {}
    for number, line in enumerate(contents.text(path).split("\n"), 1):
        name = line.strip()
        if name and not _NAME.match(name):
            alone.append(f"{path}, line {number}: {name[:40]!r} is no image's name")
        elif name in names:
            alone.append(f"{path}, line {number}: {name} is listed twice")
        elif name:
            names[name] = None
    if not names:
        raise Fault("layout", f"{path}: holds no names of images; unpack it again.")
    return list(names)


def _own(home: Path, split: str) -> Pairing:
    alone: list[str] = []
    candidates = [_own_pair(home, name) for name in _read_list(_list_file(home, split), alone)]
    labels = _files(home / "SegmentationClass")
    if split == "test" and not any(each.label.name in labels for each in candidates):
        candidates = [each._replace(label=None) for each in candidates]
    return _existing(candidates, alone)


def _augmented(root: Path, home: Path, sbd_root, complete: bool | None) -> Pairing:
    sbd = _find_sbd(root, home, sbd_root)
    if sbd is None:
        raise DatasetError(
            f"{root}: split train_aug needs SBD, and there is no benchmark_RELEASE/dataset/ in or beside it; unpack "
            f"SBD's benchmark.tgz there, give sbd_root, or use split train."
        )
    alone: list[str] = []
    files = (_list_file(home, "train"), _list_file(home, "val"), sbd / "train.txt", sbd / "val.txt")
    lists = {name: _read_list(file, alone) for name, file in zip(LISTS, files)}
    own = set(lists["VOC train"])
    names = sorted({*own, *lists["SBD train"], *lists["SBD val"]} - set(lists["VOC val"]))
    published = VOC.COUNTS[TRAIN_AUG]
    if complete is not False and len(names) != published:
        counts = ", ".join(f"{name} {len(lists[name])} of {wanted}" for name, wanted in LISTS.items())
        message = (
            f"{home}: train_aug comes to {len(names)} images, not to the {published} published; the lists of names "
            f"hold {counts}: unpack them again, or pass complete=False for a part of the data"
        )
        if complete or all(len(lists[name]) == wanted for name, wanted in LISTS.items()):
            raise Fault("count", f"{message}.")
        warnings.warn(message, RuntimeWarning, stacklevel=3)
    images, candidates = _files(home / "JPEGImages"), []
    for name in names:
        pair = _own_pair(home, name)
        if name not in own:
            image = pair.image if pair.image.name in images else sbd / "img" / pair.image.name
            pair = Pair(name, image, sbd / "cls" / f"{name}.mat")
        candidates.append(pair)
    return _existing(candidates, alone)


def _own_pair(home: Path, name: str) -> Pair:
    return Pair(name, home / "JPEGImages" / f"{name}.jpg", home / "SegmentationClass" / f"{name}.png")


def _existing(candidates: Iterable[Pair], alone: list[str]) -> Pairing:
    """The pairs whose files are there; the folders are listed once, which is quicker than asking for each file."""
    files = functools.lru_cache(maxsize=None)(_files)
    pairs = []
    for candidate in candidates:
        wanted = (path for path in (candidate.image, candidate.label) if path is not None)
        missing = [path for path in wanted if path.name not in files(path.parent)]
        if missing:
            alone.extend(f"{candidate.name} is listed, but there is no {path}" for path in missing)
        else:
            pairs.append(candidate)
    return Pairing(pairs, alone)


def _files(folder: Path) -> set[str]:
    try:
        return set(os.listdir(folder))
    except OSError:
        return set()
