"""Pictures that are too large for memory, cut into windows that overlap; of each window its middle counts.

A pixel gets what the window says in which it lies farthest from the border, so nothing is averaged and no more than
one window's scores are ever held. Windows begin at multiples of 32 pixels, as the grids of encoders do: what differs
from the picture as a whole is only what a pixel's surroundings beyond its window would have changed.
"""

from __future__ import annotations

import math
from typing import NamedTuple

STEP = 32  # pixels; a multiple of every encoder's output stride
LEAST = 192  # pixels of a window's side
_SHARE, _NARROWEST, _WIDEST = 6, 32, 128  # the border that does not count: a sixth of a side, within these


class Window(NamedTuple):
    """A window, in slices: what the network sees of the picture, and which part of it counts, in the picture."""

    rows: slice
    columns: slice
    kept_rows: slice
    kept_columns: slice

    @property
    def seen(self) -> tuple:
        """What the network sees of a (H, W, ...) picture."""
        return self.rows, self.columns

    @property
    def kept(self) -> tuple:
        """What counts, in a (H, W) result of the whole picture."""
        return self.kept_rows, self.kept_columns

    @property
    def inside(self) -> tuple:
        """The same in the window's own result."""
        return tuple(
            slice(kept.start - seen.start, kept.stop - seen.start)
            for seen, kept in ((self.rows, self.kept_rows), (self.columns, self.kept_columns))
        )


def cut(height: int, width: int, pixels: int) -> list:
    """Windows of at most so many pixels, in the order of rows and columns, whose kept parts cover the picture once.

    Raises ValueError where `pixels` are fewer than `LEAST` x `LEAST`.
    """
    if height * width <= pixels:
        whole = slice(0, height), slice(0, width)
        return [Window(*whole, *whole)]
    if pixels < LEAST * LEAST:
        raise ValueError(f"windows of {pixels} pixels are too small")
    side = math.isqrt(pixels) // STEP * STEP
    # a picture narrower than a square window leaves pixels for the other side
    if width <= side:
        tall, wide = pixels // width // STEP * STEP, width
    elif height <= side:
        tall, wide = height, pixels // height // STEP * STEP
    else:
        tall = wide = side
    return [
        Window(rows, columns, kept_rows, kept_columns)
        for rows, kept_rows in _intervals(height, tall)
        for columns, kept_columns in _intervals(width, wide)
    ]


def _intervals(length: int, window: int) -> list:
    """(seen, kept) slices along a side."""
    if length <= window:
        return [(slice(0, length), slice(0, length))]
    border = min(max(window // _SHARE // STEP * STEP, _NARROWEST), _WIDEST)
    starts = list(range(0, length - window, window - 2 * border))
    starts.append(-(-(length - window) // STEP) * STEP)  # the last one ends with the picture
    ends = [min(start + window, length) for start in starts]
    cuts = [0, *((end + start) // 2 for end, start in zip(ends, starts[1:])), length]
    return [
        (slice(start, end), slice(first, last))
        for start, end, first, last in zip(starts, ends, cuts, cuts[1:])
    ]
