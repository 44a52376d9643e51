"""What `confseg predict` is given: files, folders, patterns, lists, videos and standard input, as pictures in order."""

from __future__ import annotations

import glob
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from gluon_confseg.datasets import contents, matching, pictures
from gluon_confseg.datasets.pairing import listed
from gluon_confseg.datasets.photograph import Photograph, check_pixels
from gluon_confseg.errors import DatasetError

STDIN, LIST = "-", "@"
VIDEOS = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg")
_DIGITS = 6  # of a frame's number, counted from 1


class Source(NamedTuple):
    """A picture or a video.

    path     the file; `-` is standard input
    name     of its results, below the folder of their kind and without suffix: "holiday/beach"
    """

    path: Path
    name: str

    @property
    def is_video(self) -> bool:
        """Whether its name is that of a video."""
        return self.path.suffix.lower() in VIDEOS

    @property
    def shown(self) -> str:
        """What it is called in messages."""
        return "standard input" if str(self.path) == STDIN else str(self.path)

    def results(self) -> list:
        """Names of its results as far as they are known before it is read."""
        return [f"{self.name}/"] if self.is_video else [self.name]

    def size(self) -> tuple | None:
        """(height, width, bytes for each pixel while it is read, bytes of the file); None where no header tells."""
        if self.is_video or str(self.path) == STDIN:
            return None
        try:
            header, stored = pictures.peek(self.path), self.path.stat().st_size
        except (DatasetError, OSError):
            return None  # reading it will say why
        deep = 2 if header.depth > 8 else 1
        each = 14 if self.path.suffix.lower() != ".png" else 9 * deep
        return header.height, header.width, each, stored

    def read(self) -> Photograph:
        """The picture; DatasetError where it can't be read."""
        if str(self.path) != STDIN:
            return pictures.read(self.path)
        data = sys.stdin.buffer.read()
        if not data:
            raise DatasetError("standard input: is empty; pipe a PNG or JPEG picture into it")
        return pictures.decode(Path(self.shown), data)

    def frames(self) -> Iterator[tuple]:
        """(name, (H, W, 3) uint8 RGB) of each frame of a video; DatasetError where it has none."""
        import cv2

        with _opened(self.path) as video:
            number = 0
            while True:
                there, frame = video.read()
                if not there:
                    break
                number += 1
                if number == 1:
                    check_pixels(self.path, *frame.shape[1::-1])
                yield f"{self.name}/{number:0{_DIGITS}d}", cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
        if not number:
            raise DatasetError(
                f"{self.path}: holds no frame that can be decoded; convert the video, to .mp4 say"
            )

    def about_video(self) -> tuple:
        """(frames that its header promises or 0, frames a second)."""
        import cv2

        with _opened(self.path) as video:
            count, rate = video.get(cv2.CAP_PROP_FRAME_COUNT), video.get(cv2.CAP_PROP_FPS)
        return (int(count) if 0 < count < 1e9 else 0), (rate if 0 < rate <= 1000 else 25.0)


class _opened:
    """A video that is closed in the end."""

    def __init__(self, path: Path):
        self._path = path

    def __enter__(self):
        import cv2

        contents.ends(self._path, 1, 1)  # says why a file can't be read
        self._video = cv2.VideoCapture(str(self._path), cv2.CAP_FFMPEG)
        if not self._video.isOpened():
            raise DatasetError(f"{self._path}: is no video that can be decoded; convert it, to .mp4 say")
        return self._video

    def __exit__(self, *_) -> None:
        self._video.release()


