"""Images and labels of a folder, paired by name: every fault is found before the first picture is read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from gluon_confseg.errors import DatasetError, did_you_mean


class Pair(NamedTuple):
    """name: the file name less what all images of the data set share; label: None where the split has none."""

    name: str
    image: Path
    label: Path | None


class Pairing(NamedTuple):
    """pairs: what pairs, in order; alone: a sentence without its full stop for whatever does not."""

    pairs: Sequence[Pair]
    alone: Sequence[str]


def files_by_name(folder: Path, suffix: str, nested: bool = False) -> dict[str, Path]:
    """{key: path} of the files in `folder` that end in `suffix`; hidden files do not count.

    nested      look one folder further down: the key is then "city/name" instead of "name"
    """
    found = {}
    for path in folder.glob(f"*/*{suffix}" if nested else f"*{suffix}"):
        if not path.name.startswith("."):  # "._name.png" is what macOS leaves on foreign disks
            found[str(path.relative_to(folder))[: -len(suffix)]] = path
    return found


def pair(
    root: Path, images: dict[str, Path], labels: dict[str, Path], image_at: tuple, label_at: tuple
) -> Pairing:
    """Pairs in the order of their keys, and all images without label and labels without image.

    images, labels        {key: path}, as `files_by_name` gives them
    image_at, label_at    (folder, suffix) of where the partner of a key is expected, for the message
    """
    alone = []
    sides = ("image", images, image_at), ("label", labels, label_at)
    for (kind, found, _), (other, partners, (folder, suffix)) in (sides, sides[::-1]):
        for key in sorted(found.keys() - partners.keys()):
            path, partner = (
                path.relative_to(root) if root in path.parents else path
                for path in (found[key], folder / f"{key}{suffix}")
            )
            alone.append(f"{kind} {path} has no {other} {partner}")
    both = sorted(images.keys() & labels.keys())
    return Pairing([Pair(Path(key).name, images[key], labels[key]) for key in both], alone)


def unlabelled(images: dict[str, Path]) -> Pairing:
    """The images of a split that has no labels."""
    return Pairing([Pair(Path(key).name, images[key], None) for key in sorted(images)], [])


def listed(faults: Sequence[str]) -> str:
    """The first five faults, and how many more there are, in one sentence without its full stop."""
    named = "; ".join(fault.rstrip(".") for fault in faults[:5])
    return named + (f"; and {len(faults) - 5} more" if len(faults) > 5 else "")


def existing_root(root, wanted: str) -> Path:
    """`root` as a Path; DatasetError where it is no folder. wanted: what it must hold."""
    if root is None or not str(root):
        raise DatasetError(f"No data folder was given; give the folder that holds {wanted}.")
    root = Path(root).expanduser()
    if not root.exists():
        raise DatasetError(f"{root}: no such folder; give the folder that holds {wanted}.")
    if not root.is_dir():
        raise DatasetError(
            f"{root}: is a file, not a folder; unpack it and give the folder that holds {wanted}."
        )
    return root


def check_choice(data_set: str, what: str, got: str, known: Sequence[str]) -> None:
    """DatasetError unless `got` is one of `known`, which it lists."""
    if got not in known:
        near = did_you_mean(got, known)
        raise DatasetError(f"{data_set} has no {what} {got!r}{near}; choose one of {', '.join(known)}.")


def nearby(root: Path, marker: str) -> str:
    """ " Did you mean X?" where `marker` is a folder one step above or below `root`, else nothing."""
    root = root.resolve()
    try:
        below = sorted(path for path in root.iterdir() if path.is_dir())
    except OSError:  # a folder that may not be listed
        below = []
    for candidate in [root.parent, root.parent.parent, *below]:
        if (candidate / marker).is_dir():
            return f" Did you mean {candidate}?"
    return ""
