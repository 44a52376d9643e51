"""A small file, CSV or YAML, that names the classes of a data set and their colours: read into a LabelSpace.

    name,r,g,b
    road,128,64,128
    car,0,0,142
    ignore,0,0,0

The position is the value in index labels, unless a column `value` gives it. Rows named "ignore" are no class: what has
their colour or value is not counted. YAML says the same as a list of `{name: road, color: [128, 64, 128]}`, with an
optional `value` each, alone or under the key `classes`.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gluon_confseg.datasets import contents
from gluon_confseg.datasets.faults import Fault
from gluon_confseg.errors import DatasetError
from gluon_confseg.labels import IGNORE, UNKNOWN, LabelSpace

IGNORED = "ignore"
FILES = ("classes.csv", "classes.yaml", "classes.yml")
_MOST_BYTES = 1 << 20
_WANTED = "a CSV file with the columns name,r,g,b (and perhaps value), or a YAML list of name and color"


class ClassList(NamedTuple):
    """space: the classes. colors: packed RGB (see `packed`) -> train id, 255 for what is ignored."""

    space: LabelSpace
    colors: dict[int, int]


class _Row(NamedTuple):
    place: str
    name: str
    color: tuple[int, int, int]
    value: int | None


def read(path: Path, title: str) -> ClassList:
    """Read a list of classes. Raises DatasetError with line or entry, for the first thing that is wrong."""
    path = Path(path)
    data = contents.read(path)
    if len(data) > _MOST_BYTES:
        raise DatasetError(f"{path}: has {len(data)} bytes, too many for a list of classes; give {_WANTED}.")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path}: is no UTF-8 text; save it as UTF-8, as {_WANTED}.") from error
    entries = _yaml(path, text) if path.suffix.lower() in (".yaml", ".yml") else _csv(path, text)
    rows = [_row(path, place, entry) for place, entry in entries]
    classes = [row for row in rows if row.name != IGNORED]
    _check(path, rows, classes)
    raw_ids = {train_id if row.value is None else row.value: train_id for train_id, row in enumerate(classes)}
    table = {packed(*row.color): train_id for train_id, row in enumerate(classes)}
    for row in rows:
        if row.name == IGNORED:
            table[packed(*row.color)] = IGNORE
            if row.value is not None:
                raw_ids.setdefault(row.value, IGNORE)
    colors = np.array([row.color for row in classes], np.uint8)
    colors.setflags(write=False)
    space = LabelSpace("custom", title, tuple(row.name for row in classes), colors, raw_ids=raw_ids)
    return ClassList(space, table)


def packed(red, green, blue):
    """One integer per colour: numbers or integer arrays of 32 bits or more."""
    return (red << 16) + (green << 8) + blue


def ids_of_colors(path: Path, image: np.ndarray, known: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 RGB of classes' colours -> (H, W) uint8 train ids.

    known, ids   packed colours, sorted, and the train id of each
    Raises a Fault for a colour that is not known; `path` is for its message.
    """
    wanted = packed(*np.moveaxis(image.astype(np.int32), 2, 0))
    nearest = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
    fits = known[nearest] == wanted
    if fits.all():
        return ids[nearest]
    row, column = np.unravel_index(int(np.argmin(fits)), fits.shape)
    color = ", ".join(map(str, image[row, column]))
    raise Fault(
        "value",
        f"{path}: colour ({color}) at row {row}, column {column} is that of no class; correct the label, or add the "
        f"colour to the list of classes (a row named ignore, if it is to be ignored).",
    )


def _csv(path: Path, text: str) -> list[tuple[str, dict]]:
    first = text.split("\n", 1)[0]
    delimiter = ";" if ";" in first and "," not in first else ","
    rows = [row for row in csv.reader(io.StringIO(text), delimiter=delimiter) if any(map(str.strip, row))]
    header = [cell.strip().lower() for cell in rows[0]] if rows else []
    if not {"name", "r", "g", "b"} <= set(header):
        raise DatasetError(
            f"{path}: its first line is not name,r,g,b (it is {first.strip()[:60]!r}); give {_WANTED}."
        )
    entries = []
    for number, row in enumerate(rows[1:], 2):
        cells = {key: cell.strip() for key, cell in zip(header, row)}
        color = [cells.get(channel) for channel in "rgb"]
        entries.append(
            (f"row {number}", {"name": cells["name"], "color": color, "value": cells.get("value") or None})
        )
    return entries


def _yaml(path: Path, text: str) -> list[tuple[str, dict]]:
    import yaml

    try:
        content = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise DatasetError(
            f"{path}: is no YAML ({' '.join(str(error).split())[:120]}); give {_WANTED}."
        ) from error
    content = content.get("classes") if isinstance(content, dict) else content
    if not isinstance(content, list):
        raise DatasetError(f"{path}: holds no list of classes; give {_WANTED}.")
    return [(f"entry {number}", entry) for number, entry in enumerate(content, 1)]


def _row(path: Path, place: str, entry: Any) -> _Row:
    if not isinstance(entry, dict) or not str(entry.get("name") or "").strip():
        raise DatasetError(f"{path}, {place}: has no name; give {_WANTED}.")
    name, color = str(entry["name"]).strip(), entry.get("color")
    channels = [_byte(channel) for channel in color] if isinstance(color, (list, tuple)) else []
    if len(channels) != 3 or None in channels:
        raise DatasetError(
            f"{path}, {place}: the colour of {name} is {color!r}; give its red, green and blue as whole numbers from "
            f"0 to 255."
        )
    value = entry.get("value")
    if value is not None and _byte(value) is None:
        raise DatasetError(
            f"{path}, {place}: the value of {name} is {value!r}; give a whole number from 0 to 255."
        )
    return _Row(place, name, tuple(channels), None if value is None else _byte(value))


def _byte(given: Any) -> int | None:
    try:
        number = int(str(given))  # not int(given): 1.5 is no byte
    except ValueError:
        return None
    return number if 0 <= number <= 255 else None


def _check(path: Path, rows: list[_Row], classes: list[_Row]) -> None:
    if not 2 <= len(classes) < UNKNOWN:
        raise DatasetError(f"{path}: names {len(classes)} classes; give 2 to {UNKNOWN - 1} of them.")
    for what, of in (("name", classes), ("color", rows), ("value", rows)):
        counted = Counter(getattr(row, what) for row in of if getattr(row, what) is not None)
        twice = [row for row in of if counted[getattr(row, what)] > 1]
        if twice:
            where = " and ".join(row.place for row in twice[:2])
            raise DatasetError(
                f"{path}, {where}: have the same {what} {getattr(twice[0], what)}; make them differ."
            )
    valued = [row for row in classes if row.value is not None]
    if valued and len(valued) < len(classes):
        without = next(row for row in classes if row.value is None)
        raise DatasetError(
            f"{path}, {without.place}: {without.name} has no value; give all classes one, or none."
        )
    for row in classes:
        if row.value == IGNORE:
            raise DatasetError(
                f"{path}, {row.place}: {row.name} has the value 255, which is always ignored; give it another."
            )
