"""Folders of files that other programs wrote: one walker, and pairs by path, by name, and by the endings of names."""

from __future__ import annotations

import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple

from gluon_confseg.errors import DatasetError

# What programs put at the end of a name to say which kind of file of an image it is. `_L` is of Kaggle's CamVid,
# `_sat` of satellite images; an ending such as `.jpg` is what remains of `a.jpg.png`.
_ENDING = re.compile(
    r"(?:[-_ .](?:gt(?:fine|coarse)_)?(?:label_?(?:train_?)?ids?|train_?ids?|ids)"
    r"|[-_ .](?:gt(?:fine|coarse)?|masks?|labels?|seg(?:mentation)?|ground_?truth|anno(?:tation)?s?)"
    r"|[-_ .](?:pred(?:iction|icted)?s?|output|colou?rs?|json|leftimg8bit|images?|img|rgb|sat|(?-i:L))"
    r"|\.(?:jpe?g|png|tiff?|bmp|webp))\Z",
    re.IGNORECASE,
)
# Pictures that lie beside labels and are made of them: left out where a label of the same name is there
_BESIDE = re.compile(
    r"[-_](?:colou?rs?|instance_?(?:train_?)?ids?|vis|viz|overlay|blend|polygons)\Z", re.IGNORECASE
)
_RAW, _TRAIN = re.compile(r"_labelids\Z", re.IGNORECASE), re.compile(r"_labeltrainids\Z", re.IGNORECASE)


class Matching(NamedTuple):
    """pairs: key -> (file of the first side, file of the second); alone: a sentence for each file without partner."""

    pairs: dict[str, tuple[Path, Path]]
    alone: list[str]


def walk(folder: Path, suffixes: Iterable[str]) -> dict[str, Path]:
    """{path below the folder, without its suffix: file} of the files with one of these suffixes, sorted.

    Hidden files and folders are skipped (Jupyter's checkpoints, macOS's resource forks). Links to folders are
    followed. Keys are in Unicode's composed form: a Mac spells an accent in two signs, other systems in one.
    Raises DatasetError for a link that leads back to a folder it is in, and for two files of one key.
    """
    suffixes, found = frozenset(suffixes), {}

    def look(place: Path, above: tuple) -> None:
        try:
            about, entries = os.stat(place), sorted(os.scandir(place), key=lambda entry: entry.name)
        except OSError as error:
            raise DatasetError(
                f"{place}: this folder can't be read ({error.strerror}); check it and its permissions."
            ) from error
        identity = (about.st_dev, about.st_ino)
        if identity in above:
            raise DatasetError(f"{place}: is a link to a folder that it is in, a circle; remove the link.")
        for entry in entries:
            path = Path(entry.path)
            if entry.name.startswith(".") or entry.name == "__MACOSX":
                continue
            if entry.is_dir():
                look(path, (*above, identity))
            elif path.suffix.lower() in suffixes:
                key = unicodedata.normalize("NFC", path.relative_to(folder).with_suffix("").as_posix())
                if key in found:
                    differ = "apart from its suffix"
                    if path.with_suffix("") != found[key].with_suffix(""):
                        differ = "in another Unicode form, which looks the same"
                    raise DatasetError(
                        f"{path}: has the same name as {found[key]}, {differ}; rename or remove one of them, since "
                        "files pair by name."
                    )
                found[key] = path

    look(folder, ())
    return found


def labels_alone(files: Mapping[str, Path]) -> tuple[dict[str, Path], list[str]]:
    """Without what lies beside labels: their colours, instance ids, and train ids where raw ids are there as well.

    Returns the others, and the keys that were left out.
    """
    stems = {_shortened(key) for key in files if not _BESIDE.search(key)}
    raw = {_RAW.sub("", key) for key in files if _RAW.search(key)}
    beside = [
        key
        for key in files
        if (_BESIDE.search(key) and _shortened(_BESIDE.sub("", key)) in stems)
        or (_TRAIN.search(key) and _TRAIN.sub("", key) in raw)
    ]
    return {key: path for key, path in files.items() if key not in set(beside)}, beside


