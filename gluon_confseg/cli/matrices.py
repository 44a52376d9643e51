"""Confusion matrices in files: counts by name, and class names where the file or its run has them."""

from __future__ import annotations

import contextlib
import dataclasses
import io
from pathlib import Path

import numpy as np

from gluon_confseg import files
from gluon_confseg.errors import RunError, did_you_mean, plain
from gluon_confseg.labels import LABEL_SPACES, LabelSpace
from gluon_confseg.metrics import ConfusionMatrix
from gluon_confseg.run_folder import read_json, read_matrices

_CLASSES, _DATA, _MISSES = "classes", "data", "misses"  # entries of a file beside its matrices
_BESIDE = (_CLASSES, _DATA, _MISSES)
_MOST_PIXELS = 2**61  # sums of rows and columns still fit int64
_MOST_CLASSES = 1024
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
    stored = read_matrices(path, _WANTED, only=_is_wanted)
    faults = {name: _fault(array) for name, array in stored.items() if name not in _BESIDE}
    counted = {name: stored[name] for name, fault in faults.items() if not fault}
    faulty = [f"{plain(name)} holds {fault}" for name, fault in faults.items() if fault]
    if not counted:
        why = f" ({'; '.join(faulty[:3])})" if faulty else ""
        raise RunError(f"{path}: holds no confusion matrix, square and of whole numbers{why}; {_WANTED}")
    if key is None:
        key = next((name for name in counted if (name == "train") == train_first), next(iter(counted)))
    if key not in counted:
        if key in faults:
            raise RunError(
                f"{path}: its matrix {key} holds {faults[key]}, so it is no confusion matrix; {_WANTED}"
            )
        instead = did_you_mean(key, counted) or f"; choose one of {', '.join(map(plain, counted))} with --key"
        raise RunError(f"{path}: holds no matrix {key!r}{instead}")
    if len(counted[key]) > _MOST_CLASSES:
        raise RunError(
            f"{path}: its matrix {plain(key)} has {len(counted[key]):,} classes; at most {_MOST_CLASSES:,} are shown"
        )
    matrix = ConfusionMatrix(len(counted[key]))
    matrix.counts += counted[key].astype(np.int64)
    if _MISSES in stored:
        matrix.misses += _misses(stored[_MISSES], counted, path)
    run = _run_beside(path)
    classes = _classes(path, counted, key, space, stored, run)
    if space is None:
        space = next((space for space in LABEL_SPACES.values() if space.classes == classes), None)
    others = [name for name in counted if name != key]
    also = [f"also there: {', '.join(map(plain, others))}"] if others else []
    also = f" ({'; '.join([*also, *faulty])})" if also or faulty else ""
    told = run["data"].get("description") if isinstance(run.get("data"), dict) else None
    if told and key == "train":
        told = f"{told} This matrix was counted on training images of the same data."
    if _DATA in stored and stored[_DATA].dtype.kind == "U" and stored[_DATA].ndim == 0:
        told = str(stored[_DATA])
    about = {"file": str(path), "key": key, "other_keys": others, "data": told}
    return NamedMatrix(matrix, classes, space, f"{plain(key)} of {path}{also}", told, about)


def _is_wanted(name: str, entry) -> bool:
    """Whether an entry of a file is read: what is no square of numbers isn't."""
    square = len(entry.shape) == 2 and entry.shape[0] == entry.shape[1] > 0
    return name in _BESIDE or (square and entry.dtype.kind in "iuf")


def _fault(array: np.ndarray) -> str:
    """Why a square of numbers is no matrix of counts; "" where it is one."""
    if not np.isfinite(array).all():
        return "values that are not finite"
    if array.min() < 0:
        return "values below 0"
    if not np.array_equal(array, np.floor(array)):
        return "shares, where counts of pixels are wanted"
    if array.dtype.kind == "f" and array.max() > 2 ** (np.finfo(array.dtype).nmant + 1):
        return f"counts that {array.dtype} has rounded"
    return "" if array.sum(dtype=np.float64) < _MOST_PIXELS else "more pixels than can be counted"


def _misses(misses: np.ndarray, counted: dict, path: Path) -> np.ndarray:
    """(K,) pixels of each class that were predicted as none; RunError where they don't belong to the file's matrix."""
    if len(counted) > 1:
        raise RunError(
            f"{path}: holds misses beside {len(counted)} matrices, and not of which; leave one in the file"
        )
    size = len(next(iter(counted.values())))
    if (
        misses.shape != (size,)
        or misses.dtype.kind not in "iu"
        or not 0 <= misses.min() <= misses.max() < _MOST_PIXELS
    ):
        raise RunError(
            f"{path}: its misses are not a count for each of the matrix's {size} classes; {_WANTED}"
        )
    return misses.astype(np.int64)


def _classes(path: Path, counted: dict, key: str, space: LabelSpace | None, stored: dict, run: dict) -> tuple:
    size, listed = len(counted[key]), run.get("classes")
    if _CLASSES in stored:
        names = stored[_CLASSES]
        listed = [
            name.decode(errors="replace") if isinstance(name, bytes) else name
            for name in names.ravel().tolist()
        ]
        if names.ndim != 1 or len(listed) not in map(len, counted.values()):
            raise RunError(
                f"{path}: its classes are {len(listed)} names, and its matrix has {size} classes; write the file again "
                "with a name for each class"
            )
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
