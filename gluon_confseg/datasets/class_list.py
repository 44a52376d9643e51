"""A small file, CSV or YAML, that names the classes of a data set and their colours: read into a LabelSpace.

    name,r,g,b
    road,128,64,128
    car,0,0,142
    ignore,0,0,0

The position is the value in index labels, unless a column `value` gives it. Rows named "ignore" are no class: what has
their colour or value is not counted. YAML says the same as a list of `{name: road, color: [128, 64, 128]}`, with an
optional `value` each, alone or under the key `classes`. CVAT's labelmap.txt has a line `road:128,64,128::` for each
class. All of it is read as written: `no` and `0` are names like any
other.
"""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gluon_confseg.datasets import contents
from gluon_confseg.errors import DatasetError
from gluon_confseg.labels import IGNORE, UNKNOWN, LabelSpace

IGNORED = "ignore"
FILES = ("classes.csv", "classes.yaml", "classes.yml", "labelmap.txt")
_MOST_BYTES = 1 << 17
_LONGEST_NAME = 200
_DEEPEST = 10  # a YAML list of classes nests its brackets 4 deep
_WANTED = "a CSV file with the columns name,r,g,b (and perhaps value), or a YAML list of name and color"
_IDS = ("id", "ids", "index", "label", "label_id", "class_id", "train_id", "trainid", "values", "pixel")
_NO_CLASS = ("void", "unlabeled", "unlabelled", "unannotated", "nolabel", "dontcare")


class ClassList(NamedTuple):
    """What a list of classes says.

    space       the classes; its table has what each value of an index label is
    colors      packed RGB (see `packed`) -> train id, 255 for what is ignored
    given       the values that the list itself gives; those of positions are not among them
    unclear     why positions don't tell the values of index labels; "" where they do
    """

    space: LabelSpace
    colors: dict[int, int]
    given: frozenset[int]
    unclear: str


class _Row(NamedTuple):
    place: str
    name: str
    color: tuple[int, int, int]
    value: int | None
    id: Any  # what a column such as id holds, which is not read

    @property
    def ignored(self) -> bool:
        return self.name.casefold() == IGNORED


def read(path: Path, title: str) -> ClassList:
    """Read a list of classes. Raises DatasetError with line or entry, for the first thing that is wrong."""
    path = Path(path)
    text = contents.text(path, _MOST_BYTES)
    readers = {".yaml": _yaml, ".yml": _yaml, ".txt": _labelmap}
    entries = readers.get(path.suffix.lower(), _csv)(path, text)
    rows = [_row(path, place, entry) for place, entry in entries]
    classes = [row for row in rows if not row.ignored]
    _check(path, rows, classes)
    raw_ids = {train_id if row.value is None else row.value: train_id for train_id, row in enumerate(classes)}
    table = {packed(*row.color): train_id for train_id, row in enumerate(classes)}
    table.update({packed(*row.color): IGNORE for row in rows if row.ignored})
    raw_ids.update({row.value: IGNORE for row in rows if row.ignored and row.value is not None})
    early = [row for row in rows[: rows.index(classes[-1])] if row.ignored and row.value is None]
    unclear = ""
    if early and classes[0].value is None:
        unclear = f"{path}, {early[0].place}: the row {early[0].name} stands before a class"
    colors = np.array([row.color for row in classes], np.uint8)
    colors.setflags(write=False)
    space = LabelSpace("custom", title, tuple(row.name for row in classes), colors, raw_ids=raw_ids)
    return ClassList(space, table, frozenset(row.value for row in rows if row.value is not None), unclear)


def packed(red, green, blue):
    """One integer per colour: numbers or integer arrays of 32 bits or more."""
    return (red << 16) + (green << 8) + blue


def uncounted(names) -> list[str]:
    """Those names of classes by which people mean what is no class."""
    return [name for name in names if re.sub(r"[\W_]", "", name.casefold()).startswith((*_NO_CLASS, IGNORED))]


def _csv(path: Path, text: str) -> list[tuple[str, dict]]:
    first = text.split("\n", 1)[0]
    delimiter = max(",;\t", key=first.count)
    reader = csv.reader(io.StringIO(text), delimiter=delimiter, skipinitialspace=True, strict=True)
    try:
        rows = [(reader.line_num, [cell.strip() for cell in row]) for row in reader]
    except csv.Error as error:
        raise DatasetError(
            f"{path}, row {reader.line_num}: is no CSV ({error}; is a quote left open?); give {_WANTED}."
        ) from error
    rows = [(number, row) for number, row in rows if any(row)]
    header = [cell.lower() for cell in rows[0][1]] if rows else []
    if not {"name", "r", "g", "b"} <= set(header):
        raise DatasetError(
            f"{path}: its first line is not name,r,g,b (it is {first.strip()[:60]!r}); give {_WANTED}."
        )
    twice = [column for column in header if column and header.count(column) > 1]
    if twice:
        raise DatasetError(f"{path}: has two columns {twice[0]!r}; remove one of them.")
    entries = []
    for number, row in rows[1:]:
        if any(row[len(header) :]):
            raise DatasetError(
                f"{path}, row {number}: has {len(row)} cells, and the first line names {len(header)} columns; give "
                f"each cell a column, or put a name with {delimiter!r} in it in quotes."
            )
        cells = dict(zip(header, row))
        entries.append((f"row {number}", {**cells, "color": [cells.get(channel) for channel in "rgb"]}))
    return entries


