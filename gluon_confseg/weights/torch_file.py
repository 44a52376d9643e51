"""PyTorch's `.pth`: a zip archive since 1.6, a row of pickles and storages before. Read without PyTorch."""

from __future__ import annotations

import io
import os
import struct

from .. import limits
from ..errors import WeightsError, plain
from . import mistaken, torch_pickle, zip_archive
from .stored import LONGEST_NAME, Arrays, Stored, check_count, item_size, telling
from .torch_pickle import STATE, Mapping, StandIn, Tensor

_LEGACY_START = (
    b"\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19"  # the number that the older format begins with, as a pickle
)
_FIRST_PART = 64 << 20  # of a file of the older format: its pickles lie in it
_DEEPEST = 64
_ROOT = "data.pkl"


def read_zip(file) -> Arrays:
    """name -> Stored of the tensors in a zip archive by `torch.save`. Raises WeightsError."""
    strangers, starts = [], {}
    with telling(strangers), zip_archive.opened(file) as archive:
        folder = _folder(file, archive.namelist())
        zip_archive.refuse_packed(archive, file)
        wrong = archive.testzip()
        if wrong is not None:
            raise ValueError(f"{plain(wrong)} does not give its checksum")
        try:
            limits.check_bytes(archive.getinfo(folder + _ROOT).file_size, "its pickle has")
        except limits.TooLarge as error:
            raise WeightsError(f"{file}: {error}, or save the state_dict() alone") from error
        root, storages = torch_pickle.load(io.BytesIO(archive.read(folder + _ROOT)), file, strangers)
        for key, storage in storages.items():
            record = archive.getinfo(f"{folder}data/{key}")
            if record.file_size < storage.total * item_size(storage.dtype):
                raise ValueError(f"storage {plain(key)} is too short")
            starts[key] = zip_archive.start(archive, record)
        order = f"{folder}byteorder"
        swapped = order in archive.namelist() and archive.open(order).read(4) == b"big"
        return _located(file, root, starts, strangers, swapped)


def read_legacy(file) -> Arrays:
    """name -> Stored of the tensors in a file by `torch.save` before 1.6.

    Any other pickle is an error that says what it is, as far as the names in it tell.
    """
    strangers = []
    with telling(strangers), open(file, "rb") as stream:
        content = stream.read(min(_FIRST_PART, limits.max_bytes()))
        if _LEGACY_START not in content[:32]:
            texts, strangers[:] = torch_pickle.names_in(content)
            raise WeightsError(f"{file}: {mistaken.pickle(texts, strangers)}")
        pickles = io.BytesIO(content)
        torch_pickle.load(pickles, file, strangers)
        torch_pickle.load(pickles, file, strangers)  # the format's version
        # the writer's integers; storages are little-endian everywhere
        torch_pickle.load(pickles, file, strangers)
        root, storages = torch_pickle.load(pickles, file, strangers)
        keys, _ = torch_pickle.load(pickles, file, strangers)
        stream.seek(pickles.tell())
        return _located(file, root, _storage_starts(stream, file, keys, storages), strangers)


def _folder(file, names: list) -> str:
    folders = [name[: -len(_ROOT)] for name in names if name == _ROOT or name.endswith(f"/{_ROOT}")]
    wrong = mistaken.archive(names)
    if wrong or len(folders) != 1:
        held = ", ".join(map(plain, names[:3])) or "nothing"
        unknown = (
            f"is a zip archive, but neither a checkpoint of ours nor one by torch.save (it holds {held})"
        )
        raise WeightsError(f"{file}: {wrong or unknown}")
    return folders[0]


def _storage_starts(stream, file, keys, storages: dict) -> dict:
    """key -> where its numbers begin: each storage is preceded by its length."""
    starts, end = {}, os.fstat(stream.fileno()).st_size
    for key in keys if isinstance(keys, list) else ():
        storage = storages.get(key) if isinstance(key, str) else None
        if storage is None or stream.read(8) != struct.pack("<q", storage.total):
            break
        start, size = stream.tell(), storage.total * item_size(storage.dtype)
        if start + size > end:
            break
        starts[key] = start
        stream.seek(size, os.SEEK_CUR)
    else:
        if set(starts) == set(storages):
            return starts
    raise WeightsError(
        f"{file}: is cut short or damaged (its storages do not fit its pickle); get another copy of it"
    )


def _located(file, root, starts: dict, strangers: list, swapped: bool = False) -> Arrays:
    found = Arrays()
    found.strangers = strangers
    for name, tensor in _tensors(root, file).items():
        storage = tensor.storage
        start = starts[storage.key] + (storage.first + tensor.offset) * item_size(storage.dtype)
        dtype = storage.dtype.replace("<", ">") if swapped else storage.dtype
        found[name] = Stored(str(file), start, dtype, tensor.shape, tensor.strides)
    return found


def _tensors(root, file) -> dict:
    """Dotted path -> Tensor: `model.conv1.weight` for {"model": {"conv1.weight": ...}}.

    An optimizer's state is no weights and left out. A container that occurs twice is read once.
    Raises WeightsError where there are none, or where two have the same path.
    """
    found = {}
    if isinstance(root, Tensor):
        raise WeightsError(f"{file}: holds one tensor without a name; save the model's state_dict()")
    try:
        _collect(root, "", found, set(), 0)
    except ValueError as error:
        raise WeightsError(
            f"{file}: is no state_dict ({error}); save the model's state_dict() alone"
        ) from error
    if not found:
        raise WeightsError(f"{file}: holds no tensors by name; save the model's state_dict() with torch.save")
    check_count(len(found), file)
    return found


def _collect(value, path: str, found: dict, seen: set, depth: int) -> None:
    """Add the tensors in a value by their paths. What lies too deep, or is called what no parameter is, is left out."""
    if isinstance(value, Tensor):
        if found.setdefault(path, value) != value:
            raise ValueError("two tensors have one name")
        return
    # by type: a Storage is a tuple too
    if type(value) not in (Mapping, StandIn, list, tuple) or id(value) in seen or depth > _DEEPEST:
        return
    if isinstance(value, Mapping) and len(value.pairs) <= 8:
        if {"state", "param_groups"} <= {key for key, _ in value.pairs if isinstance(key, str)}:
            return  # an optimizer's
    seen.add(id(value))
    for key, item in value.pairs if isinstance(value, Mapping) else enumerate(value):
        if not isinstance(item, (Mapping, list, tuple)):
            continue
        if key is STATE:
            _collect(item, path, found, seen, depth + 1)
        elif isinstance(key, (str, int)) and 0 < len(str(key)) <= LONGEST_NAME:
            _collect(item, f"{path}.{key}" if path else str(key), found, seen, depth + 1)
