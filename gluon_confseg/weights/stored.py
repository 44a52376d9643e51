"""Arrays that still lie in their file: where, of what type and shape. All readers answer with these."""

from __future__ import annotations

import contextlib
import math
import os
import struct
from typing import NamedTuple

import numpy as np

from ..errors import WeightsError, plain

BFLOAT16 = "bfloat16"  # NumPy has none: the upper half of a float32
# what readers raise for damaged files
DAMAGE = (EOFError, LookupError, OverflowError, RecursionError, ValueError, struct.error)
MOST_ARRAYS = 10_000  # of a file; no network here has a tenth of them
LONGEST_NAME = 512  # in characters
_MOST_AXES = 32  # of a NumPy array


class Stored(NamedTuple):
    """An array in a file. Nothing is read, or allocated, before `read`.

    file, start   path, and the offset of the first element in bytes
    dtype         NumPy's name of the elements' type ("<f4"), or BFLOAT16
    strides       in elements; None where rows follow one another
    """

    file: str
    start: int
    dtype: str
    shape: tuple
    strides: tuple | None = None

    def read(self) -> np.ndarray:
        """The array, in its own type; bfloat16 becomes float32. Raises WeightsError where the file has changed."""
        try:
            # a stride of 0 makes much of one number, and is in no weights
            if math.prod(self.shape) * item_size(self.dtype) > os.path.getsize(self.file):
                raise WeightsError(
                    f"{self.file}: names an array of shape {self.shape}, larger than the file itself"
                )
            flat = np.empty(span(self.shape, self.strides), _on_disk(self.dtype))
            with open(self.file, "rb") as stream:
                stream.seek(self.start)
                taken = stream.readinto(flat.view(np.uint8)) if flat.size else 0
        except (OSError, MemoryError) as error:
            raise WeightsError(f"{self.file}: can't be read ({error})") from error
        if taken < flat.nbytes:
            raise WeightsError(f"{self.file}: became shorter while it was read; load it again")
        if self.dtype == BFLOAT16:
            flat = (flat.astype(np.uint32) << 16).view(np.float32)
        if self.strides is None:
            return flat.reshape(self.shape)
        steps = tuple(stride * flat.itemsize for stride in self.strides)
        return np.lib.stride_tricks.as_strided(flat, self.shape, steps).copy()


class Arrays(dict):
    """name -> Stored, by the file's own names.

    strangers   names of classes and functions that the file holds besides, and for which nothing was made
    """

    strangers = ()


@contextlib.contextmanager
def telling(strangers):
    """Where loading fails, have the error name what the file holds besides tensors: that may be why."""
    try:
        yield
    except WeightsError as error:
        if not strangers:
            raise
        raise WeightsError(
            f"{error} (it also names {plain(', '.join(strangers[:3]))}, which is no tensor: nothing of it was run)"
        ) from error


def check_count(count: int, file) -> None:
    """Raise WeightsError for more arrays than any network has, before time is spent on each of them."""
    if count > MOST_ARRAYS:
        raise WeightsError(
            f"{file}: holds {count} arrays, more than any network here has; give the weights of one network"
        )


def span(shape: tuple, strides: tuple | None = None) -> int:
    """Elements from the first to the last of an array; in whole numbers, which no shape overflows."""
    if strides is None:
        return math.prod(shape)
    return 0 if 0 in shape else 1 + sum((size - 1) * stride for size, stride in zip(shape, strides))


def same_shape(got: tuple, wanted) -> bool:
    """Whether an array is of a parameter's shape, in which 0 or -1 is a size, and None all, that is still open."""
    if wanted is None:
        return True
    return len(got) == len(wanted) and all(size in (0, -1, has) for has, size in zip(got, wanted))


def item_size(dtype: str) -> int:
    """Bytes of one element."""
    return np.dtype(_on_disk(dtype)).itemsize


def checked_shape(sizes, what: str) -> tuple:
    """A shape that an array can have, or ValueError."""
    shape = tuple(sizes)
    if len(shape) > _MOST_AXES or not all(type(n) is int and 0 <= n < 2**48 for n in shape):
        raise ValueError(f"{what} is of no possible shape")
    return shape


def checked_name(name: str) -> str:
    """A name that a parameter can have, or ValueError."""
    if not 0 < len(name) <= LONGEST_NAME:
        raise ValueError(f"a name has {len(name)} characters")
    return name


def _on_disk(dtype: str) -> str:
    return "<u2" if dtype == BFLOAT16 else dtype
