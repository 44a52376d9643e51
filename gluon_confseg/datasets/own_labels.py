"""Label files of one's own, and which class each pixel is by the list of classes: a number, or a colour that is seen.

A file of one channel has two meanings: its values are numbers of classes, and a viewer shows each of them in a colour.
A mask of 0 and 255 shows black and white, a palette shows its own colours. Where only one of the two makes sense by the
list of classes, or both say the same, it is taken. Where they differ, these rules decide, or the file is refused:

- What the list gives a `value` is meant by its number.
- Of a palette whose entries are colours of the list, the colours count.
- Of one bit, black and white count if the list has a class of each. So do 0 and 255, and the grays between them, if
  moreover all classes of the list are gray.
- Else gray is a number if the list has other colours than grays, since gray shows nothing of them.
"""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from gluon_confseg.datasets import png
from gluon_confseg.datasets.class_list import ClassList, packed
from gluon_confseg.datasets.faults import Fault
from gluon_confseg.labels import IGNORE, UNKNOWN

INDICES, PALETTE, GRAY, COLORS, ALIKE = (
    "indices",
    "palette colours",
    "gray values by colour",
    "colours",
    "indices and colours alike",
)
RULES = 1  # of reading: another number makes packs anew
_UNCLEAR = -1  # in a table of numbers: by its position it may be one class or another
_NO_COLOR = -1
_BLACK, _WHITE = packed(0, 0, 0), packed(255, 255, 255)
_GRAYS = packed(*[np.arange(256)] * 3)  # the colour of each 8-bit gray


@dataclasses.dataclass(frozen=True)
class Label:
    """What a label file holds.

    values      (H, W) uint8 of one channel, or (H, W, 3) uint8 RGB
    shown       (256,) the packed colour in which a viewer shows each value, -1 for none
    kind        PALETTE, GRAY or COLORS
    bits        of each value in the file
    numbers     False: the file's values go beyond 255, `values` are their upper 8 bits and can't be numbers of classes
    """

    values: np.ndarray
    shown: np.ndarray
    kind: str
    bits: int
    numbers: bool

    @property
    def shape(self) -> tuple[int, ...]:
        return self.values.shape

    @functools.cached_property
    def used(self) -> np.ndarray:
        """The values that occur, ascending; of RGB, none. Counted when first asked for."""
        if self.kind == COLORS:
            return np.empty(0, int)
        return np.flatnonzero(cv2.calcHist([np.ascontiguousarray(self.values)], [0], None, [256], [0, 256]))


class Reading(NamedTuple):
    """How a label is read: `how`, one of the five names; table: (256,) uint8, value -> train id, None for RGB.

    doubt       what speaks against it, a sentence without its full stop, or ""
    """

    how: str
    table: np.ndarray | None
    doubt: str = ""


