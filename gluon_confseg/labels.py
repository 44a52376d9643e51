"""Label spaces: the classes of a data set, their colours, and what the pixel values of its label files mean.

Train ids run from 0 to K - 1; 255 is ignored. Label files hold either train ids or "stored" ids of their own (raw
Cityscapes ids, CamVid's 11 for unlabelled), which `raw_ids` maps to train ids.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from gluon_confseg.errors import DatasetError

IGNORE = 255
UNKNOWN = 254  # in a table: this pixel value means nothing here; so a label space holds at most 254 classes


@dataclasses.dataclass(frozen=True, eq=False)
class LabelSpace:
    """Classes in train-id order.

    name         key in `LABEL_SPACES`
    title        name for people
    classes      K names
    colors       (K, 3) uint8, RGB
    raw_ids      value in a label file -> train id (255: ignore); None where label files hold train ids
    categories   names of groups of classes -> their train ids, where the data set's makers score these as well
    """

    name: str
    title: str
    classes: tuple[str, ...]
    colors: np.ndarray
    ignore_label: int = IGNORE
    raw_ids: Mapping[int, int] | None = None
    categories: Mapping[str, tuple[int, ...]] = dataclasses.field(default_factory=dict)

    @property
    def num_classes(self) -> int:
        """K, the number of classes."""
        return len(self.classes)

    def table(self, raw: bool = True) -> np.ndarray:
        """(256,) uint8: train id of each 8-bit pixel value, UNKNOWN where there is none.

        raw     the file holds `raw_ids` (where the space has them); False: it holds train ids and 255
        """
        ids = {train_id: train_id for train_id in range(self.num_classes)}
        if raw and self.raw_ids is not None:
            ids = {raw_id % 256: train_id for raw_id, train_id in self.raw_ids.items()}  # -1 is stored as 255
        table = np.full(256, UNKNOWN, np.uint8)
        table[self.ignore_label] = self.ignore_label
        for stored, train_id in ids.items():
            table[stored] = train_id
        return table

    def record(self) -> str | dict:
        """What JSON needs to name these classes again (`restored`): the name in `LABEL_SPACES`, else all."""
        known = LABEL_SPACES.get(self.name)
        if known is not None and known.classes == self.classes:
            return self.name
        raw_ids = None if self.raw_ids is None else sorted([int(k), int(v)] for k, v in self.raw_ids.items())
        return {
            "name": self.name,
            "title": self.title,
            "classes": list(self.classes),
            "colors": np.asarray(self.colors).tolist(),
            "raw_ids": raw_ids,
        }

    def valid_range(self, raw: bool = True) -> str:
        """The values a label file may hold, for people: "0-33", "0, 7, 8, 11-13"."""
        values = self.raw_ids if raw and self.raw_ids is not None else range(self.num_classes)
        runs: list[list[int]] = []
        for value in sorted(value for value in values if value >= 0):
            if runs and value == runs[-1][1] + 1:
                runs[-1][1] = value
            else:
                runs.append([value, value])
        return ", ".join(str(a) if a == b else f"{a}, {b}" if b == a + 1 else f"{a}-{b}" for a, b in runs)

    def to_train_ids(self, values: np.ndarray, raw: bool = True) -> np.ndarray:
        """Map an integer array of pixel values (any shape; -1 and 255 are the same) to uint8 train ids.

        Raises DatasetError with value and position where a value means nothing in this space.
        """
        values = np.asarray(values)
        table = self.table(raw)
        outside = (values < -1) | (values > 255)
        train_ids = np.where(outside, UNKNOWN, table[values.astype(np.uint8)]).astype(np.uint8)
        if (train_ids == UNKNOWN).any():
            position = tuple(int(i) for i in np.argwhere(train_ids == UNKNOWN)[0])
            raise DatasetError(
                f"value {values[position]} at {position} is no {self.title} id ({self.valid_range(raw)})."
            )
        return train_ids

    def to_stored(self, train_ids: np.ndarray) -> np.ndarray:
        """Map train ids to the values that label files of this space hold, uint8: `raw_ids` backwards.

        255 stays, unless a class has it as its value.
        """
        table = np.arange(256, dtype=np.uint8)
        for stored, train_id in (self.raw_ids or {}).items():
            if train_id != self.ignore_label or self.ignore_label in self.raw_ids:
                table[train_id] = stored % 256
        return table[np.asarray(train_ids)]

    def colorize(self, train_ids: np.ndarray) -> np.ndarray:
        """(H, W) train ids -> (H, W, 3) uint8 RGB; whatever is no class, 255 included, is black."""
        palette = np.zeros((256, 3), np.uint8)
        palette[: self.num_classes] = self.colors
        return palette[np.asarray(train_ids).astype(np.uint8)]


# name, raw id, colour; the position is the train id
_CITYSCAPES = (
    ("road", 7, (128, 64, 128)),
    ("sidewalk", 8, (244, 35, 232)),
    ("building", 11, (70, 70, 70)),
    ("wall", 12, (102, 102, 156)),
    ("fence", 13, (190, 153, 153)),
    ("pole", 17, (153, 153, 153)),
    ("traffic light", 19, (250, 170, 30)),
    ("traffic sign", 20, (220, 220, 0)),
    ("vegetation", 21, (107, 142, 35)),
    ("terrain", 22, (152, 251, 152)),
    ("sky", 23, (70, 130, 180)),
    ("person", 24, (220, 20, 60)),
    ("rider", 25, (255, 0, 0)),
    ("car", 26, (0, 0, 142)),
    ("truck", 27, (0, 0, 70)),
    ("bus", 28, (0, 60, 100)),
    ("train", 31, (0, 80, 100)),
    ("motorcycle", 32, (0, 0, 230)),
    ("bicycle", 33, (119, 11, 32)),
)

_CAMVID = (
    ("Sky", (128, 128, 128)),
    ("Building", (128, 0, 0)),
    ("Pole", (192, 192, 128)),
    ("Road", (128, 64, 128)),
    ("Pavement", (0, 0, 192)),
    ("Tree", (128, 128, 0)),
    ("SignSymbol", (192, 128, 128)),
    ("Fence", (64, 64, 128)),
    ("Car", (64, 0, 128)),
    ("Pedestrian", (64, 64, 0)),
    ("Bicyclist", (0, 128, 192)),
)

_VOC = (
    "background",
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "diningtable",
    "dog",
    "horse",
    "motorbike",
    "person",
    "pottedplant",
    "sheep",
    "sofa",
    "train",
    "tvmonitor",
)


def _colors(rows) -> np.ndarray:
    colors = np.array(rows, np.uint8)
    colors.setflags(write=False)
    return colors


def voc_color(label: int) -> tuple[int, int, int]:
    """PASCAL's colour map: bits 0, 1, 2 of each octal digit of the label go to R, G, B, the lowest digit on top."""
    color = [0, 0, 0]
    for place in range(8):
        for channel in range(3):
            color[channel] |= (label >> (3 * place + channel) & 1) << (7 - place)
    return color[0], color[1], color[2]