def find(words: list, lists: list | None = None) -> tuple:
    """([Source], [notes]) of what the command line names, in its order.

    words     files, folders, patterns, `-`, and @FILE for a list
    lists     files with one of these on each line
    Raises DatasetError for folders, patterns and lists that name nothing, for results that would have one name, and
    where none of the files is there.
    """
    found, notes = [], []
    for word in words:
        if word.startswith(LIST) and not Path(word).exists():
            found += _of_list(Path(word[1:]), notes)
        else:
            found += _of_word(word, notes)
    for file in lists or ():
        found += _of_list(file, notes)
    given = [each.path for each in found]
    if not any(path.is_file() or str(path) == STDIN for path in given):
        missing = [
            f"{path}: is {'there, but no regular file' if path.exists() else 'not there'}" for path in given
        ]
        raise DatasetError(
            f"{listed(missing)}; give pictures, a folder of them, or a pattern such as 'FOLDER/*.png'"
        )
    first = {}
    for source in found:
        for name in source.results():
            if first.setdefault(name, source) is not source:
                raise DatasetError(
                    f"{source.path}: would get the same file as {first[name].path}; segment them into two folders"
                )
    for (
        name,
        source,
    ) in first.items():  # frames are numbered, and a picture may have such a number for its name
        video = next((first[f"{above}/"] for above in _folders_above(name) if f"{above}/" in first), None)
        if video not in (None, source):
            raise DatasetError(
                f"{source.path}: may get the same file as a frame of {video.path}; segment them into two folders"
            )
    return found, notes


def _folders_above(name: str) -> list:
    return [str(folder) for folder in Path(name).parents][:-1]


def _of_word(word: str, notes: list) -> list:
    path = Path(word)
    if word == STDIN:
        return [Source(path, "stdin")]
    if path.is_dir() and path.suffix.lower() not in (*pictures.FORMATS, *VIDEOS):
        return _of_folder(path, notes)
    if not path.exists() and glob.has_magic(word):
        files = [Path(each) for each in sorted(glob.glob(word, recursive=True))]
        files = [
            file for file in files if file.is_file() and file.suffix.lower() in (*pictures.FORMATS, *VIDEOS)
        ]
        if not files:
            raise DatasetError(f"{word}: no picture fits this pattern; look at it with `ls`")
        fixed = Path(*_before_magic(path.parts[:-1]))
        return [Source(file, file.relative_to(fixed).with_suffix("").as_posix()) for file in files]
    return [Source(path, path.stem)]


def _before_magic(parts: tuple) -> list:
    kept = []
    for part in parts:
        if glob.has_magic(part):
            break
        kept.append(part)
    return kept


def _of_folder(folder: Path, notes: list) -> list:
    files = matching.walk(folder, (*pictures.FORMATS, *VIDEOS))
    others = [file for file in folder.rglob("*") if file.suffix.lower() in matching.NO_LABELS]
    others = [file for file in others if file.suffix.lower() not in pictures.FORMATS]
    if not files:
        also = f" ({others[0].name} and the like are of no format that is read)" if others else ""
        raise DatasetError(f"{folder}: is a folder that holds no PNG or JPEG picture and no video{also}")
    if others:
        names = ", ".join(file.name for file in others[:3])
        notes.append(f"{folder}: {len(others)} pictures of formats that are not read were left out ({names})")
    return [Source(file, name) for name, file in files.items()]


def _of_list(file: Path, notes: list) -> list:
    lines = [line.strip() for line in contents.text(file).split("\n")]
    found = [source for line in lines if line for source in _of_word(line, notes)]
    if not found:
        raise DatasetError(f"{file}: names no picture; give a list with one file on each line")
    plain = [source for source in found if source.name == source.path.stem and str(source.path) != STDIN]
    if len({source.name for source in plain}) == len(plain):
        return found
    # files of one name in several folders: their results are told apart by these
    home = os.path.commonpath([source.path.absolute().parent for source in plain])
    return [
        source._replace(name=source.path.absolute().relative_to(home).with_suffix("").as_posix())
        if source in plain
        else source
        for source in found
    ]


def safe(name: str) -> str:
    """A class's name as that of a folder."""
    return re.sub(r"[/\\\x00-\x1f]|^\.+", "_", name)