def read(path: Path) -> Label:
    """A label file of any form; DatasetError where it is damaged, and for 16-bit values that are no 8-bit ones."""
    values, palette, header = png.read_stored(path)
    numbers = True
    if values.dtype == np.uint16:
        numbers = values.max() <= 255  # else 0..65535 may stand for 0..255
        if not numbers and (values % 257).any():
            raise Fault(
                "mode",
                f"{path}: holds 16-bit values up to {values.max()}, where a label holds class indices or colours of 8 "
                f"bits; is this a file of instance ids?",
            )
        values = (values if numbers else values // 257).astype(np.uint8)
    if values.ndim == 3:
        return Label(values, np.full(256, _NO_COLOR), COLORS, header.depth, False)
    shown = np.full(256, _NO_COLOR)
    if palette is None:
        most = 2 ** min(header.depth, 8) - 1
        shown[: most + 1] = _GRAYS[:: 255 // most]
        return Label(values, shown, GRAY, header.depth, numbers)
    shown[: len(palette)] = packed(*palette.T.astype(int))
    # a palette of all grays in their order is what some programs write for gray
    gray = len(palette) > 2 and np.array_equal(shown[: len(palette)], _GRAYS[: len(palette)])
    return Label(values, shown, GRAY if gray else PALETTE, 8 if gray else header.depth, True)


def of_array(values: np.ndarray) -> Label:
    """(H, W) uint8 values as a gray picture of 8 bits would hold them."""
    return Label(values, _GRAYS.copy(), GRAY, 8, True)


class Reader:
    """Reads label files by a list of classes. Nothing is remembered from one file to the next."""

    def __init__(self, listed: ClassList):
        self._space, self._given, self._unclear = listed.space, listed.given, listed.unclear
        self._colors = np.array(sorted(listed.colors), np.int32)
        self._ids = np.array([listed.colors[color] for color in self._colors.tolist()], np.uint8)
        self._numbers = listed.space.table().astype(int)
        if self._unclear:
            last = len(listed.colors)
            self._numbers[:last] = np.where(self._numbers[:last] == IGNORE, IGNORE, _UNCLEAR)
        self._valued = any(self._numbers[value] != IGNORE for value in self._given)  # of classes
        two = {listed.colors.get(color, IGNORE) for color in (_BLACK, _WHITE)}
        self._black_and_white = IGNORE not in two  # classes, both of them
        channels = listed.space.colors
        self._all_gray = (channels == channels[:, :1]).all()

    def record(self) -> list:
        """All that decides how a file is read, as JSON holds it."""
        numbers = self._numbers.tolist()
        return [RULES, numbers, self._colors.tolist(), self._ids.tolist(), sorted(self._given)]

    def train_ids(self, path: Path, label: Label) -> np.ndarray:
        """(H, W) uint8 train ids, 255 where ignored. Raises Fault for a label that can't be read beyond doubt."""
        if label.kind != COLORS:
            return cv2.LUT(label.values, self.reading(path, label).table)
        ids = self._by_color(packed(*np.moveaxis(label.values.astype(np.int32), 2, 0)))
        unknown = ids == UNKNOWN
        if unknown.any():
            row, column = np.unravel_index(int(unknown.argmax()), ids.shape)
            color = _said(packed(*label.values[row, column].astype(int)))
            raise Fault(
                "value",
                f"{path}: colour {color} at row {row}, column {column} is that of no class; save the label in "
                f"the classes' exact colours, without smoothing, or as one channel of class ids, or add the colour to "
                f"the list of classes (a row named ignore, if it is to be ignored).",
            )
        return ids

    def reading(self, path: Path, label: Label) -> Reading:
        """How a label is read, by the values that occur in it; `path` is for messages."""
        if label.kind == COLORS:
            return Reading(COLORS, None)
        used, colors = label.used, label.shown[label.used]
        number = self._numbers[used] if label.numbers else np.full(len(used), UNKNOWN)
        seen = self._by_color(colors).astype(int)
        by_number, by_color = (number != UNKNOWN).all(), (seen != UNKNOWN).all()
        differ, given = (number != seen) & (seen != UNKNOWN), np.isin(used, list(self._given))
        told = label.kind == PALETTE or label.bits < 8  # the file has colours of its own

        if not by_number and not by_color:
            raise self._unknown(path, label, number, seen)
        if not by_number:
            return self._seen(label)
        if not by_color:
            # black is how most palettes begin, and how most lists mark what is ignored: it says nothing
            against = differ & ~given & ~((seen == IGNORE) & (colors == _BLACK))
            if told and against.any():
                raise self._two_ways(path, label, number, seen, against)
            return self._numbered(path, label, number)
        if not differ.any():
            return Reading(ALIKE, self._table(used, seen))
        if given[differ].all():
            doubt = ""
            if told and (seen[differ] != IGNORE).any():
                doubt = self._against(path, label, number, seen, differ)
            return self._numbered(path, label, number, doubt)
        if self._valued:
            raise self._two_ways(path, label, number, seen, differ)
        if label.kind == PALETTE:
            meant = self._meant_by_palette(label, seen)
        elif label.bits < 8:
            meant = GRAY if self._black_and_white and (label.bits == 1 or self._all_gray) else None
        elif not self._all_gray:
            meant = None if 255 in used[differ] else INDICES
        else:
            meant = GRAY if self._black_and_white and 255 in used[differ] else None
        if meant is None:
            raise self._two_ways(path, label, number, seen, differ)
        return self._numbered(path, label, number) if meant == INDICES else self._seen(label)

    def _meant_by_palette(self, label: Label, seen: np.ndarray) -> str | None:
        """What a palette means of which all entries in use are colours of the list, under other numbers."""
        entries = label.shown[label.shown != _NO_COLOR]
        listed = self._by_color(entries)
        distinct = len(np.unique(label.shown[label.used])) == len(label.used)
        shows_a_class = (listed < UNKNOWN).any()
        if (seen < UNKNOWN).any():
            return PALETTE if distinct else None
        # nothing but ignored pixels is seen, in black as a rule: the rest of the palette tells whether it is the list's
        if not distinct or (not shows_a_class and len(entries) > len(label.used)):
            return INDICES
        return PALETTE if shows_a_class and (listed != UNKNOWN).all() else None

    def _seen(self, label: Label) -> Reading:
        return Reading(label.kind, self._table(label.used, self._by_color(label.shown[label.used])))

    def _numbered(self, path: Path, label: Label, number: np.ndarray, doubt: str = "") -> Reading:
        if (number == _UNCLEAR).any():
            value = label.used[int((number == _UNCLEAR).argmax())]
            raise Fault(
                "meaning",
                f"{path}: holds numbers of classes, and it is not clear which class {value} is: {self._unclear}, so it "
                f"may have a number itself or not; give every class its value in the list of classes (a column "
                f"value), or put the row last if the numbers of the classes begin with 0.",
            )
        used = label.used
        black_and_white = used[-1] == 255 and set(used.tolist()) <= {0, 255} and 255 not in self._given
        white = self._by_color(np.array([_WHITE]))[0]
        if black_and_white and (self._space.num_classes == 2 or white < UNKNOWN):
            name = self._space.classes[white if white < UNKNOWN else 1]
            raise Fault(
                "meaning",
                f"{path}: holds no other values than {' and '.join(map(str, used))}, and by the list of classes 255 is "
                f"ignored, though it may stand for {name} here; give every class its value in the list (a column "
                f"value, 255 for {name}), or give a row ignore the value 255 if such pixels are to be ignored.",
            )
        return Reading(INDICES, self._table(used, number), doubt)

    def _table(self, used: np.ndarray, ids: np.ndarray) -> np.ndarray:
        table = np.full(256, UNKNOWN, np.uint8)
        table[used] = ids
        return table

    def _by_color(self, colors: np.ndarray) -> np.ndarray:
        """Packed colours -> train ids, UNKNOWN for those that the list has not."""
        nearest = np.minimum(np.searchsorted(self._colors, colors), len(self._colors) - 1)
        return np.where(self._colors[nearest] == colors, self._ids[nearest], np.uint8(UNKNOWN))

    def _name(self, train_id: int) -> str:
        return "ignored" if train_id == IGNORE else self._space.classes[train_id]

    def _against(self, path: Path, label: Label, number, seen, differ) -> str:
        """What one of the values is by its number, and what by its colour, without the full stop."""
        at = int(differ.argmax())
        value, shown = label.used[at], _said(label.shown[label.used[at]])
        by_number = "one class or another" if number[at] == _UNCLEAR else self._name(number[at])
        return f"{path}: value {value} shows {shown}, which is {self._name(seen[at])}, and is {by_number} by its number"

    def _two_ways(self, path: Path, label: Label, number, seen, differ) -> Fault:
        what = "palette" if label.kind == PALETTE else f"{label.bits}-bit gray"
        return Fault(
            "meaning",
            f"{self._against(path, label, number, seen, differ)} in this {what} file; give every class the value that "
            f"stands in the files (a column value in the list of classes), or save the label as RGB if its colours are "
            f"meant.",
        )

    def _unknown(self, path: Path, label: Label, number, seen) -> Fault:
        if not label.numbers:
            return Fault(
                "mode",
                f"{path}: holds 16-bit values up to {257 * int(label.used[-1])}, whose grays are not in the list of "
                f"classes; is this a file of instance ids, or a mask to be saved with 8 bits?",
            )
        neither = (number == UNKNOWN) & (seen == UNKNOWN)
        value = label.used[int((neither if neither.any() else number == UNKNOWN).argmax())]
        row, column = np.unravel_index(int((label.values == value).argmax()), label.values.shape)
        color, fix = (
            label.shown[value],
            "correct the label, or give the classes their values in the list of classes",
        )
        if not self._valued and self._space.num_classes <= value < len(
            self._colors
        ):  # the place of a row ignore
            fix = (
                f"if such pixels are to be ignored, give a row ignore the value {value} in the list of classes, else "
                f"give every class its value"
            )
        seen = (
            f", nor is its colour {_said(color)} in the list" if neither.any() and color != _NO_COLOR else ""
        )
        return Fault(
            "value",
            f"{path}: value {value} at row {row}, column {column} is no {self._space.title} class "
            f"({self._space.valid_range()}){seen}; {fix}.",
        )


def _said(color: int) -> str:
    return f"({color >> 16}, {color >> 8 & 255}, {color & 255})"
