"""Files of class ids, one for each image: PNGs, and arrays as `.npy` or `.npz`."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from gluon_confseg.datasets import class_list, contents, png
from gluon_confseg.errors import DatasetError
from gluon_confseg.labels import LabelSpace

SUFFIXES = (".png", ".npy", ".npz")
IDS, CLASSES = (
    "ids",
    "classes",
)  # how values are meant: ids of some kind, or train ids that colours were turned into
_MOST = 1 << 28  # pixels


def colors_of(space: LabelSpace) -> dict[int, int]:
    """Packed RGB -> train id of a label space; black is ignored where it is no class's."""
    packed = [class_list.packed(*map(int, color)) for color in space.colors]
    return {0: space.ignore_label, **{color: train_id for train_id, color in enumerate(packed)}}


def reader(colors: Mapping[int, int]):
    """A function from a file to ((H, W) uint8 values, IDS or CLASSES).

    colors   packed RGB -> train id, of pictures that show the classes' colours
    """
    known = np.array(sorted(colors), np.int32)
    ids = np.array([colors[color] for color in known.tolist()], np.uint8)

    def read(path: Path) -> tuple[np.ndarray, str]:
        if path.suffix.lower() != ".png":
            return fitting(path, _array(path)), IDS
        header = png.peek(path)
        if header.color_type in (2, 6) and header.depth == 8:
            return class_list.ids_of_colors(path, png.read_image(path), known, ids), CLASSES
        if header.color_type == 0 and header.depth == 16:
            return fitting(path, png.read_instances(path)), IDS
        return png.read_label(path), IDS

    return read


def fitting(path: Path, values: np.ndarray) -> np.ndarray:
    """An integer array as uint8, where -1 is 255; DatasetError where it has not two dimensions or values do not fit."""
    while values.ndim > 2 and 1 in (values.shape[0], values.shape[-1]):
        values = values[0] if values.shape[0] == 1 else values[..., 0]
    if values.ndim != 2 or 0 in values.shape:
        raise DatasetError(
            f"{path}: its shape is {values.shape}, where one class id for each pixel is wanted (height, width); if it "
            "holds scores, save their argmax over the classes"
        )
    if values.dtype.kind == "f" and np.array_equal(values, np.rint(values)):
        values = values.astype(np.int64)
    if values.dtype.kind not in "iub":
        raise DatasetError(
            f"{path}: holds {values.dtype} values, where whole numbers are wanted; save class ids, not scores"
        )
    least, most = int(values.min()), int(values.max())
    if least < -1 or most > 255:
        raise DatasetError(
            f"{path}: holds values from {least} to {most}, where class ids go from 0 to 254 and 255 is none; is this "
            "a file of instance ids?"
        )
    return values.astype(np.uint8)


def _array(path: Path) -> np.ndarray:
    """The one array in a file; its size is looked at before its content."""
    try:
        if path.suffix.lower() == ".npy":
            _check_header(path, path.stat().st_size, lambda: open(path, "rb"))
            return np.load(path, allow_pickle=False)
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            if len(names) != 1:
                raise DatasetError(
                    f"{path}: holds {len(names)} arrays ({', '.join(names)[:60]}); save the class ids alone"
                )
            _check_header(path, archive.infolist()[0].file_size, lambda: archive.open(names[0]))
            with archive.open(names[0]) as stream:
                return np.lib.format.read_array(stream, allow_pickle=False)
    except OSError as error:
        raise contents.unreadable(path, error) from error
    except (ValueError, EOFError, zipfile.BadZipFile, RuntimeError, NotImplementedError) as error:
        raise DatasetError(
            f"{path}: is damaged, or no NumPy file ({' '.join(str(error).split())[:80]})."
        ) from error


def _check_header(path: Path, size: int, opened) -> None:
    with opened() as stream:
        version = np.lib.format.read_magic(stream)
        header = (
            np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        )
        shape, _, dtype = header(stream)
        if dtype.hasobject:
            raise DatasetError(f"{path}: holds Python objects; save class ids as an array of whole numbers")
        count = int(np.prod(shape, dtype=object))
        if count > _MOST or count * dtype.itemsize > size:
            raise DatasetError(
                f"{path}: says that it holds {count:,} values, which is more than its bytes or than an image has; "
                f"{contents.AGAIN}"
            )
