"""TensorBoard event files of a phase: a training that goes on continues their curves without a doubled or lost step.

`tensorboard --logdir RUN/tensorboard` shows them, each phase as a run of its own. tensorboardX, an extra, writes their
records. Its `SummaryWriter` is not used: that one has a thread, and MXNet does not survive a fork of a process with
threads, which the readers of the data are.
"""

from __future__ import annotations

import contextlib
import os
import struct
import time
from collections.abc import Iterator
from pathlib import Path

from .errors import RunError

NAME = "events.out.tfevents."  # TensorBoard takes every file with "tfevents" in its name, in the order of the names
OF_STEPS = "training/"  # what single steps say begins so; all else is said of an epoch, when it ends
FLUSHED = 2.0  # seconds after which what was written can be read by others


def check() -> None:
    """Raises RunError, one sentence, where tensorboardX is not installed."""
    _library()


class Events:
    """Adds to the event files of one phase, which are in a folder of their own.

    steps    updates that the saved state has, from which the training goes on
    closed   how many of them were made in epochs that have ended
    What an earlier process wrote after these is removed, since it comes again.
    missing  whether earlier steps were trained without event files, so that the curves have a gap
    """

    def __init__(self, folder, steps: int = 0, closed: int = 0):
        self._events, records = _library()
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        number = 1 + max((int(file.suffix[1:]) for file in _files(self.folder)), default=0)
        self.missing = _cut(self.folder, steps, closed) < steps
        # never a file again that was cut: a TensorBoard that watches it would go on in the middle of a record
        self._path = self.folder / f"{NAME}{number:06d}"
        self._writer, self._flushed = records.RecordWriter(str(self._path)), 0.0
        self._write(file_version="brain.Event:2")
        # a TensorBoard that has read what was cut drops it now
        start = self._events.SessionLog(status=self._events.SessionLog.START)
        self._write(step=steps + 1, session_log=start)

    def add(self, step: int, numbers: dict, pictures: dict | None = None) -> None:
        """What is to be seen after so many updates.

        numbers    tag -> number; the part of a tag before its first "/" is the section that TensorBoard shows it in
        pictures   tag -> (height, width, PNG)
        """
        from tensorboardX.proto.summary_pb2 import Summary

        values = [Summary.Value(tag=tag, simple_value=float(number)) for tag, number in numbers.items()]
        for tag, (height, width, png) in (pictures or {}).items():
            image = Summary.Image(height=height, width=width, colorspace=3, encoded_image_string=png)
            values.append(Summary.Value(tag=tag, image=image))
        self._write(step=step, summary=Summary(value=values))

    def _write(self, **content) -> None:
        with self._named():
            self._writer.write(self._events.Event(wall_time=time.time(), **content).SerializeToString())
            if time.monotonic() - self._flushed >= FLUSHED:
                self._writer.flush()
                self._flushed = time.monotonic()

    def sync(self) -> None:
        """Bring all to the disk: before a state is saved that counts on it."""
        with self._named():
            self._writer.flush()
            with open(self._path, "rb") as file:
                os.fsync(file.fileno())

    def close(self) -> None:
        """Nothing more comes."""
        with self._named():
            self._writer.close()

    @contextlib.contextmanager
    def _named(self):
        try:
            yield
        except OSError as error:  # a full disk's does not say which file
            error.filename = str(self._path)
            raise


def read(folder) -> list:
    """All records of a phase's event files, as tensorboardX's `Event`s in their order."""
    return [event for file in _files(Path(folder)) for _, event in _records(file.read_bytes())]


def _files(folder: Path) -> list:
    return sorted(file for file in folder.glob(f"{NAME}*") if file.suffix[1:].isdigit())


def _cut(folder: Path, steps: int, closed: int) -> int:
    """Remove what comes after a state from all files; returns the last step that is left."""
    last = 0
    for file in _files(folder):
        content, end, holds = file.read_bytes(), 0, False
        for after, event in _records(content):
            if _is_later(event, steps, closed):
                break
            end, holds = after, holds or bool(event.summary.value)
            last = max(last, event.step if event.summary.value else 0)
        if not holds:
            file.unlink()
        elif end < len(content):
            os.truncate(file, end)
    return last


def _is_later(event, steps: int, closed: int) -> bool:
    if not event.summary.value:
        return False
    of_step = event.summary.value[0].tag.startswith(OF_STEPS)
    return event.step > (steps if of_step else closed)


def _records(content: bytes) -> Iterator[tuple]:
    """(where it ends, event) of each record; what follows one that a kill cut short is left out."""
    from google.protobuf.message import DecodeError
    from tensorboardX.record_writer import masked_crc32c

    place, (events, _) = 0, _library()
    while place + 12 <= len(content):
        size, checksum = struct.unpack_from("<QI", content, place)
        end = place + 12 + size + 4
        if masked_crc32c(content[place : place + 8]) != checksum or end > len(content):
            return
        try:
            event = events.Event.FromString(content[place + 12 : end - 4])
        except DecodeError:
            return
        yield end, event
        place = end


def _library() -> tuple:
    try:
        from tensorboardX import record_writer
        from tensorboardX.proto import event_pb2
    except ImportError as error:
        raise RunError(
            "TensorBoard event files need tensorboardX, which is not installed: "
            "pip install tensorboardX (in a checkout: make setup-tensorboard), or leave --tensorboard out"
        ) from error
    return event_pb2, record_writer
