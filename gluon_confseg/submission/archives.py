"""Archives of predictions: written whole or not at all, and checked as the server would.

Predictions are kept in a folder beside the archive: a call that was stopped goes on where it was.
"""

from __future__ import annotations

import gzip
import io
import json
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from gluon_confseg import files
from gluon_confseg.datasets import SegmentationDataset, contents, pictures
from gluon_confseg.datasets.pairing import listed
from gluon_confseg.errors import DatasetError, RunError
from gluon_confseg.submission.servers import Server

ABOUT = "made-with.json"
Progress = Callable[[int], None]

try:
    from lzma import LZMAError
except ImportError:  # a Python built without it can't read such archives, and says so by a RuntimeError
    LZMAError = RuntimeError

# RuntimeError: a zip with a password, or packed in a way that Python has not
_DAMAGED = (tarfile.TarError, zipfile.BadZipFile, zlib.error, LZMAError)
_UNREADABLE = (OSError, EOFError, ValueError, RuntimeError, *_DAMAGED)


def of_dataset(dataset: SegmentationDataset) -> dict:
    """{name: (height, width)} of the images of a split, in their order, from the headers of their files."""
    headers = zip(dataset.names, map(pictures.peek, dataset.image_paths))
    return {name: (header.height, header.width) for name, header in headers}


def of_list(path: Path, server: Server) -> dict:
    """{name: the size of all images of this benchmark, or None} of a text file with one name or file on each line."""
    lines = filter(None, map(str.strip, contents.text(path).split("\n")))
    members = (server.member(Path(line).stem) for line in lines)
    expected = {server.name_of(member): server.size for member in members}
    if not expected:
        raise DatasetError(f"{path}: holds no names; give a file with one image on each line")
    return expected


class Predictions:
    """Predictions of one checkpoint, made in one way.

    folder      of NAME.png each, and of a record of what they were made with
    made_with   anything JSON holds; RunError where the folder holds something made with something else
    """

    def __init__(self, folder: Path, server: Server, made_with: dict):
        self.folder, self.server = Path(folder), server
        there = list(self.folder.glob("*.png"))
        try:
            before = json.loads((self.folder / ABOUT).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            before = None
        if there and before != json.loads(json.dumps(made_with)):
            raise RunError(
                f"{self.folder}: holds {len(there)} predictions of another checkpoint, or made in another way; remove "
                f"this folder, or choose another --out"
            )
        files.write_json(self.folder / ABOUT, made_with)

    def path(self, name: str) -> Path:
        """The file of an image's prediction."""
        return self.folder / f"{name}.png"

    def missing(self, expected: dict) -> list:
        """Indices of the images whose prediction is not there, or not whole. expected: {name: (height, width)}"""
        found = []
        for index, (name, size) in enumerate(expected.items()):
            path = self.path(name)
            try:
                self.server.values_of(path.name, path.read_bytes(), size)
            except (OSError, DatasetError):
                found.append(index)
        return found

    def add(self, name: str, train_ids: np.ndarray) -> None:
        """Write the prediction of an image, (H, W) uint8 train ids."""
        files.write_bytes(self.path(name), self.server.encode(train_ids))


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
            try:
                values[server.values_of(member, data, expected[name])] = True
            except DatasetError as error:
                faults.append(str(error))
        if progress:
            progress(1)
    missing = [f"{server.member(name)} is missing" for name in expected if name not in found]
    faults = [*missing, *faults]
    # train ids, where raw ids are wanted: no file by itself tells, the whole archive does
    labels, present = server.labels, np.flatnonzero(values)
    scored = labels.to_stored(np.arange(labels.num_classes))
    if not np.isin(present, scored).all() and present.max() < labels.num_classes:
        faults.append(
            f"its values are 0-{present.max()}, which look like train ids; give raw ids ({labels.valid_range()})"
        )
    if faults:
        raise DatasetError(f"{path}: the server would refuse it: {listed(faults)}")


def check_suffix(path: Path, server: Server) -> None:
    """RunError unless an archive's name ends as the server wants it."""
    if not path.name.endswith(server.suffixes):
        raise RunError(f"{path}: an archive for {server.labels.title} ends in {' or '.join(server.suffixes)}")


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
