"""Seconds that a step of a phase takes, measured with the training loop itself on a run that stays as it is."""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import io
import statistics
import time
from collections.abc import Callable

from ..progress import WholeRun
from ..run_folder import Position

# steps of a phase that are measured, without and with a clock
WARM_UP, TIMED = 2, 5


class _Enough(BaseException):
    """Enough steps were measured."""


class Stopwatch:
    """Stands in for the run folder where steps of a phase are measured: it reads the run, and writes nothing.

    warm   called after the steps of the warm-up
    """

    tensorboard = False

    def __init__(self, folder, warm: Callable):
        self._folder, self._warm, self._moments, self._made = folder, warm, [], 0
        self.checkpoint, self.training_matrix = folder.checkpoint, folder.training_matrix
        self.statistics = folder.statistics

    def finished(self, phase: str) -> bool:
        """The phase is to be trained."""
        return False

    def resume(self, phase: str, network, trainer) -> Position:
        """From the beginning."""
        return Position()

    def save_if_due(self, phase: str, at: Position, network, trainer) -> None:
        """A step was made."""
        self._made += 1
        if self._made == WARM_UP:
            self._warm()
        if self._made >= WARM_UP:
            self._moments.append(time.monotonic())
        if self._made == WARM_UP + TIMED:
            raise _Enough

    def save(self, *_, **__) -> None:
        """Nothing is saved."""

    log = save_best = save_evaluation = events = save

    def seconds(self) -> float:
        """The median time of a step."""
        return statistics.median(b - a for a, b in zip(self._moments, self._moments[1:]))


def time_steps(complete: Callable, job, phase, folder, warm: Callable = lambda: None) -> float:
    """Seconds that a step of a phase takes in this process; the run stays as it is, and nothing is shown."""
    # a phase of few steps an epoch would validate in between, for nobody
    job = dataclasses.replace(job, recipe=dataclasses.replace(job.recipe, validate_every=0))
    stopwatch = Stopwatch(folder, warm)
    with contextlib.redirect_stderr(io.StringIO()), contextlib.suppress(_Enough):
        complete(job, phase, stopwatch, WholeRun({}))
    gc.collect()
    return stopwatch.seconds()
