"""Errors that a user can cause. Each message is one sentence: what, which file, what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

from .terminal import printable


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


class DivergedError(RunError, CheckpointError):
    """A training whose loss, or whose network, is not finite any more."""


class Stopped(KeyboardInterrupt):
    """A signal (SIGINT, SIGTERM, SIGHUP) ended long work; the exit status is 128 + `signal`."""

    def __init__(self, signal: int):
        super().__init__(signal)
        self.signal = int(signal)


def nearest(name: str, known: Iterable[str], alike: float = 0.6) -> str | None:
    """The name in `known` that is most similar to a misspelt one, in upper or lower case; None if none is similar.

    alike   the least similarity that counts, from 0 to 1, as `difflib` measures it
    """
    spelt = {each.lower().replace("-", "_"): each for each in known}
    found = difflib.get_close_matches(name.lower().replace("-", "_"), spelt, n=1, cutoff=alike)
    return spelt[found[0]] if found else None


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The end of a sentence on an unknown name: "; did you mean X?", or "" where no known name is similar."""
    found = nearest(name, known)
    return f"; did you mean {found}?" if found else ""


def class_of(name: str, classes: Sequence[str]) -> int:
    """The index of a class, whose letters may be of the other case; RunError names the nearest, or lists all."""
    if name not in classes:
        alike = [known for known in classes if known.casefold() == name.casefold()]
        if len(alike) != 1:
            instead = did_you_mean(name, classes) or f"; the classes are {', '.join(classes)}"
            raise RunError(f"there is no class {name!r}{instead}")
        name = alike[0]
    return list(classes).index(name)


def plain(found) -> str:
    """What a file says, a name or a library's complaint, in a message: short, on one line, without control codes."""
    text = " ".join(str(found).split())
    return printable(text if len(text) <= 160 else f"{text[:157]}...")
