"""Confusion matrices in files: counts by name, and class names where the file or its run has them."""

from __future__ import annotations

import contextlib
import dataclasses
import io
from pathlib import Path

import numpy as np

from gluon_confseg import files
from gluon_confseg.errors import RunError, did_you_mean
from gluon_confseg.labels import LABEL_SPACES, LabelSpace
from gluon_confseg.metrics import ConfusionMatrix
from gluon_confseg.run_folder import read_json, read_matrices

_CLASSES, _DATA, _MISSES = "classes", "data", "misses"  # entries of a file beside its matrices
_WANTED = "give the confusion.npz of a run, of `confseg evaluate --out` or of `confseg confusion --out`"


@dataclasses.dataclass(frozen=True)
class NamedMatrix:
    """A matrix and what is known about it.

    classes   K names
    space     the label space that has these classes; None for others
    source    where it comes from, for people
    data      a sentence on which data it was counted; None where that is not known
    """

    matrix: ConfusionMatrix
    classes: tuple
    space: LabelSpace | None
    source: str
    data: str | None = None
    record: dict = dataclasses.field(default_factory=dict)

    @property
    def title(self) -> str:
        """What stands above a picture of it: a long path would not fit."""
        return f"{self.record.get('key', 'predictions')}, groups discovered in this matrix"


def index(classes, name: str) -> int:
    """The class of this name; RunError names the nearest, or lists those there are."""
    if name not in classes:
        instead = did_you_mean(name, classes) or f"; the classes are {', '.join(classes)}"
        raise RunError(f"there is no class {name!r}{instead}")
    return list(classes).index(name)


def write(path: Path, key: str, named: NamedMatrix) -> None:
    """Write one matrix with its class names and data, atomically."""
    arrays = {key: named.matrix.counts, _MISSES: named.matrix.misses, _CLASSES: np.array(named.classes)}
    if named.data:
        arrays[_DATA] = np.array(named.data)
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)
    files.write_bytes(path, content.getvalue())


def load(path: Path, key: str | None, space: LabelSpace | None, train_first: bool = False) -> NamedMatrix:
    """A matrix of a file or run folder.

    key           its name there; None: the first but `train`, or with `train_first` `train` itself
    space         the label space, where neither the file nor a run beside it has class names
    Raises RunError, one sentence, where there is no such matrix or it has not as many classes.
    """
    path = path / "confusion.npz" if path.is_dir() else path
    stored = read_matrices(path, _WANTED)
    counted = {name: array for name, array in stored.items() if _is_matrix(array)}
    if not counted:
        raise RunError(f"{path}: holds no confusion matrix, square and of whole numbers; {_WANTED}")
    if key is None:
        key = next((name for name in counted if (name == "train") == train_first), next(iter(counted)))
    if key not in counted:
        instead = did_you_mean(key, counted) or f"; choose one of {', '.join(counted)} with --key"
        raise RunError(f"{path}: holds no matrix {key!r}{instead}")
    matrix = ConfusionMatrix(len(counted[key]))
    matrix.counts += counted[key].astype(np.int64)
    misses = stored.get(_MISSES, matrix.misses)
    if len(counted) == 1 and misses.shape == matrix.misses.shape and misses.dtype.kind in "iu":
        matrix.misses += misses.astype(np.int64)
    run = _run_beside(path)
    classes = _classes(path, len(matrix.counts), space, stored, run)
    if space is None:
        space = next((space for space in LABEL_SPACES.values() if space.classes == classes), None)
    others = [name for name in counted if name != key]
    also = f" (also there: {', '.join(others)})" if others else ""
    told = run["data"].get("description") if isinstance(run.get("data"), dict) else None
    if told and key == "train":
        told = f"{told} This matrix was counted on training images of the same data."
    if _DATA in stored:
        told = str(stored[_DATA])
    about = {"file": str(path), "key": key, "other_keys": others, "data": told}
    return NamedMatrix(matrix, classes, space, f"{key} of {path}{also}", told, about)


def _is_matrix(array: np.ndarray) -> bool:
    square = array.ndim == 2 and array.shape[0] == array.shape[1] > 0
    if not square or array.dtype.kind not in "iuf" or not np.isfinite(array).all():
        return False
    return bool(array.min() >= 0 and np.array_equal(array, np.floor(array)))


def _classes(path: Path, size: int, space: LabelSpace | None, stored: dict, run: dict) -> tuple:
    listed = stored[_CLASSES].tolist() if _CLASSES in stored else run.get("classes")
    known = tuple(map(str, listed)) if isinstance(listed, list) else ()
    if space is None:
        return known if len(known) == size else tuple(f"class {k}" for k in range(size))
    if space.num_classes != size or (len(known) == size and known != space.classes):
        raise RunError(
            f"{path}: its {size} classes are not the {space.num_classes} of {space.title}; name the "
            "classes that they are with --data or --classes, or leave these out"
        )
    return space.classes


def _run_beside(path: Path) -> dict:
    """results.json of the run whose confusion.npz this is; empty where there is none that can be read."""
    found = None
    if path.name == "confusion.npz":
        with contextlib.suppress(RunError):
            found = read_json(path.parent / "results.json")
    return found if isinstance(found, dict) else {}
