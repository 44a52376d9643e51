"""PyTorch's `.pth`: a zip archive since 1.6, a row of pickles and storages before. Read without PyTorch."""

from __future__ import annotations

import io
import os
import struct

from ..errors import WeightsError
from . import state_dict, torch_pickle, zip_records
from .stored import Stored, item_size, plain

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
LEGACY_START = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."  # the pickle of that number
_LARGEST_PICKLE = 64 << 20
_ROOT = "data.pkl"


def read_zip(file) -> dict:
    """name -> Stored of the tensors in a zip archive by `torch.save`. Raises WeightsError."""
    records = zip_records.read(file)
    folder = _folder(file, records)
    zip_records.refuse_packed(file, records)
    pickle = records[folder + _ROOT]
    if pickle.size > _LARGEST_PICKLE:
        raise WeightsError(f"{file}: its pickle has {pickle.size} bytes, too many for weights")
    zip_records.check(file, pickle, _ROOT)
    root, storages = torch_pickle.load(io.BytesIO(zip_records.content(file, pickle)), file)
    for key, storage in storages.items():
        record = records.get(f"{folder}data/{key}")
        if record is None or record.size < storage.total * item_size(storage.dtype):
            raise WeightsError(f"{file}: is damaged (storage {plain(key)} is missing or too short)")
        zip_records.check(file, record, f"storage {key}")
    order = records.get(f"{folder}byteorder")
    swapped = order is not None and order.size == 3 and zip_records.content(file, order) == b"big"
    starts = {key: records[f"{folder}data/{key}"].start for key in storages}
    return _located(file, root, starts, swapped)


def read_legacy(file) -> dict:
    """name -> Stored of the tensors in a file by `torch.save` before 1.6.

    A file that is some other pickle is walked through as well: the error names what it holds.
    """
    with _Bounded(open(file, "rb", buffering=0)) as stream:
        first, _ = torch_pickle.load(stream, file)
        if first != LEGACY_MAGIC:
            raise WeightsError(
                f"{file}: is a pickle, but not of torch.save's making; save a state_dict() with torch.save"
            )
        torch_pickle.load(stream, file)  # the format's version
        torch_pickle.load(stream, file)  # the writer's integer sizes; storages are little-endian everywhere
        root, storages = torch_pickle.load(stream, file)
        keys, _ = torch_pickle.load(stream, file)
        starts = _storage_starts(stream, file, keys, storages)
    return _located(file, root, starts, swapped=False)


class _Bounded(io.BufferedReader):
    """Gives what there is where more is asked for; the class itself makes room for all that is asked for first."""

    def read(self, size=-1):
        if size > 1 << 16:
            size = min(size, os.fstat(self.fileno()).st_size - self.tell())
        return super().read(size)


def _folder(file, records: dict) -> str:
    folders = [name[: -len(_ROOT)] for name in records if name == _ROOT or name.endswith(f"/{_ROOT}")]
    if len(folders) != 1:
        held = ", ".join(plain(name) for name in list(records)[:3]) or "nothing"
        raise WeightsError(
            f"{file}: is a zip archive, but neither a checkpoint of ours nor one by torch.save (it holds {held})"
        )
    if f"{folders[0]}constants.pkl" in records:
        raise WeightsError(f"{file}: is a TorchScript program; save the state_dict() of its model instead")
    return folders[0]


def _storage_starts(stream, file, keys, storages: dict) -> dict:
    """key -> where its numbers begin: each storage is preceded by its length."""
    starts, end = {}, os.fstat(stream.fileno()).st_size
    for key in keys if isinstance(keys, list) else ():
        storage = storages.get(key) if isinstance(key, str) else None
        length = stream.read(8)
        if storage is None or len(length) < 8 or struct.unpack("<q", length)[0] != storage.total:
            raise _cut_short(file)
        starts[key] = stream.tell()
        if starts[key] + storage.total * item_size(storage.dtype) > end:
            raise _cut_short(file)
        stream.seek(storage.total * item_size(storage.dtype), os.SEEK_CUR)
    if set(starts) != set(storages):
        raise _cut_short(file)
    return starts


def _cut_short(file) -> WeightsError:
    return WeightsError(
        f"{file}: is cut short or damaged (its storages do not fit its pickle); get another copy of it"
    )


def _located(file, root, starts: dict, swapped: bool) -> dict:
    stored = {}
    for name, tensor in state_dict.tensors(root, file).items():
        storage = tensor.storage
        start = starts[storage.key] + (storage.first + tensor.offset) * item_size(storage.dtype)
        dtype = storage.dtype.replace("<", ">") if swapped else storage.dtype
        stored[name] = Stored(str(file), start, dtype, tensor.shape, tensor.strides)
    return stored
