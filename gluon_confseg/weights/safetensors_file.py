"""`.safetensors`: its own library checks the file; where each tensor lies is in the header.

The library hands out NumPy arrays, but none for bfloat16, so elements are read here.
"""

from __future__ import annotations

import json

from ..errors import WeightsError, plain
from .stored import BFLOAT16, Arrays, Stored, check_count, checked_name, checked_shape

_LARGEST_HEADER = 16 << 20
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


def read(file) -> Arrays:
    """name -> Stored, in the order of their names. Raises WeightsError for a damaged file."""
    from safetensors import SafetensorError, safe_open

    found = Arrays()
    with open(file, "rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
    if length > _LARGEST_HEADER:
        raise WeightsError(f"{file}: has a header of {length} bytes, more than any network here needs")
    try:
        with safe_open(str(file), framework="numpy") as archive:
            names = sorted(archive.keys())
        check_count(len(names), file)
        with open(file, "rb") as stream:
            stream.seek(8)
            header = json.loads(stream.read(length))
        for name in names:
            entry = header[name]
            kind = _TYPES.get(entry["dtype"], entry["dtype"])  # of one that is not known here nothing is read
            start, shape = 8 + length + entry["data_offsets"][0], checked_shape(entry["shape"], "a tensor")
            found[checked_name(name)] = Stored(str(file), start, kind, shape)
    except (SafetensorError, ValueError, KeyError, TypeError, OSError) as error:
        raise WeightsError(
            f"{file}: is a damaged .safetensors file ({plain(error)}); get another copy of it"
        ) from error
    return found
