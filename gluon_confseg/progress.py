"""A line of progress with the rate and the time left; a terminal redraws it, a log gets plain lines."""

from __future__ import annotations

import itertools
import os
import re
import sys
import time
from collections.abc import Callable
from numbers import Real
from typing import TextIO

from tqdm import tqdm
from tqdm.std import Bar
from tqdm.utils import disp_len

from gluon_confseg.terminal import printable

_send = None  # in a process that works for another one: see `relay`
_numbers = itertools.count()
HALF_LIFE = 30.0  # seconds after which a step counts half in the rate that is shown while work goes on
NARROWEST, WIDEST = 6, 30  # columns of a bar; where fewer are left it is not drawn


class _Bar(tqdm):
    # no watcher thread: it would outlive the bar, and forking a process with threads breaks MXNet
    monitor_interval = 0

    def __init__(self, text: Callable, **settings):
        self._text = text
        super().__init__(**settings)

    def __str__(self) -> str:
        return self._text(self.format_dict["ascii"])


class Progress:
    """Progress of `total` steps: `with Progress("evaluation", 500, "image") as progress: ...`.

    title       what is going on, in a few words; `prefix` goes in front of it ("[3/7] ")
    total       number of steps in all; `initial` of them were done before (a resumed run) and do not count in
                the rate
    unit        what one step is, in the singular
    each        (how many, of what): what one step works on, such as (16, "image"), in which the rate is then given
    whole       (a `WholeRun`, the kind of work that the steps are); the steps are counted there, `initial` as done, and
                the line shows how long the whole run still takes
    brief       this is part of other work: if it took less than `interval` seconds, no line stays on the screen
    stream      where to, stderr if not given; a terminal gets one line with a bar, from which what does not fit is left
                out; anything else gets a plain line every `interval` seconds and one at the end
    """

    def __init__(
        self,
        title: str,
        total: int,
        unit: str = "step",
        stream: TextIO | None = None,
        *,
        prefix: str = "",
        initial: int = 0,
        each: tuple | None = None,
        whole: tuple | None = None,
        brief: bool = False,
        interval: float = 15.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name, self.total, self.unit = printable(prefix + title), int(total), unit
        self.each = each or (1, unit)
        self.stream = sys.stderr if stream is None else stream
        self.done, self.initial, self.interval, self.clock = int(initial), int(initial), interval, clock
        self.figures: dict = {}
        self._whole, self._brief, self._left_of_run = whole, brief, ""
        self._bar: tqdm | None = None
        self._number: int | None = None  # among those that are relayed
        self._began = self._last_line = self._last_step = clock()
        self._seconds = self._recent_steps = self._recent_seconds = (
            0.0  # of steps, without other work between them
        )
        self._ended = False

    def __enter__(self) -> Progress:
        self._began = self._last_line = self._last_step = self.clock()
        if _send is not None:
            settings = {"title": self.name, "total": self.total, "unit": self.unit, "initial": self.initial}
            kind = self._whole[1] if self._whole is not None else None
            self._number = next(_numbers)
            _send("begin", self._number, {**settings, "each": self.each, "brief": self._brief}, kind)
            return self
        if self._whole is not None:
            self._whole[0].drop(self._whole[1], self.initial)
        if self.stream.isatty() and self.total:
            self._bar = _Bar(
                self._drawn,
                total=self.total,
                initial=self.initial,
                file=self.stream,
                leave=not self._brief,
                nrows=24,  # tqdm hides the bar on a terminal that calls itself 0 high
                mininterval=0.2,
            )
        return self

    def update(self, n: int = 1, **figures: float) -> None:
        """Count `n` further steps; `figures` (a loss, a score) are shown behind the rate until they change.

        The time before an update of no steps was other work, such as a validation.
        """
        self.done += n
        if self._number is not None:
            _send("update", self._number, n, figures)
            return
        now = self.clock()
        if n:
            self._count(n, now - self._last_step)
        self._last_step = now
        self.figures.update(figures)
        if self._bar is not None:
            self._bar.update(n)
        elif self.done < self.total and now - self._last_line >= self.interval:
            self._last_line = now
            self._print(f"{self.name}: " + ", ".join(self._parts()))

    def _count(self, n: int, seconds: float) -> None:
        self._seconds += seconds
        kept = 0.5 ** (seconds / HALF_LIFE)
        self._recent_steps = kept * self._recent_steps + n
        self._recent_seconds = kept * self._recent_seconds + seconds
        if self._whole is not None:
            run, kind = self._whole
            run.count(kind, seconds, n)
            self._left_of_run = run.left()

    def __exit__(self, error: object, *_: object) -> None:
        if self._number is not None:
            _send("end", self._number, error is not None)
            return
        self._ended = error is None
        if self._bar is not None:
            self._bar.clear()  # where it was: as the last of several it is drawn again above the others
            self._bar.close()
        elif error is None and (
            not self.total or (self._brief and self.clock() - self._began < self.interval)
        ):
            return
        elif error is None:
            self._print(f"{self.name}: " + ", ".join(self._parts()))
        else:
            self._print(f"{self.name}: stopped at {self.done}/{self.total}")

    def _print(self, line: str) -> None:
        print(line, file=self.stream, flush=True)

    def _parts(self) -> list:
        """What a line says, the most important first."""
        now, made = self.clock(), self.done - self.initial
        steps = f"{self.done}/{self.total} {_plural(self.unit, self.total)}"
        if self._ended:
            found = [f"{steps} in {duration(now - self._began)}", self._pace(made, self._seconds)]
        else:
            elapsed = now - self._began
            left = "time left unknown"
            if made > 0 and elapsed > 0:
                left = duration((self.total - self.done) * elapsed / made) + " left"
            found = [steps, self._share(), left, self._pace(self._recent_steps, self._recent_seconds)]
        figures = _figures(self.figures)
        if self._left_of_run and not self._ended:
            figures.insert(1, f"whole run {self._left_of_run} left")
        return [*filter(None, found), *figures]

    def _share(self) -> str:
        return f"{100 * self.done / max(self.total, 1):.0f} %"

    def _drawn(self, ascii_only: bool) -> str:
        """The line of a terminal: as many parts as fit, and a bar in what is left of its width."""
        room, (text, *parts) = _width(self.stream) - 1, self._parts()
        text = f"{self.name}: {text}"
        for part in parts:
            if disp_len(f"{text}, {part}") > room:
                break
            text = f"{text}, {part}"
        columns = min(WIDEST, room - disp_len(text) - 3)
        if columns < NARROWEST:
            return text
        full = self.done / max(self.total, 1)
        drawn = Bar(min(full, 1.0), default_len=columns, charset=Bar.ASCII if ascii_only else Bar.UTF)
        return f"{self.name} |{drawn}|{text[len(self.name) + 1 :]}"

    def _pace(self, steps: float, seconds: float) -> str:
        if steps <= 0 or seconds <= 0:
            return ""
        number, of = self.each
        rate = number * steps / seconds
        return f"{rate:.3g} {_plural(of, 2)}/s" if rate >= 1 else f"{1 / rate:.3g} s per {of}"


class WholeRun:
    """Estimates how long a run still takes from the time of its parts so far.

    work     {kind: units to do}; the units of a kind take about the same time each
    weights  {kind: relative time of one unit}, to estimate a kind that has not begun from the others
    later    (work of the same kinds after this run, how many processes will share that)
    at_once  how many processes share the work now; each counts the time of its own units
    """

    def __init__(self, work: dict, weights: dict | None = None, later: tuple | None = None):
        self._left, self._weights = dict(work), weights or {}
        self._later, self._processes = later or ({}, 1)
        self._seconds, self._units, self.at_once = {}, {}, 1

    def scale(self, factor: float) -> None:
        """From here on the same work takes so many times as long."""
        self._seconds = {kind: seconds * factor for kind, seconds in self._seconds.items()}

    def drop(self, kind, units: float) -> None:
        """Count work as done that was done before, without its time."""
        self._left[kind] = max(0, self._left.get(kind, 0) - units)

    def count(self, kind, seconds: float, units: float = 1) -> None:
        """Count finished work and the time that it took."""
        self.drop(kind, units)
        self._seconds[kind] = self._seconds.get(kind, 0.0) + seconds / self.at_once
        self._units[kind] = self._units.get(kind, 0.0) + units

    def left(self) -> str:
        """ "about 9 min", or "" where nothing was measured yet."""
        if not self._units:
            return ""
        worth = sum(self._units[kind] * self._weights.get(kind, 1) for kind in self._units)
        each = sum(self._seconds.values()) / max(worth, 1e-9)
        seconds = sum(units * self._rate(kind, each) for kind, units in self._left.items())
        later = sum(units * self._rate(kind, each) for kind, units in self._later.items())
        seconds += later * self.at_once / self._processes  # a rate is that of all processes together
        minutes = round(seconds / 60)
        if minutes >= 60:
            return f"about {minutes // 60} h {minutes % 60:02d} min"
        return f"about {minutes} min" if minutes else "under a minute"

    def _rate(self, kind, each: float) -> float:
        if kind in self._units:
            return self._seconds[kind] / self._units[kind]
        return each * self._weights.get(kind, 1)


def say(sentence: str) -> None:
    """Print one line to stderr, for the person who waits; a bar that is there moves below it."""
    if _send is not None:
        _send("say", sentence)
        return
    with _Bar.external_write_mode(file=sys.stderr):
        print(printable(sentence), file=sys.stderr, flush=True)


def relay(send: Callable | None) -> None:
    """From now on this process shows nothing: what `say` and `Progress` are told goes to `send`; None: it shows again.

    In the process that the messages are for, `Relayed.show` takes the arguments of each call of `send`.
    """
    global _send
    _send = send


class Relayed:
    """Shows the lines and the progress of another process.

    name    goes in front of what does not hold it: the phase that the process trains
    whole   the `WholeRun` that its steps are counted in
    """

    def __init__(self, name: str, whole: WholeRun):
        self._name, self._whole, self._shown = name, whole, {}

    def show(self, kind: str, *content) -> None:
        """One message: ("say", sentence), ("begin", number, settings, kind), ("update", number, steps, figures) or
        ("end", number, whether an error ended it)."""
        if kind == "say":
            say(self._named(content[0]))
        elif kind == "begin":
            number, settings, work = content
            settings = {**settings, "title": self._named(settings["title"])}
            shown = Progress(**settings, whole=(self._whole, work) if work is not None else None)
            self._shown[number] = shown.__enter__()
        elif kind == "update":
            number, steps, figures = content
            self._shown[number].update(steps, **figures)
        else:
            number, failed = content
            self._shown.pop(number).__exit__(RuntimeError if failed else None)

    def close(self) -> None:
        """The process ended: what it did not end was stopped."""
        while self._shown:
            self._shown.popitem()[1].__exit__(RuntimeError)

    def _named(self, text: str) -> str:
        return text if re.search(rf"\b{re.escape(self._name)}\b", text) else f"{self._name}: {text}"


def duration(seconds: float) -> str:
    """Seconds as a person says them: "45 s", "3 min 05 s", "2 h 10 min"."""
    whole = round(max(seconds, 0.0))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def _width(stream: TextIO) -> int:
    """Columns of a terminal; 80 for a terminal that reports 0, as in some containers."""
    try:
        return os.get_terminal_size(stream.fileno()).columns or 80
    except (OSError, ValueError):
        return 80


def _plural(unit: str, count: int) -> str:
    if count == 1 or not unit:
        return unit
    return unit + ("es" if unit.endswith(("ch", "sh", "s", "x")) else "s")


def _figures(figures: dict) -> list:
    shown = {name: f"{value:.4g}" if isinstance(value, Real) else value for name, value in figures.items()}
    return [printable(f"{name} {value}") for name, value in shown.items()]
