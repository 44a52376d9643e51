"""Writes drawn scenes as a data set in the Cityscapes layout."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Callable, Iterator

import cv2
import numpy as np

from gluon_confseg.datasets.cityscapes import DRAWN_MARK as MARK
from gluon_confseg.errors import DatasetError
from gluon_confseg.files import write_bytes, write_json

from .scene import VERSION, scene

FIRST_INDEX = {"train": 0, "val": 500000}  # so that neither split depends on the size of the other
NOTE = "street scenes drawn by gluon-confseg (not Cityscapes)"


def draw(
    root,
    train: int,
    val: int,
    size: tuple[int, int] = (512, 256),
    seed: int = 0,
    progress: Callable[[int, int], object] | None = None,
) -> Path:
    """Write `train` and `val` scenes of size (width, height) below `root`, in the Cityscapes layout.

    leftImg8bit/SPLIT/drawn/drawn_000000_000019_leftImg8bit.png, gtFine/SPLIT/drawn/..._gtFine_labelIds.png
    (raw ids) and drawn_scenes.json, by which a reader knows that this is not Cityscapes. A file is whole or
    not there; a run that was stopped goes on where it was, a complete one returns at once. Scenes of other
    parameters are replaced. `progress(done, total)` is called after each. Returns `root`.
    Raises DatasetError where `root` holds a Cityscapes layout that was not drawn, or can't be written.
    """
    root, total = Path(root), train + val
    wanted = {"note": NOTE, "version": VERSION, "seed": seed, "size": list(size), "train": train, "val": val}
    try:
        found = json.loads((root / MARK).read_text())
    except (OSError, ValueError):
        found = None
    if found == {**wanted, "complete": True}:
        return root
    try:
        _begin(root, {**wanted, "complete": False}, found)
        for done, (index, picture, labels) in enumerate(_files(root, train, val), 1):
            if not (picture.exists() and labels.exists()):
                image, ids = scene(seed, index, *size)
                _write_png(picture, image[:, :, ::-1], 1)  # fast: the noise does not compress anyway
                _write_png(labels, ids, 3)
            if progress:
                progress(done, total)
        write_json(root / MARK, {**wanted, "complete": True})
    except OSError as error:
        raise DatasetError(
            f"{error.filename or root}: drawn scenes can't be written there ({error.strerror or error}); make room, or "
            "choose another folder"
        ) from error
    return root


def _begin(root: Path, wanted: dict, found: dict | None) -> None:
    """Keep what a stopped run with the same parameters left; clear anything else that was drawn."""
    if found == wanted:
        return
    for kind in ("leftImg8bit", "gtFine"):
        if (root / kind).exists() and not (root / MARK).exists():
            raise DatasetError(
                f"{root}: holds a {kind}/ that gluon-confseg did not draw, and does not draw into; "
                f"choose an empty folder."
            )
    for kind in ("leftImg8bit", "gtFine"):
        for split in FIRST_INDEX:
            shutil.rmtree(root / kind / split / "drawn", ignore_errors=True)
    write_json(root / MARK, wanted)


def _files(root: Path, train: int, val: int) -> Iterator[tuple[int, Path, Path]]:
    """Index, picture and label map of every scene."""
    for split, count in (("train", train), ("val", val)):
        for index in range(FIRST_INDEX[split], FIRST_INDEX[split] + count):
            stem = f"drawn_{index:06d}_000019"
            yield (
                index,
                root / "leftImg8bit" / split / "drawn" / f"{stem}_leftImg8bit.png",
                root / "gtFine" / split / "drawn" / f"{stem}_gtFine_labelIds.png",
            )


def _write_png(path: Path, pixels: np.ndarray, level: int) -> None:
    coded, content = cv2.imencode(".png", pixels, [cv2.IMWRITE_PNG_COMPRESSION, level])
    if not coded:
        raise OSError(f"OpenCV could not encode {path.name}")
    write_bytes(path, content.tobytes())
