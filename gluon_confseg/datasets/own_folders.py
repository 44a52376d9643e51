"""Where the images and labels of your own data lie: in a folder for each split, or named by a list for each split."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from gluon_confseg.datasets import contents, matching
from gluon_confseg.datasets.matching import Matching
from gluon_confseg.datasets.pairing import Pair, Pairing, unlabelled
from gluon_confseg.datasets.pictures import FORMATS
from gluon_confseg.errors import DatasetError

# kind -> names that its folder may have
HOMES = {
    "images": ("images", "image", "imgs", "img", "JPEGImages"),
    "labels": ("labels", "label", "masks", "mask", "annotations", "SegmentationClass"),
}
# split -> names that its folder or list may have
SPLITS = {
    "train": ("train", "training", "default"),
    "val": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}
_LISTS = (".", "splits", "lists", "ImageSets/Segmentation")  # where lists lie, below the root


class Found(NamedTuple):
    """base: the folder above all files; listing: the list that names them, None without one."""

    base: Path
    pairing: Pairing
    listing: Path | None


def find(root: Path | None, split: str, images=None, labels=None, suffix: str = "") -> Found:
    """The images of a split with their labels.

    images, labels      their folders; None: below `root`
    suffix              an ending of the labels' names that the images' names lack, beside those that are known
    Raises DatasetError: no such folder or split, a list that names what is not there, files with two partners.
    """
    named = images is not None
    homes = [_home(root, given, kind) for kind, given in (("images", images), ("labels", labels))]
    base = Path(os.path.commonpath([home.absolute() for home in homes])) if root is None else root
    listing = None if named or root is None else _list_of(root, split)
    if listing is None:
        photos, masks = (_of_split(home, kind, split, named) for home, kind in zip(homes, HOMES))
    else:
        photos, masks = homes
    found = matching.walk(photos, FORMATS)
    if not found:
        raise DatasetError(
            f"{photos}: holds no images ({', '.join(FORMATS)}); put the images of {split} there."
        )
    there = masks.is_dir()
    wanted = matching.labels_alone(matching.walk(masks, [".png"]), found)[0] if there else {}
    if listing is not None:
        found, wanted = _listed(listing, root, homes, found, wanted)
    cure = f"name image and label on each line of a list {split}.txt"
    matched = matching.match(found, wanted, names=("image", "label"), suffix=suffix, cure=cure)
    if split == "test" and not matched.pairs:
        return Found(base, unlabelled(found), listing)
    if there and any(matched.alone):
        _complain_of_other_formats(masks, found, matched)
    if listing is not None:  # labels that the list does not name belong to other splits
        matched = matched._replace(alone=(matched.alone[0], []))
    alone = [fault.replace(f"{base}{os.sep}", "") for fault in matched.faults()]
    pairs = [Pair(Path(key).name, image, label) for key, (image, label) in matched.pairs.items()]
    return Found(base, Pairing(pairs, alone), listing)


def splits_in(root: Path) -> list[str]:
    """The splits that folders or lists name: train, val, test as far as they are there, then others."""
    folders = _subfolders(_home(root, None, "images"))
    usual = [
        split for split in SPLITS if _one_of(folders, SPLITS[split]) or _list_of(root, split) is not None
    ]
    names = {name for split in usual for name in SPLITS[split]}
    return usual + [name for name in folders if name.lower() not in names] or ["train"]


def _home(root: Path | None, given, kind: str) -> Path:
    if given is None:
        given = next((root / name for name in HOMES[kind] if (root / name).is_dir()), root / kind)
    folder = Path(given).expanduser()
    if not folder.is_dir():
        raise DatasetError(f"{folder}: there is no such folder; it should hold the {kind} of your own data.")
    return folder


def _of_split(home: Path, kind: str, split: str, named: bool) -> Path:
    """The folder of a split. named: the caller named the folders, so they may be of any split."""
    there = _subfolders(home)
    name = _one_of(there, _names_of(split))
    if name is not None:
        return home / name
    if kind == "labels" and split == "test" and not named:
        return home / split  # a test split may have no labels
    if (there or split != "train") and not named:
        known = ", ".join(there) or "train: all that is in it"
        raise DatasetError(
            f"{home}: has no split {split!r}; make the folder {split} there, or a list {split}.txt beside "
            f"{home.name}, or use one of {known}."
        )
    return home


def _names_of(split: str) -> tuple[str, ...]:
    """The names that a split may have, the given one first."""
    others = next((names for names in SPLITS.values() if split.lower() in names), ())
    return (split, *(name for name in others if name != split))


def _subfolders(folder: Path) -> list[str]:
    try:
        return sorted(path.name for path in folder.iterdir() if path.is_dir() and path.name[0] != ".")
    except OSError:
        return []


def _one_of(names, wanted) -> str | None:
    """The first of the wanted names that is there, in any case."""
    return next((name for want in wanted for name in names if name.lower() == want.lower()), None)


def _list_of(root: Path, split: str) -> Path | None:
    names = _names_of(split)
    places = (root / place / f"{name}.txt" for place in _LISTS for name in names)
    return next((path for path in places if path.is_file()), None)


def _listed(listing: Path, root: Path, homes, images: Mapping, labels: Mapping) -> tuple[dict, dict]:
    """The images, and the labels that may belong to them, that a list names: an image a line, and perhaps its label."""
    chosen, given = {}, {}
    finders = [_Finder(root, home, files) for home, files in zip(homes, (images, labels))]
    for number, line in enumerate(contents.text(listing).splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        image, words = finders[0].key(line.strip()), line.split()
        if image is None and len(words) == 2:
            image, label = finders[0].key(words[0]), finders[1].key(words[1])
            if image is not None and label is None:
                raise DatasetError(
                    f"{listing}, line {number}: there is no label {words[1]} in {homes[1]}; correct the list."
                )
            given[image] = label
        if image is None:
            raise DatasetError(
                f"{listing}, line {number}: there is no image {line.strip()[:80]} in {homes[0]}; correct the list, "
                f"or remove it if it is no list of images."
            )
        if image in chosen:
            raise DatasetError(f"{listing}, line {number}: names {line.strip()[:80]} again; remove the line.")
        chosen[image] = images[image]
    if not chosen:
        raise DatasetError(
            f"{listing}: names no image; write the name of one on each line, or remove the list."
        )
    # a label that the list names has the image's key from here on, and belongs to no other image
    others = {key: path for key, path in labels.items() if key not in given.values()}
    return chosen, {**others, **{image: labels[label] for image, label in given.items()}}


class _Finder:
    """Finds the files that a list calls by name or path, with or without suffix."""

    def __init__(self, root: Path, home: Path, files: Mapping[str, Path]):
        self._files, self._by_name = files, {}
        self._start = f"{home.relative_to(root).as_posix()}/" if root in home.parents else None
        for key in files:
            self._by_name.setdefault(key.rpartition("/")[2], []).append(key)

    def key(self, word: str) -> str | None:
        """The key of the file; None where there is none, or several have the name."""
        word = unicodedata.normalize("NFC", word.replace("\\", "/")).removeprefix("./").strip("/")
        if not word.strip("./"):
            return None
        for name in (word, os.path.splitext(word)[0]):
            if name in self._files:
                return name
            if self._start and name.startswith(self._start) and name[len(self._start) :] in self._files:
                return name[len(self._start) :]
        for name in (word, os.path.splitext(word)[0]):
            if len(self._by_name.get(name, ())) == 1:
                return self._by_name[name][0]
        return None


def _complain_of_other_formats(folder: Path, images: Mapping[str, Path], matched: Matching) -> None:
    """DatasetError where the labels that lack are there in a format that can't hold them."""
    others = matching.walk(folder, matching.NO_LABELS)
    missing = {key: path for key, path in images.items() if key not in matched.pairs}
    found = matching.match(missing, others, names=("image", "picture"), cure="").pairs
    if found:
        path = next(iter(found.values()))[1]
        raise DatasetError(
            f"{path}: is no PNG file, and labels must be (JPEG changes class ids); save the {len(found)} labels of "
            f"this kind in {folder} as PNG, from what they were made of, not from the JPEG."
        )
