"""What each test server wants: names, places, values and sizes of the files in an archive."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path, PurePosixPath

import cv2
import numpy as np

from gluon_confseg.datasets import png
from gluon_confseg.errors import DatasetError, RunError
from gluon_confseg.labels import CITYSCAPES, VOC, LabelSpace, voc_color

PALETTE = np.array([voc_color(label) for label in range(256)], np.uint8)
_SCENE = re.compile(r"(.+_\d{6}_\d{6}).*\Z")  # the server finds berlin_000000_000019*.png in any folder


@dataclasses.dataclass(frozen=True)
class Server:
    """A benchmark's test server.

    labels      whose classes
    url         where archives are uploaded
    counts      images of a split as published
    suffixes    what an archive's name may end in
    folders     places of the files inside, the first is what we write; empty: any
    size        (height, width) of every image; None: of many sizes
    values      what a file may hold
    indexed     whether files are palette PNGs with VOC's colours
    """

    labels: LabelSpace
    url: str
    counts: dict
    suffixes: tuple[str, ...]
    folders: tuple[str, ...]
    size: tuple[int, int] | None
    values: range
    indexed: bool

    def member(self, name: str) -> str:
        """Where the prediction of an image lies in the archive."""
        return f"{self.folders[0] if self.folders else ''}{name}.png"

    def name_of(self, member: str) -> str | None:
        """The image that a file of an archive is of; None where no server would look at it."""
        path = PurePosixPath(member)
        if path.suffix != ".png" or path.name.startswith(".") or "__MACOSX" in path.parts:
            return None
        if self.folders:
            return path.stem if f"{path.parent}/" in self.folders else None
        found = _SCENE.match(path.stem)
        return found.group(1) if found else path.stem

    def encode(self, train_ids: np.ndarray) -> bytes:
        """(H, W) uint8 train ids -> the PNG that the server reads."""
        values = self.labels.to_stored(train_ids)
        if self.indexed:
            return png.encode_indexed(values, PALETTE)
        return cv2.imencode(".png", values)[1].tobytes()

    def values_of(self, member: str, content: bytes, size: tuple[int, int] | None) -> np.ndarray:
        """What a file holds, (H, W) uint8. Raises DatasetError for what the server would refuse.

        size    (height, width) of its image; None: not known
        """
        path = Path(member)
        values = png.label_values(path, content)
        if size is not None and values.shape != tuple(size):
            raise DatasetError(
                f"{member}: is {values.shape[1]} x {values.shape[0]} pixels, its image {size[1]} x {size[0]}"
            )
        if values.max() not in self.values:
            row, column = np.unravel_index(int(values.argmax()), values.shape)
            raise DatasetError(
                f"{member}: value {values.max()} at row {row}, column {column} is no {self.labels.title} id "
                f"(0-{self.values[-1]})"
            )
        if self.indexed:
            colors = png.palette(path, content)
            if colors is None:
                raise DatasetError(f"{path}: has no palette, where the server wants an indexed PNG")
            if not np.array_equal(colors[: self.labels.num_classes], self.labels.colors):
                raise DatasetError(
                    f"{path}: its palette is not that of {self.labels.title}, so its indices may be other classes"
                )
        return values


SERVERS = {
    "cityscapes": Server(
        labels=CITYSCAPES,
        url="https://www.cityscapes-dataset.com/submit/",
        counts={"test": 1525, "val": 500},
        suffixes=(".zip",),
        folders=(),
        size=(1024, 2048),
        values=range(34),
        indexed=False,
    ),
    "voc": Server(
        labels=VOC,
        url="http://host.robots.ox.ac.uk:8080/",
        counts={"test": 1456, "val": 1449},
        suffixes=(".tgz", ".tar.gz"),
        # 6: trained on more than VOC's own images (SBD, ImageNet); 5: on these alone
        folders=tuple(f"results/VOC2012/Segmentation/comp{number}_test_cls/" for number in (6, 5)),
        size=None,
        values=range(21),
        indexed=True,
    ),
}


def server_of(labels: LabelSpace) -> Server:
    """The server of a data set's classes; RunError where there is none."""
    if labels.name not in SERVERS or SERVERS[labels.name].labels.classes != labels.classes:
        raise RunError(
            f"{labels.title} has no test server; `confseg predict CHECKPOINT IMAGES --out FOLDER` writes a folder of "
            f"label PNGs"
        )
    return SERVERS[labels.name]
