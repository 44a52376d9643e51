"""Files of class ids, one for each image: PNGs, and arrays as `.npy` or `.npz`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from gluon_confseg import npz
from gluon_confseg.datasets import class_list, contents, own_labels
from gluon_confseg.datasets.class_list import ClassList
from gluon_confseg.datasets.faults import Fault
from gluon_confseg.errors import DatasetError, plain
from gluon_confseg.labels import LabelSpace

SUFFIXES = (".png", ".npy", ".npz")
# how values are meant: ids of some kind, or train ids that colours were turned into
IDS, CLASSES = "ids", "classes"


def of_data_set(space: LabelSpace) -> Callable[[Path], tuple[np.ndarray, str]]:
    """A reader of files of a data set's classes: RGB pictures are read by colour, all others as ids."""
    black = class_list.packed(0, 0, 0)
    packed = [class_list.packed(*map(int, color)) for color in space.colors]
    colors = {black: space.ignore_label, **{color: train_id for train_id, color in enumerate(packed)}}
    by_color = own_labels.Reader(ClassList(space, colors, frozenset(), ""))

    def read(path: Path) -> tuple[np.ndarray, str]:
        if path.suffix.lower() != ".png":
            return fitting(path, _array(path)), IDS
        label = own_labels.read(path)
        if label.kind == own_labels.COLORS:
            return by_color.train_ids(path, label), CLASSES
        return _numbers(path, label), IDS

    return read


def of_own_labels(listed: ClassList) -> Callable[[Path], tuple[np.ndarray, str]]:
    """A reader of labels by your own list of classes, as training reads them."""
    reader = own_labels.Reader(listed)

    def read(path: Path) -> tuple[np.ndarray, str]:
        return reader.train_ids(path, _label(path)), CLASSES

    return read


def of_own_predictions(
    listed: ClassList, train_ids: bool = False
) -> Callable[[Path], tuple[np.ndarray, str]]:
    """A reader of predictions of your own classes: by colour where a label would be, else as ids of some kind.

    train_ids   whether files of one channel are known to hold train ids
    """
    reader, valued = own_labels.Reader(listed), bool(listed.given)

    def read(path: Path) -> tuple[np.ndarray, str]:
        label = _label(path)
        if label.kind == own_labels.COLORS:
            return reader.train_ids(path, label), CLASSES
        if train_ids:
            return _numbers(path, label), IDS
        try:
            how, _, doubt = reader.reading(path, label)
        except Fault as fault:
            if fault.kind != "value" or not valued:
                raise
            return _numbers(path, label), IDS  # numbers that the list does not give may be train ids
        if doubt:
            raise Fault("meaning", f"{doubt}; say what the ids are, with --predictions-are")
        if how in (own_labels.PALETTE, own_labels.GRAY) or not valued:
            return reader.train_ids(path, label), CLASSES
        return _numbers(path, label), IDS

    return read


def _numbers(path: Path, label: own_labels.Label) -> np.ndarray:
    if not label.numbers:
        raise DatasetError(
            f"{path}: holds 16-bit values beyond 255, where class ids go to 254; save class ids"
        )
    return label.values


def _label(path: Path) -> own_labels.Label:
    """A file of one's own classes; an array is what a gray picture of its values would be."""
    if path.suffix.lower() == ".png":
        return own_labels.read(path)
    return own_labels.of_array(fitting(path, _array(path)))


def fitting(path: Path, values: np.ndarray) -> np.ndarray:
    """An array of whole numbers as uint8; -1 and -100 become 255, which is no class.

    DatasetError where there is not one value for each pixel, or values do not fit.
    """
    while values.ndim > 2 and 1 in (values.shape[0], values.shape[-1]):
        values = values[0] if values.shape[0] == 1 else values[..., 0]
    if values.ndim != 2 or 0 in values.shape:
        raise DatasetError(
            f"{path}: its shape is {values.shape}, where one class id for each pixel is wanted (height, width); if it "
            "holds scores, save their argmax over the classes"
        )
    if values.dtype.kind == "f" and np.isnan(values).any():
        raise DatasetError(f"{path}: holds NaN; save class ids, and 255 where there is no class")
    if values.dtype.kind == "f" and np.array_equal(values, np.rint(values)):
        values = values.astype(np.int64)
    if values.dtype.kind not in "iub":
        raise DatasetError(
            f"{path}: holds {values.dtype} values, where whole numbers are wanted; save class ids, not scores"
        )
    if values.dtype.kind == "i" and values.dtype.itemsize > 1:
        values = np.where(values == -100, -1, values)  # what PyTorch's losses ignore
    least, most = int(values.min()), int(values.max())
    if least < -1 or most > 255:
        raise DatasetError(
            f"{path}: holds values from {least} to {most}, where class ids go from 0 to 254 and 255 is none; if "
            "these are instance ids, give the file of class ids; if a value marks what has no class, save 255 for it"
        )
    return values.astype(np.uint8)


def _array(path: Path) -> np.ndarray:
    """The one array in a file; its header is held against the file and the limits before anything is unpacked."""
    contents.ends(path, 1, 1)  # refuses what is no regular file, such as a pipe
    try:
        if path.suffix.lower() == ".npz":
            with npz.opened(path) as archive:
                names = list(archive.entries)
                if len(names) != 1:
                    raise DatasetError(
                        f"{path}: holds {len(names)} arrays ({plain(', '.join(names)[:60])}); save the class ids alone"
                    )
                return archive.read(names[0])
        return npz.read_array(path)
    except OSError as error:
        raise contents.unreadable(path, error) from error
    except ValueError as error:
        raise DatasetError(f"{path}: holds no array of class ids ({plain(error)}).") from error
