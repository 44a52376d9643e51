"""The run folder of a training by several processes: that of rank 0 writes it and reads it for all."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from . import files
from .distributed import Communicator
from .errors import RunError
from .parallel import Parallel
from .run_folder import Position, RunFolder


def open_folder(
    communicator: Communicator, path, config: dict, save_every: float, *, tensorboard: bool = False
):
    """The run folder of a training: a `RunFolder`, or what stands for it in every one of several processes.

    Raises RunError as `RunFolder` does, and where the processes have other data or settings than rank 0.
    """
    if communicator.size == 1:
        return RunFolder(path, config, save_every, tensorboard=tensorboard)
    for rank, other in enumerate(communicator.allgather(config)):
        if other != config:
            keys = [key for key in config if other.get(key) != config[key]] or sorted(
                set(other) - set(config)
            )
            raise RunError(
                f"rank {rank} has other {'images, labels or classes' if keys == ['images'] else ', '.join(keys)} than "
                f"rank {communicator.rank}; give all processes the same command and the same data"
            )
    opened = None

    def at_root() -> None:
        nonlocal opened
        opened = RunFolder(path, config, save_every, tensorboard=tensorboard)

    communicator.from_root(at_root)
    return FolderOfRoot(opened, config, communicator, tensorboard)


class FolderOfRoot:
    """The run folder as all processes of a training see it: the process of rank 0 has it, the others ask.

    Every process calls the same methods in the same order. Rank 0 reads and writes; what it reads, or the error that it
    meets, is sent to the others. Rank 0 alone returns from `events` with something to write to.
    """

    SENT = (
        "finished", "begun", "given_up", "training_matrix", "statistics", "matrices", "evaluation", "predictions",
        "made_with", "logged",
    )  # fmt: skip
    OF_ROOT = (
        "save", "save_if_due", "save_best", "finish", "log", "give_up", "save_matrices", "save_evaluation",
        "save_predictions", "save_examples", "write", "add_time", "events",
    )  # fmt: skip

    def __init__(self, folder: RunFolder | None, config: dict, communicator: Communicator, tensorboard: bool):
        self._folder, self._communicator = folder, communicator
        self._config, self._tensorboard = config, tensorboard

    def __getattr__(self, name: str):
        if name in self.SENT:
            return lambda *given: self._communicator.from_root(lambda: getattr(self._folder, name)(*given))
        if name in self.OF_ROOT:
            return getattr(self._folder, name) if self._folder is not None else _nothing
        raise AttributeError(name)

    @property
    def sharing(self) -> str:
        """As that of `RunFolder`."""
        return self._folder.sharing if self._folder is not None else ""

    @sharing.setter
    def sharing(self, words: str) -> None:
        if self._folder is not None:
            self._folder.sharing = words

    def matrix_name(self, phase: str) -> str:
        """As `RunFolder.matrix_name`."""
        return RunFolder.matrix_name(self, phase)

    @property
    def config(self) -> dict:
        """The run's configuration."""
        return self._config

    @property
    def path(self) -> Path | None:
        """Where it is, at rank 0."""
        return self._folder.path if self._folder is not None else None

    @property
    def tensorboard(self) -> bool:
        """Whether rank 0 writes event files."""
        return self._tensorboard

    def checkpoint(self, phase: str) -> Path:
        """As `RunFolder.checkpoint`; the other processes than rank 0 find nothing there."""
        return self._folder.checkpoint(phase) if self._folder is not None else Path(f"rank 0/{phase}.npz")

    def resume(self, phase: str, network, trainer) -> Position:
        """As `RunFolder.resume`; in the other processes network and trainer stay as they are: see `Trainee.spread`."""
        return self._communicator.from_root(lambda: self._folder.resume(phase, network, trainer))


def _nothing(*_, **__) -> None:
    return None


def read_everywhere(path, parallel: Parallel, read: Callable):
    """`read(path)` of a file that rank 0 has, in every process."""
    if parallel.communicator.size == 1:
        return read(path)
    content = parallel.communicator.from_root(lambda: Path(path).read_bytes())
    if parallel.is_root:
        return read(path)
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / Path(path).name
        files.write_bytes(copy, content)
        return read(copy)
