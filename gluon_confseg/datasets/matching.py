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
NO_LABELS = (".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".gif")  # pictures that hold no class ids
_DEEPEST, _MOST = 50, 10**7  # of folders inside each other, and of files
_RAW, _TRAIN = re.compile(r"_labelids\Z", re.IGNORECASE), re.compile(r"_labeltrainids\Z", re.IGNORECASE)


class Matching(NamedTuple):
    """What pairs.

    pairs       key -> (file of the first side, file of the second)
    alone       of each side, a sentence without its full stop for each file without partner
    reason      why there may be such files, with blank and brackets, or ""
    by_name     how many pairs lie in folders of other names
    """

    pairs: dict[str, tuple[Path, Path]]
    alone: tuple[list[str], list[str]]
    reason: str
    by_name: int

    def faults(self) -> list[str]:
        """All of `alone`, the two sides in turn, as a message names the first few; the reason stands with the first."""
        mixed = [fault for both in zip_longest(*self.alone) for fault in both if fault]
        return [mixed[0] + self.reason, *mixed[1:]] if mixed else []


def walk(folder: Path, suffixes: Iterable[str]) -> dict[str, Path]:
    """{path below the folder, without its suffix: file} of the files with one of these suffixes, sorted.

    Hidden files and folders are skipped (Jupyter's checkpoints, macOS's resource forks). Links to folders are
    followed. Keys are in Unicode's composed form: a Mac spells an accent in two signs, other systems in one.
    Raises DatasetError for a link that leads back to a folder it is in, and for two files of one key.
    """
    suffixes, found, count = frozenset(suffixes), {}, 0
    pending = [(folder, ())]
    while pending:
        place, above = pending.pop()
        try:
            about, entries = os.stat(place), sorted(os.scandir(place), key=lambda entry: entry.name)
        except OSError as error:
            raise DatasetError(
                f"{place}: this folder can't be read ({error.strerror}); check it and its permissions."
            ) from error
        identity, count = (about.st_dev, about.st_ino), count + len(entries)
        if identity in above:
            raise DatasetError(f"{place}: is a link to a folder that it is in, a circle; remove the link.")
        if len(above) > _DEEPEST or count > _MOST:
            raise DatasetError(
                f"{folder}: has more than {_DEEPEST} folders inside each other or {_MOST:,} files (the last was "
                f"{place}); give the folder of the files alone, and look for links that multiply them."
            )
        for entry in entries:
            path = Path(entry.path)
            if entry.name.startswith(".") or entry.name == "__MACOSX":
                continue
            if entry.is_dir():
                pending.append((path, (*above, identity)))
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
    return dict(sorted(found.items()))


def labels_alone(files: Mapping[str, Path], wanted: Iterable[str] = ()) -> tuple[dict[str, Path], list[str]]:
    """Without what lies beside labels: their colours, instance ids, and train ids where raw ids are there as well.

    wanted      keys of the other side, which have labels of the same names
    Returns the others, and the keys that were left out.
    """
    wanted = set(wanted)
    stems = {_shortened(key) for key in files if not _BESIDE.search(key)}
    raw = {_RAW.sub("", key) for key in files if _RAW.search(key)}
    beside = {
        key
        for key in files
        if key not in wanted
        and (
            (_BESIDE.search(key) and _shortened(_BESIDE.sub("", key)) in stems)
            or (_TRAIN.search(key) and _TRAIN.sub("", key) in raw)
        )
    }
    return {key: path for key, path in files.items() if key not in beside}, sorted(beside)


def match(
    first: Mapping[str, Path],
    second: Mapping[str, Path],
    *,
    names: tuple[str, str],
    cure: str,
    suffix: str = "",
) -> Matching:
    """Pair the files of two folders, as `walk` gives them.

    By equal path; then by path less known endings (`_gtFine_labelIds`, `_mask`, `.jpg`, ...) and `suffix`; then by the
    name alone, where it occurs once on each side and the folders do not contradict. The key of a pair is the first
    side's.

    names       what the files of the two sides are, for messages: ("label", "prediction")
    cure        what to do where an ending that is not known keeps files from pairing; {} is the ending
    suffix      a further ending of names, of either side
    Raises DatasetError where a file has two possible partners.
    """
    left, pairs = (dict(first), dict(second)), {}

    def take(one: str, other: str) -> None:
        pairs[one] = left[0].pop(one), left[1].pop(other)

    if first.keys() != second.keys():
        for one, other in _all_by_one_ending(first, second, suffix):
            take(one, other)
    for key in left[0].keys() & left[1].keys():
        take(key, key)
    for one, other in _common(left[0], left[1], lambda key: _shortened(key, suffix)):
        for side, several, partner in ((0, one, left[1][other[0]]), (1, other, left[0][one[0]])):
            if len(several) > 1:
                rivals = " or to ".join(str(left[side][key]) for key in several[:2])
                raise DatasetError(
                    f"{partner}: could belong to the {names[side]} {rivals}; remove one of these, or rename it."
                )
        take(one[0], other[0])
    shared, before = (_folders(first) & _folders(second)) - {""}, len(pairs)
    for one, other in _common(first, second, lambda key: _shortened(key, suffix).rpartition("/")[2]):
        if len(one) == len(other) == 1 and one[0] in left[0] and other[0] in left[1]:
            # a folder that both sides have is the same: its files don't pair with those of another film
            if not shared & {key.rpartition("/")[0] for key in (one[0], other[0])}:
                take(one[0], other[0])
    by_name = len(pairs) - before
    alone = tuple(
        [f"{names[side]} {left[side][key]} has no {names[1 - side]}" for key in sorted(left[side])]
        for side in (0, 1)
    )
    reason = _reason(first, second, left, cure) if left[0] or left[1] else ""
    return Matching(dict(sorted(pairs.items())), alone, reason, by_name)


def _all_by_one_ending(first: Iterable[str], second: Iterable[str], suffix: str) -> list[tuple[str, str]]:
    """All pairs, where one side's keys are the other's with one more ending each; else none."""
    for swapped, long, short in ((False, first, second), (True, second, first)):
        known = sorted({found[0] for found in map(_ENDING.search, long) if found})
        for ending in [suffix, *known] if suffix else known:
            less = {key.removesuffix(ending): key for key in long if key.endswith(ending)}
            if len(less) == len(long) and less.keys() == short.keys():
                return [(name, key) if swapped else (key, name) for name, key in less.items()]
    return []


def _common(first: Iterable[str], second: Iterable[str], name_of) -> Iterator[tuple[list[str], list[str]]]:
    """The keys of both sides that have one name, for each name that both sides have."""
    sides = defaultdict(list), defaultdict(list)
    for side, keys in zip(sides, (first, second)):
        for key in sorted(keys):
            side[name_of(key)].append(key)
    for name in sorted(sides[0].keys() & sides[1].keys()):
        yield sides[0][name], sides[1][name]


def _reason(first: Mapping, second: Mapping, left: tuple[dict, dict], cure: str) -> str:
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
