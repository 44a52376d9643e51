"""A trained network behind one door: pictures in, classes or probabilities out, whatever file the network is in.

`backends` runs it; here a picture is cut into windows that fit into memory.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from gluon_confseg import demo, trained, windows
from gluon_confseg.backends import Onnx, Symbol, Trained, exported_in, symbol_of
from gluon_confseg.dry_run import memory as process_memory
from gluon_confseg.errors import DatasetError, RunError
from gluon_confseg.inference import PLAIN, Inference
from gluon_confseg.labels import IGNORE
from gluon_confseg.side_by_side.free_memory import available

_NO_RIVAL = IGNORE
_SHARE_OF_FREE = 0.8  # of the memory that is free when a network is opened
_PROBED = (320, 640)  # sides of the pictures on which memory is measured
_MARGIN, _RESERVE = 1.3, 64 << 20  # on top of what was measured: for each pixel, and in all


def open_network(
    path, *, rule: str | None = None, memory: int | None = None, inference: Inference | None = None
) -> Segmenter:
    """The network of a file, on the default device; .onnx files run on the CPU.

    path        a checkpoint; the folder of a finished run, for its best network; the word demo; what `confseg export`
                wrote: the prefix of the graph, one of its files, an .onnx file, or a folder that holds one of these
    rule        the fusion rule; None: the one that the network was trained for. That of an exported network is fixed
    memory      bytes that the process may take; None: what is free on the machine. Larger pictures are cut into windows
    inference   the views that are averaged, of a checkpoint alone; None: the whole picture at its own size
    Raises CheckpointError, RunError or DatasetError, one sentence each, for what is no network or is damaged.
    """
    path, inference = Path(path), inference or PLAIN
    if str(path) == demo.WORD and not path.exists():
        path = demo.NETWORK
    path = exported_in(path) or path
    if path.suffix.lower() == ".onnx":
        kind = Onnx
    elif symbol_of(path).is_file():
        kind = Symbol
    else:
        # it has the sentences for all that is no checkpoint
        inference.check()
        return Segmenter(Trained(*trained.chosen(path, rule), inference), memory, inference)
    if rule is not None:
        raise RunError(f"{path}: its fusion rule was fixed when it was exported; leave out --rule")
    if not inference.is_plain:
        raise RunError(
            f"{path}: an exported network sees a picture once, as it is; leave out --flip, --scales, --window, "
            "--bicubic and --crf, or give the checkpoint"
        )
    return Segmenter(kind(path), memory, inference)


class Planes(NamedTuple):
    """What a network says of a picture, a byte for each pixel and plane.

    classes         (H, W) uint8, the class of the largest probability
    probabilities   class -> (H, W) uint8, its probability times 255
    rivals          (H, W) uint8, the class of the second largest probability where the two are of one group and close,
                    255 elsewhere; None where it was not asked for
    windows         into how many windows the picture was cut
    """

    classes: np.ndarray
    probabilities: dict
    rivals: np.ndarray | None
    windows: int


class Segmenter:
    """A network that segments pictures, (H, W, 3) uint8 RGB of any size; it works for one thread at a time.

    labels               its classes, their colours, and the ids of label files: a `LabelSpace`
    groups               lists of indices of classes, one for each further subnet
    title                one line of words
    record               the same for programs, as JSON holds it
    gives_probabilities  False for an .onnx file that was exported with --pictures: it gives classes alone
    memory               bytes that the process may take, None where nobody knows or bounds them

    A picture that does not fit in `memory` is cut into windows (`windows`). All methods raise RunError for a picture
    for which even the smallest window does not fit.
    """

    def __init__(self, network, memory: int | None = None, inference: Inference = PLAIN):
        self._network, self.inference = network, inference
        self.labels, self.title, self.record = network.labels, network.title, network.record
        self.groups = [list(group) for group in network.groups]
        self.gives_probabilities = network.gives_probabilities
        self._lock = threading.RLock()
        self._of_one_group = np.zeros((self.labels.num_classes,) * 2, bool)
        for group in self.groups:
            self._of_one_group[np.ix_(group, group)] = True
        self._needs = None
        self._asked, self.memory = memory is not None, memory
        if memory is None and not network.on_gpu:
            free = min(available(), default=None)
            self.memory = None if free is None else resident() + int(_SHARE_OF_FREE * free)
        if self._asked and network.on_gpu:
            raise RunError(
                "--memory counts main memory, and this network runs on a GPU; give --window H W there"
            )
        if self._asked and not resident():
            raise RunError("--memory is measured on Linux alone; leave it out, or give --window H W")

    def classes(self, picture: np.ndarray) -> np.ndarray:
        """(H, W, 3) -> (H, W) uint8, the class of the largest probability."""
        return self.classes_of_batch([picture])[0]

    def classes_of_batch(self, pictures: Sequence) -> list:
        """Pictures of one size -> (H, W) uint8 each."""
        pictures = [_checked(picture) for picture in pictures]
        if not pictures:
            return []
        if len({picture.shape for picture in pictures}) > 1:
            raise DatasetError("a batch holds pictures of several sizes; give those of one size together")
        height, width = pictures[0].shape[:2]
        with self._lock:
            if len(self.windows(len(pictures) * height, width)) > 1:
                return [self.planes(picture).classes for picture in pictures]
            return list(self._network.classes(np.stack(pictures)))

    def probabilities(self, picture: np.ndarray) -> np.ndarray:
        """(H, W, 3) -> (K, H, W) float32. Raises RunError for a network that gives classes alone.

        The result itself is of the whole picture, whatever `memory` is.
        """
        self.need_probabilities()
        picture = _checked(picture)
        height, width = picture.shape[:2]
        result = np.empty((self.labels.num_classes, height, width), np.float32)
        with self._lock:
            for window in self.windows(height, width, result.nbytes):
                found = self._network.both(picture[window.seen])[1]
                result[(slice(None), *window.kept)] = found[(slice(None), *window.inside)]
        return result

    def planes(
        self, picture: np.ndarray, chosen: Sequence = (), close: float | None = None, cut: list | None = None
    ) -> Planes:
        """(H, W, 3) -> its classes and what else is asked for, without ever holding all probabilities of a large one.

        chosen      classes whose probabilities are wanted
        close       below which difference of the two largest probabilities a pixel has a rival; None: rivals are not
                    wanted
        cut         its `windows`, where they are known already
        Raises RunError where probabilities are needed and the network has none.
        """
        picture = _checked(picture)
        size, more = picture.shape[:2], close is not None or len(chosen) > 0
        if more:
            self.need_probabilities()
        classes, rivals = np.empty(size, np.uint8), None if close is None else np.empty(size, np.uint8)
        probabilities = {k: np.empty(size, np.uint8) for k in chosen}
        with self._lock:
            cut = cut or self.windows(*size)
            for window in cut:
                if not more:
                    found = self._network.classes(picture[window.seen][None])[0]
                    classes[window.kept] = found[window.inside]
                    continue
                found, scores = self._network.both(picture[window.seen])
                found, scores = found[window.inside], scores[(slice(None), *window.inside)]
                classes[window.kept] = found
                for k, plane in probabilities.items():
                    plane[window.kept] = np.clip(np.rint(255 * scores[k]), 0, 255)
                if close is not None:
                    rivals[window.kept] = self._rivals(found, scores, close)
        return Planes(classes, probabilities, rivals, len(cut))

    def windows(self, height: int, width: int, held: int = 0) -> list:
        """The windows in which a picture of this size is segmented.

        held        bytes that it takes beside the network, in whatever its caller makes of it
        """
        if self.memory is None or (self._needs is None and not self.must_measure(height, width, held)):
            return windows.cut(height, width, height * width)
        base, fixed, each = self.needs()
        pixels = int((self.memory - base - fixed - held) / each)
        try:
            return windows.cut(height, width, pixels)
        except ValueError:
            least = base + fixed + held + each * windows.LEAST**2
            raise RunError(
                f"a picture of {width} x {height} needs {least / 2**20:,.0f}M of memory at least, where "
                f"{'--memory allows' if self._asked else 'this machine has'} {self.memory / 2**20:,.0f}M"
            ) from None

    def must_measure(self, height: int, width: int, held: int = 0) -> bool:
        """Whether `windows` will have to measure the network first, since the picture is not small by any estimate."""
        unknown = self.memory is not None and self._needs is None
        return unknown and not self._surely_fits(height * width, held)

    def room(self) -> int | None:
        """Bytes that are left for pictures and for the network's work; None where nothing bounds them."""
        if self.memory is None:
            return None
        return self.memory - (self._needs[0] if self._needs else resident())

    def takes(self, height: int, width: int, cut: list, held: int = 0) -> int:
        """Bytes that the network may take for a picture, which holds so many itself, in these windows."""
        if self.memory is None:
            return 0
        if self._needs is None:
            return height * width * self._estimate()
        base, fixed, each = self._needs
        return int(fixed + each * height * width) if len(cut) == 1 else self.memory - base - held

    def needs(self) -> tuple:
        """(base, fixed, each): bytes of the process as it is, of a run of the network, and of each pixel in it.

        Measured once, by the peaks of small runs of two sizes, with a reserve; an upper estimate where no peak is told.
        """
        with self._lock:
            if self._needs is None:
                self._needs = self._measured()
            return self._needs

    def need_probabilities(self) -> None:
        """Raises RunError for a network that gives classes alone."""
        if not self.gives_probabilities:
            raise RunError(
                f"{self.record['file']}: was exported with --pictures and gives classes alone, no probabilities; "
                "export it without --pictures, or give the checkpoint"
            )

    def _rivals(self, classes: np.ndarray, scores: np.ndarray, close: float) -> np.ndarray:
        """(h, w) classes and (K, h, w) probabilities, which are changed -> `Planes.rivals`."""
        from gluon_confseg import engine

        best = np.take_along_axis(scores, classes[None].astype(np.intp), 0)[0]
        np.put_along_axis(scores, classes[None].astype(np.intp), -np.inf, 0)
        second = engine.largest_class(scores[None])[0]
        lead = best - np.take_along_axis(scores, second[None].astype(np.intp), 0)[0]
        return np.where(self._of_one_group[classes, second] & (lead < close), second, _NO_RIVAL)

    def _surely_fits(self, pixels: int, held: int) -> bool:
        """Whether a picture fits by an estimate that is too high for any network: most are small."""
        return resident() + held + pixels * self._estimate() <= self.memory

    def _estimate(self) -> int:
        """Bytes of each pixel in a run: more than the features of any encoder here, and all scores several times."""
        return 8192 + 24 * self.labels.num_classes

    def _measured(self) -> tuple:
        # also the largest window of --window, which fills up small pictures
        least = max(_PROBED[0], *(self.inference.window or (0,)))
        sides = [least, least * _PROBED[1] // _PROBED[0]]
        self._probe(sides[0], sides[0])  # what the first run makes once
        self._probe(64, 64)
        if not process_memory.restart():
            return resident(), _RESERVE, self._estimate()
        base, peaks = resident(), []
        for side in sides:
            process_memory.restart()
            # windows at a picture's edges are smaller, and a graph may hold two sizes' memory at a time
            for height, width in ((side, side), (side - 32, side), (side, side - 32)):
                self._probe(height, width)
            peaks.append(process_memory.peak() - base)
        areas = [side * side for side in sides]
        each = max(64.0, (peaks[1] - peaks[0]) / (areas[1] - areas[0]))
        fixed = max(0.0, peaks[0] - each * areas[0])
        return base, int(fixed) + _RESERVE, _MARGIN * each

    def _probe(self, height: int, width: int) -> None:
        picture = np.random.RandomState(height).randint(0, 256, (height, width, 3)).astype(np.uint8)
        if not self.gives_probabilities:
            self._network.classes(picture[None])
            return
        found, scores = self._network.both(picture)  # more than the classes alone
        self._rivals(found, scores, 1.0)


def resident() -> int:
    """Bytes that this process holds; 0 where the system does not say."""
    try:
        return process_memory.now()
    except RunError:
        return 0


def _checked(picture: np.ndarray) -> np.ndarray:
    picture = np.asarray(picture)
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3 or not picture.size:
        raise DatasetError(
            f"a picture of the shape {picture.shape} and type {picture.dtype} can't be segmented: give (H, W, 3) uint8"
        )
    return picture
