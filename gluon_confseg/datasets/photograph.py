"""What all readers of pictures share: the largest that is read, the picture as it is handed on, what to say about it.

Pixels are those of the file. A camera may write into it how a viewer has to turn them (EXIF orientation); nothing here
ever turns them, and whoever looks at such a picture is told.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import ExifTags, Image

from gluon_confseg import limits
from gluon_confseg.errors import DatasetError

UPRIGHT = "turn the pixels for good, with `mogrify -auto-orient FILE` or Pillow's ImageOps.exif_transpose"


class Photograph(NamedTuple):
    """A picture that was read.

    pixels          (H, W, 3) uint8 RGB, as stored
    orientation     of its EXIF, 1 to 8; 1 where viewers don't turn or mirror it
    values          least and greatest of what is stored in 16 bits a channel; None where it is 8 or fewer
    """

    pixels: np.ndarray
    orientation: int = 1
    values: tuple[int, int] | None = None

    def notes(self) -> list[str]:
        """What whoever segments it must know, a sentence each without its full stop."""
        notes = []
        if self.orientation != 1:
            notes.append(
                f"its EXIF orientation is {self.orientation}, but it is read as it is stored and not turned as "
                f"viewers turn it; if it should be upright, {UPRIGHT}"
            )
        return notes + ([scaled(self.values)] if self.values else [])


def scaled(values: Sequence[int]) -> str:
    """What became of 16-bit values. values: the least and the greatest."""
    least, most = values
    return (
        f"16-bit values are divided by 256, which makes {least >> 8} to {most >> 8} out of {least} to {most}; if that "
        f"is too dark, scale the values to 0..65535 before"
    )


def check_pixels(path: Path, width: int, height: int) -> None:
    """DatasetError where a header declares more pixels than the limit: decoding them could take all memory."""
    if width * height > limits.max_pixels():
        raise DatasetError(
            f"{path}: is {width} x {height} pixels, more than the {limits.max_pixels():,} that are read; cut it into "
            f"parts, or set {limits.MAX_PIXELS} to a larger number (up to {limits.MOST_PIXELS})."
        )


def orientation(exif: bytes | memoryview | None) -> int:
    """The orientation in a block of EXIF data, 1 to 8; 1 where it says none, or another value, or is damaged."""
    found = Image.Exif()
    try:
        found.load(bytes(exif or b""))
        value = found.get(ExifTags.Base.Orientation)
    except Exception:  # whatever Pillow trips over in a damaged block: a viewer does not turn by it either
        return 1
    return int(value) if value in range(2, 9) else 1
