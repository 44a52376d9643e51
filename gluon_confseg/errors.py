"""Errors that a user can cause. Each message is one sentence: what, which file, what to do."""

from __future__ import annotations

import difflib


class ConfSegError(Exception):
    """Base of every error that the command line shows as one sentence."""


class DatasetError(ConfSegError):
    """A data set, an image or a label that can't be used."""


class CheckpointError(ConfSegError):
    """A checkpoint that is damaged, or of another network."""


class WeightsError(ConfSegError):
    """A weights file that can't be read, or does not fit the network."""


class RunError(ConfSegError):
    """A run folder or a setting that can't be used."""


class Stopped(KeyboardInterrupt):
    """A signal (SIGINT, SIGTERM, SIGHUP) ended long work after its state was saved; exit status 128 + `signal`."""

    def __init__(self, signal: int):
        super().__init__(signal)
        self.signal = int(signal)


def did_you_mean(name: str, known) -> str:
    """"; did you mean X?" for the known name that is nearest to a misspelt one, "" where none is near."""
    near = difflib.get_close_matches(str(name), [str(k) for k in known], n=1)
    return f"; did you mean {near[0]}?" if near else ""
