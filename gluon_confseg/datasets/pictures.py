"""Photographs, PNG or JPEG as their names say."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from gluon_confseg.datasets import jpeg, png
from gluon_confseg.errors import DatasetError

FORMATS = {".png": png, ".jpg": jpeg, ".jpeg": jpeg}


def read_image(path: Path) -> np.ndarray:
    """A file as (H, W, 3) uint8 RGB; DatasetError where it is damaged, or not what its name says."""
    return _format(path).read_image(path)


def peek(path: Path):
    """Its header (`width`, `height`), from the file's first and last bytes alone where they tell."""
    return _format(path).peek(path)


def _format(path: Path):
    suffix = Path(path).suffix.lower()
    if suffix not in FORMATS:
        raise DatasetError(f"{path}: is none of {', '.join(FORMATS)}; convert the picture to one of them.")
    return FORMATS[suffix]