CITYSCAPES = LabelSpace(
    name="cityscapes",
    title="Cityscapes",
    classes=tuple(name for name, _, _ in _CITYSCAPES),
    colors=_colors([color for _, _, color in _CITYSCAPES]),
    # -1 (licence plate) to 33: those without a train id are ignored, as by the official scorer
    raw_ids={
        **dict.fromkeys(range(-1, 34), IGNORE),
        **{raw_id: train_id for train_id, (_, raw_id, _) in enumerate(_CITYSCAPES)},
    },
    categories={
        "flat": (0, 1),
        "construction": (2, 3, 4),
        "object": (5, 6, 7),
        "nature": (8, 9),
        "sky": (10,),
        "human": (11, 12),
        "vehicle": (13, 14, 15, 16, 17, 18),
    },
)

VOC = LabelSpace(
    name="voc",
    title="PASCAL VOC",
    classes=_VOC,
    colors=_colors([voc_color(label) for label in range(len(_VOC))]),
)

CAMVID = LabelSpace(
    name="camvid",
    title="CamVid",
    classes=tuple(name for name, _ in _CAMVID),
    colors=_colors([color for _, color in _CAMVID]),
    raw_ids={**{label: label for label in range(len(_CAMVID))}, len(_CAMVID): IGNORE},  # 11 is "unlabelled"
)

LABEL_SPACES = {space.name: space for space in (CITYSCAPES, VOC, CAMVID)}


def restored(record: str | dict) -> LabelSpace:
    """The label space of a record that `LabelSpace.record` made, perhaps read from a file that anyone could write.

    Raises DatasetError for an unknown name, and for a record that is none.
    """
    if isinstance(record, str) and record in LABEL_SPACES:
        return LABEL_SPACES[record]
    try:
        classes = tuple(map(str, record["classes"]))
        colors = np.array(record["colors"], np.int64)
        raw_ids = None if record["raw_ids"] is None else {int(k): int(v) for k, v in record["raw_ids"]}
        fits = 0 < len(classes) < UNKNOWN and colors.shape == (len(classes), 3)
        if not fits or not 0 <= colors.min() <= colors.max() <= 255:
            raise ValueError("classes and colours do not go together")
        known = {*range(len(classes)), IGNORE}
        if raw_ids and not (set(raw_ids) <= set(range(-1, 256)) and set(raw_ids.values()) <= known):
            raise ValueError("the ids of the label files are out of range")
        name, title = str(record["name"]), str(record["title"])
        return LabelSpace(name, title, classes, _colors(colors), raw_ids=raw_ids)
    except (TypeError, ValueError, KeyError, OverflowError) as error:
        raise DatasetError(
            f"{repr(record)[:60]} is no label space: neither one of {', '.join(LABEL_SPACES)} nor a record."
        ) from error
