"""Archives of predictions: written whole or not at all, and checked as the server would."""

from __future__ import annotations

import gzip
import io
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from gluon_confseg import files
from gluon_confseg.datasets.pairing import listed
from gluon_confseg.errors import DatasetError, RunError
from gluon_confseg.submission.predictions import Predictions
from gluon_confseg.submission.servers import Server

Progress = Callable[[int], None]

try:
    from lzma import LZMAError
except ImportError:  # a Python built without it can't read such archives, and says so by a RuntimeError
    LZMAError = RuntimeError

# RuntimeError: a zip with a password, or packed in a way that Python has not
_DAMAGED = (tarfile.TarError, zipfile.BadZipFile, zlib.error, LZMAError)
_UNREADABLE = (OSError, EOFError, ValueError, RuntimeError, *_DAMAGED)


def write(path: Path, predictions: Predictions, expected: dict, progress: Progress | None = None) -> None:
    """Pack the predictions of all expected images, check the archive, and only then put it there.

    The same predictions give the same bytes. Raises DatasetError, as `check` does; what was at `path` then stays.
    """
    server = predictions.server
    members = [(server.member(name), predictions.path(name)) for name in expected]
    content = (_zipped if server.suffixes[0] == ".zip" else _tarred)(members)
    check(path, server, expected, progress, content)
    files.write_bytes(path, content)


def check(
    path: Path, server: Server, expected: dict, progress: Progress | None = None, content: bytes | None = None
) -> None:
    """Check an archive against the images that it must hold predictions of.

    expected    {name: (height, width), or None where that is not known}
    progress    called with 1 for each file
    content     of the archive, where it is not at `path` yet
    Raises DatasetError, one sentence with all faults: an image without prediction or with two, a file that is of no
    image, damaged, of another size or kind, with a value that is no id, or with train ids in place of raw ids.
    """
    found, faults, values = {}, [], np.zeros(256, bool)
    for member, data in _members(path, content):
        name = server.name_of(member)
        if name not in expected:
            faults.append(f"{member} is of no image of the split")
        elif name in found:
            faults.append(f"{member} and {found[name]} are of the same image")
        else:
            found[name] = member
            faults += _faults(server, member, data, expected[name], values)
        if progress:
            progress(1)
    missing = [f"{server.member(name)} is missing" for name in expected if name not in found]
    faults = [*missing, *faults, *_mixed_up(server, values)]
    if faults:
        raise DatasetError(f"{path}: the server would refuse it: {listed(faults)}")


def check_suffix(path: Path, server: Server) -> None:
    """RunError unless an archive's name ends as the server wants it."""
    if not path.name.endswith(server.suffixes):
        raise RunError(f"{path}: an archive for {server.labels.title} ends in {' or '.join(server.suffixes)}")


def _faults(server: Server, member: str, data: bytes, size, values: np.ndarray) -> list:
    try:
        values |= np.bincount(server.values_of(member, data, size).ravel(), minlength=256) > 0
    except DatasetError as error:
        return [str(error)]
    return []


def _mixed_up(server: Server, values: np.ndarray) -> list:
    """Train ids, where raw ids are wanted: no file by itself tells, the whole archive does."""
    labels, present = server.labels, np.flatnonzero(values)
    scored = labels.to_stored(np.arange(labels.num_classes))
    if np.isin(present, scored).all() or present.max() >= labels.num_classes:
        return []
    return [
        f"its values are 0-{present.max()}, which look like train ids; give raw ids ({labels.valid_range()})"
    ]


def _members(path: Path, content: bytes | None) -> Iterator[tuple]:
    """(name, content) of every file in an archive, folders left out; RunError where it is no archive, or damaged."""
    try:
        stream = open(path, "rb") if content is None else io.BytesIO(content)
        with stream:
            is_zip = zipfile.is_zipfile(stream)
            stream.seek(0)
            yield from (_in_zip if is_zip else _in_tar)(stream)
    except FileNotFoundError:
        raise RunError(f"{path}: there is no such archive; give one that `confseg submit` wrote") from None
    except _UNREADABLE as error:
        raise RunError(
            f"{path}: is no zip or tar archive, or is damaged ({error}); write it again"
        ) from error


def _in_zip(stream) -> Iterator[tuple]:
    with zipfile.ZipFile(stream) as archive:
        for info in archive.infolist():
            if not info.is_dir():
                yield info.filename, archive.read(info)


def _in_tar(stream) -> Iterator[tuple]:
    with tarfile.open(fileobj=stream, mode="r:*") as archive:
        for info in archive:
            if not info.isdir():
                file = archive.extractfile(info) if info.isfile() else None
                yield info.name[2:] if info.name.startswith("./") else info.name, file.read() if file else b""


def _zipped(members) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_STORED) as archive:  # PNGs are compressed already
        for member, path in members:
            archive.writestr(zipfile.ZipInfo(member), path.read_bytes())  # ZipInfo's own date: 1980, always
    return content.getvalue()


def _tarred(members) -> bytes:
    content = io.BytesIO()
    with gzip.GzipFile(fileobj=content, mode="wb", mtime=0) as stream:
        with tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as archive:
            for member, path in members:
                data, info = path.read_bytes(), tarfile.TarInfo(member)
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
    return content.getvalue()
