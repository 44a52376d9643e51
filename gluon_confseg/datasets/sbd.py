"""The Semantic Boundaries Dataset (SBD): further labels for PASCAL VOC's photographs, as MATLAB files."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from gluon_confseg.errors import DatasetError

_RELEASE = Path("benchmark_RELEASE") / "dataset"


class SBD(NamedTuple):
    """benchmark_RELEASE/dataset/: img/NAME.jpg, cls/NAME.mat, train.txt, val.txt."""

    folder: Path

    def image(self, name: str) -> Path:
        return self.folder / "img" / f"{name}.jpg"

    def label(self, name: str) -> Path:
        return self.folder / "cls" / f"{name}.mat"

    def list_file(self, split: str) -> Path:
        return self.folder / f"{split}.txt"


def find(root: Path, given=None) -> SBD | None:
    """SBD inside or beside `root`, or at `given`; None where it is not. DatasetError where `given` holds none."""
    root = root.resolve()
    places = [root, *list(root.parents)[:2]] if given is None else [Path(given).expanduser()]
    for place in places:
        for folder in (place / _RELEASE, place / "dataset", place):
            if (folder / "cls").is_dir() and (folder / "train.txt").is_file():
                return SBD(folder)
    if given is None:
        return None
    raise DatasetError(
        f"{given}: is not SBD (looked for {_RELEASE}/cls/ and train.txt there); unpack benchmark.tgz and give the "
        f"folder that holds benchmark_RELEASE/."
    )