def match(
    first: Mapping[str, Path],
    second: Mapping[str, Path],
    *,
    names: tuple[str, str],
    suffix: str = "",
    cure: str = "give --suffix={}",
) -> Matching:
    """Pair the files of two folders, as `walk` gives them.

    By equal path; then by path less known endings (`_gtFine_labelIds`, `_mask`, `.jpg`, ...) and `suffix`; then by the
    name alone, where it occurs once on each side and the folders do not contradict. The key of a pair is the first
    side's.

    names       what the files of the two sides are, for messages: ("label", "prediction")
    suffix      a further ending of names, of either side
    cure        what to do where an ending that is not known keeps files from pairing; {} is the ending
    Raises DatasetError where a file has two possible partners.
    """
    left, pairs = (dict(first), dict(second)), {}

    def take(one: str, other: str) -> None:
        pairs[one] = left[0].pop(one), left[1].pop(other)

    for key in first.keys() & second.keys():
        take(key, key)
    for one, other in _common(left[0], left[1], lambda key: _shortened(key, suffix)):
        for side, several, partner in ((0, one, left[1][other[0]]), (1, other, left[0][one[0]])):
            if len(several) > 1:
                rivals = " or to ".join(str(left[side][key]) for key in several[:2])
                raise DatasetError(
                    f"{partner}: could belong to the {names[side]} {rivals}; remove one of these, or rename it."
                )
        take(one[0], other[0])
    shared = _folders(first) & _folders(second)
    for one, other in _common(first, second, lambda key: _shortened(key, suffix).rpartition("/")[2]):
        if len(one) == len(other) == 1 and one[0] in left[0] and other[0] in left[1]:
            folders = {key.rpartition("/")[0] for key in (one[0], other[0])}
            if not folders <= shared:  # else both sides have both folders: frame 7 of two films
                take(one[0], other[0])
    of_each = [
        [f"{names[side]} {left[side][key]} has no {names[1 - side]}" for key in sorted(left[side])]
        for side in (0, 1)
    ]
    # a message lists the first few: some of each side
    alone = [fault for faults in zip_longest(*of_each) for fault in faults if fault]
    if alone:
        alone[0] += _hint(first, second, left, cure)
    return Matching(dict(sorted(pairs.items())), alone)


def _common(first: Iterable[str], second: Iterable[str], name_of) -> Iterator[tuple[list[str], list[str]]]:
    """The keys of both sides that have one name, for each name that both sides have."""
    sides = defaultdict(list), defaultdict(list)
    for side, keys in zip(sides, (first, second)):
        for key in sorted(keys):
            side[name_of(key)].append(key)
    for name in sorted(sides[0].keys() & sides[1].keys()):
        yield sides[0][name], sides[1][name]


def _hint(first: Mapping, second: Mapping, left: tuple[dict, dict], cure: str) -> str:
    """What may be the reason that files have no partner: an ending that is not known, or frames of several films."""
    for one, other in (left, left[::-1]):
        shared = os.path.commonprefix([key[::-1] for key in other])[::-1] if one else ""
        for ending in (shared[start:] for start in range(len(shared))):
            if {key.removesuffix(ending) for key in other} == one.keys():
                return f" (their names are equal but for the ending {ending!r}: {cure.format(ending)})"
    for one, other in _common(first, second, lambda key: _shortened(key).rpartition("/")[2]):
        if len(one) > 1 or len(other) > 1:
            name = _shortened(one[0]).rpartition("/")[2]
            return f" (the name {name} occurs in several folders: keep the same folders on both sides)"
    return ""


def _shortened(key: str, suffix: str = "") -> str:
    """The key less known endings, as often as there is one, but never the whole name."""
    while True:
        shorter = _ENDING.sub("", key.removesuffix(suffix))
        if shorter == key or not shorter or shorter.endswith("/"):
            return key
        key = shorter


def _folders(keys: Iterable[str]) -> set[str]:
    return {key.rpartition("/")[0] for key in keys}