def _labelmap(path: Path, text: str) -> list[tuple[str, dict]]:
    """CVAT's labelmap.txt: name:r,g,b:parts:actions on each line."""
    entries = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        cells = line.split(":")
        if len(cells) != 4:
            raise DatasetError(
                f"{path}, line {number}: is not name:r,g,b:: as CVAT writes it; give {_WANTED}."
            )
        entries.append((f"line {number}", {"name": cells[0], "color": cells[1].split(",")}))
    return entries


def _yaml(path: Path, text: str) -> list[tuple[str, dict]]:
    import yaml

    loader = getattr(yaml, "CBaseLoader", yaml.BaseLoader)  # leaves all as the text that it is
    try:
        depth = 0
        for event in yaml.parse(text, Loader=loader):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > _DEEPEST or isinstance(event, yaml.AliasEvent):
                raise ValueError("a list of classes has no need of aliases, nor of deep nesting")
        content = yaml.load(text, Loader=loader)
    except (yaml.YAMLError, ValueError) as error:
        raise DatasetError(
            f"{path}: is no YAML ({' '.join(str(error).split())[:120]}); give {_WANTED}."
        ) from error
    content = content.get("classes") if isinstance(content, dict) else content
    if not isinstance(content, list):
        raise DatasetError(f"{path}: holds no list of classes; give {_WANTED}.")
    entries = []
    for number, entry in enumerate(content, 1):
        keys = {key.lower(): value for key, value in entry.items()} if isinstance(entry, dict) else {}
        entries.append((f"entry {number}", keys))
    return entries


def _row(path: Path, place: str, entry: dict) -> _Row:
    name, color, value = entry.get("name"), entry.get("color"), entry.get("value")
    if not isinstance(name, str) or not name.strip():
        raise DatasetError(f"{path}, {place}: has no name; give {_WANTED}.")
    name = name.strip()
    # line breaks and terminal codes: in a list, a name that is quoted or written with escapes may have them
    control = next((sign for sign in name if unicodedata.category(sign) in ("Cc", "Cs", "Zl", "Zp")), None)
    if control:
        raise DatasetError(
            f"{path}, {place}: the name {name[:40]!r} has the control character U+{ord(control):04X} in it; write it "
            f"in letters, digits and signs."
        )
    if len(name) > _LONGEST_NAME:
        raise DatasetError(
            f"{path}, {place}: the name {name[:40]!r}... has {len(name)} signs; give one of at most {_LONGEST_NAME}."
        )
    channels = [_byte(channel) for channel in color] if isinstance(color, list) else []
    if len(channels) != 3 or None in channels:
        raise DatasetError(
            f"{path}, {place}: the colour of {name} is {str(color)[:60]}; give its red, green and blue as whole "
            f"numbers from 0 to 255."
        )
    if value in ("", "null", "~"):
        value = None
    if value is not None and _byte(value) is None:
        raise DatasetError(
            f"{path}, {place}: the value of {name} is {str(value)[:60]!r}; give a whole number from 0 to 255."
        )
    named = next((entry[key] for key in _IDS if key in entry), None)
    return _Row(place, name, tuple(channels), None if value is None else _byte(value), named)


def _byte(given: Any) -> int | None:
    """The number that is written there; None unless it is one of 0 to 255."""
    if not isinstance(given, str) or not given.strip().isdecimal() or len(given) > 20:
        return None
    return int(given) if int(given) <= 255 else None


def _check(path: Path, rows: list[_Row], classes: list[_Row]) -> None:
    if not 2 <= len(classes) < UNKNOWN:
        raise DatasetError(f"{path}: names {len(classes)} classes; give 2 to {UNKNOWN - 1} of them.")
    # several kinds of pixels may be ignored, in one colour
    ignored = {row.color: row for row in rows if row.ignored}
    for what, of in (("name", classes), ("color", [*classes, *ignored.values()]), ("value", rows)):
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
    if valued:
        return
    for row in rows:
        if row.ignored and row.value is not None and row.value < len(classes):
            raise DatasetError(
                f"{path}, {row.place}: the row {row.name} has the value {row.value}, which by its position is that of "
                f"{classes[row.value].name}; give every class its value too."
            )
    for position, row in enumerate(classes):
        if isinstance(row.id, str) and row.id.isdecimal() and _byte(row.id) != position:
            raise DatasetError(
                f"{path}, {row.place}: {row.name} has the id {row.id[:20]}, and the position {position}; name the "
                f"column value if it tells what stands in the label files, else remove it."
            )
