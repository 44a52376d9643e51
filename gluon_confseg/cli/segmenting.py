"""What `confseg predict` writes of a picture: class ids, colours, probabilities, and maps of what is confused."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from gluon_confseg import files, png_writer
from gluon_confseg.cli import sources
from gluon_confseg.datasets.photograph import Photograph
from gluon_confseg.drawing import DRAWN
from gluon_confseg.labels import IGNORE, LabelSpace
from gluon_confseg.segmenter import Planes

KINDS = ("ids", "raw", "colours", "overlay", "panels", "probabilities", "confusion")
_BAND = 64  # rows that are drawn and compressed at once


class Written(NamedTuple):
    """What is to be written.

    kinds       some of `KINDS`, in the order in which they are reported
    chosen      classes whose probabilities are written
    close       the difference of two probabilities below which a pixel counts as confused
    """

    kinds: tuple
    chosen: tuple
    close: float

    @property
    def wants_rivals(self) -> bool:
        """Whether the second best class is needed."""
        return "confusion" in self.kinds

    def bytes_of_pixel(self) -> int:
        """What a pixel takes until its files are written: the picture, its classes, and planes of a byte each."""
        return 3 + 1 + len(self.chosen) + self.wants_rivals

    def files(self, out: Path, name: str, labels: LabelSpace) -> dict:
        """Kind -> the file of a picture's results; of probabilities class -> file."""
        found = {kind: out / kind / f"{name}.png" for kind in self.kinds if kind != "probabilities"}
        if "probabilities" in self.kinds:
            folder = out / "probabilities"
            found["probabilities"] = {
                labels.classes[k]: folder / sources.safe(labels.classes[k]) / f"{name}.png"
                for k in self.chosen
            }
        return found


def write(
    out: Path,
    source: str,
    name: str,
    photograph: Photograph,
    planes: Planes,
    labels: LabelSpace,
    wanted: Written,
) -> dict:
    """Write a picture's files; returns what was written, what to know of it, and the share of each class."""
    height, width = planes.classes.shape
    targets = wanted.files(out, name, labels)
    for kind, target in targets.items():
        if kind == "probabilities":
            for k, file in zip(wanted.chosen, target.values()):
                _write_png(
                    file, planes.probabilities[k].shape, 1, lambda rows, k=k: planes.probabilities[k][rows]
                )
            continue
        draw, channels, times = DRAWN[kind]
        _write_png(
            target,
            (height, width * times),
            channels,
            lambda rows, draw=draw: draw(photograph.pixels, planes, labels, rows),
        )
    counts = sum(
        np.bincount(planes.classes[rows].ravel(), minlength=labels.num_classes) for rows in _bands(height)
    )
    about = {"image": source, "name": name, "width": width, "height": height}
    for kind, target in targets.items():
        about[kind] = str(target) if kind != "probabilities" else {k: str(file) for k, file in target.items()}
    about.update(
        notes=photograph.notes(), shares=(counts / planes.classes.size).tolist(), windows=planes.windows
    )
    if wanted.wants_rivals:
        about["confused"] = confused(planes, labels)
    return about


def confused(planes: Planes, labels: LabelSpace) -> dict:
    """{"share": of the pixels, "pairs": [{"classes", "share"}, ...]}, those of most pixels first."""
    count, found = labels.num_classes, 0
    for rows in _bands(len(planes.classes)):
        close = planes.rivals[rows] != IGNORE
        one, other = planes.classes[rows][close], planes.rivals[rows][close]
        joined = np.minimum(one, other).astype(np.intp) * count + np.maximum(one, other)
        found = found + np.bincount(joined, minlength=count * count)
    pairs = [
        {
            "classes": [labels.classes[k] for k in divmod(int(pair), count)],
            "share": found[pair] / planes.classes.size,
        }
        for pair in np.argsort(-found, kind="stable")
        if found[pair]
    ]
    return {"share": int(found.sum()) / planes.classes.size, "pairs": pairs}


def _bands(height: int) -> Iterator[slice]:
    """Rows that are worked on at once: NumPy's sums take eight times as much memory as the bytes that they count."""
    for first in range(0, height, _BAND):
        yield slice(first, min(first + _BAND, height))


def _write_png(file: Path, size: tuple, channels: int, draw: Callable) -> None:
    def bands() -> Iterator[np.ndarray]:
        for rows in _bands(size[0]):
            yield draw(rows)

    files.write_parts(file, png_writer.parts(*size, channels, bands()))
