"""`.safetensors`: its own library checks the file; where each tensor lies is in the header.

The library hands out NumPy arrays, but none for bfloat16, so elements are read here.
"""

from __future__ import annotations

import json
import os

from ..errors import WeightsError
from .stored import BFLOAT16, Stored, checked_name, checked_shape, item_size, plain, span

_TYPES = {
    "F16": "<f2",
    "F32": "<f4",
    "F64": "<f8",
    "BF16": BFLOAT16,
    "I8": "|i1",
    "I16": "<i2",
    "I32": "<i4",
    "I64": "<i8",
    "U8": "|u1",
    "U16": "<u2",
    "U32": "<u4",
    "U64": "<u8",
    "BOOL": "|b1",
}


def looks_like(start: bytes) -> bool:
    """Whether a file that begins like this declares the length of a header, and then its first brace."""
    return start[8:9] == b"{" and int.from_bytes(start[:8], "little") < 2**32


def read(file) -> dict:
    """name -> Stored, in the order of their names. Raises WeightsError for a damaged file."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(file), framework="numpy") as archive:
            names = sorted(archive.keys())
        with open(file, "rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            header = json.loads(stream.read(length))
            end = os.fstat(stream.fileno()).st_size
        return {checked_name(name): _stored(file, header[name], 8 + length, end) for name in names}
    except (SafetensorError, ValueError, KeyError, TypeError, OSError) as error:
        raise WeightsError(
            f"{file}: is a damaged .safetensors file ({plain(error)}); get another copy of it"
        ) from error


def _stored(file, entry: dict, start: int, end: int) -> Stored:
    if entry["dtype"] not in _TYPES:
        raise ValueError(f"numbers of type {plain(entry['dtype'])} can't be read here")
    dtype, shape = _TYPES[entry["dtype"]], checked_shape(entry["shape"], "a tensor")
    first, last = entry["data_offsets"]
    if last - first != span(shape) * item_size(dtype) or first < 0 or start + last > end:
        raise ValueError("a tensor lies beyond its end")
    return Stored(str(file), start + first, dtype, shape)
