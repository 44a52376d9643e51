"""Runs the sides of a row: each a process of its own that is started once, and then they take turns, round by round."""

from __future__ import annotations

import dataclasses
import json
import os
import select
import subprocess
import sys
import time

from gluon_confseg.errors import RunError

from .. import PROJECT

HERE = PROJECT / "experiments" / "benchmarks"
PEERS = PROJECT / ".venv-bench" / "bin" / "python"
SETTLE = 0.3  # seconds between turns: OpenMP's threads spin on for a while after their work
START_LIMIT = 300.0  # seconds to prepare and warm up
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclasses.dataclass(frozen=True)
class Side:
    """One side of a row.

    name       what the tables call it
    program    a module of this folder: `ours_*` runs in this environment, `peers_*` in .venv-bench
    settings   what its program is given; "work" says what it does
    threads    how many it may use
    limit      seconds after which a round, or the warm-up, is given up
    """

    name: str
    program: str
    settings: dict
    threads: int = 2
    limit: float = START_LIMIT

    @property
    def is_peer(self) -> bool:
        """Whether it needs .venv-bench."""
        return self.program.startswith("peers_")


@dataclasses.dataclass
class Measured:
    """A side's rounds. seconds: [] if it went over its limit, which `over` then is. held_mib: before its work."""

    seconds: list = dataclasses.field(default_factory=list)
    peak_mib: list = dataclasses.field(default_factory=list)
    over: float | None = None
    held_mib: float | None = None


@dataclasses.dataclass
class Outcome:
    """What `measure` finds: sides by name, the facts that they share, the versions of the libraries in use."""

    sides: dict
    facts: dict
    versions: dict


def measure(sides: list, rounds: int, *, same_work: bool = True) -> Outcome:
    """Time all sides, a round of each in turn.

    same_work   whether the sides do the same work, so that their facts must agree; if not, none are given back
    Raises RunError for a side that fails, and for sides whose facts differ: then they do not do the same work.
    """
    running = {side.name: _Process(side) for side in sides}
    try:
        facts, versions = {}, {}
        found = {name: Measured() for name in running}
        for name, process in running.items():
            answer = process.answer()
            if answer is None:
                found[name].over = process.side.limit
                continue
            facts[name] = answer["facts"]
            found[name].held_mib = answer["held_mib"]
            if process.side.is_peer:
                answer["versions"].pop("python")  # it would hide ours
            versions.update(answer["versions"])
        shared = check_same(facts) if same_work else {}
        for _ in range(rounds):
            for name, process in running.items():
                if found[name].over is not None:
                    continue
                time.sleep(SETTLE)
                answer = process.round()
                if answer is None:
                    found[name] = Measured(over=process.side.limit)
                    continue
                found[name].seconds.append(answer["seconds"])
                found[name].peak_mib.append(answer["peak_mib"])
        return Outcome(found, shared, versions)
    finally:
        for process in running.values():
            process.end()


def check_same(facts: dict) -> dict:
    """All facts of side -> {fact: number or list of numbers}; RunError unless those that two sides state are the same.

    Whole numbers are the same if they are equal, others if they differ by less than a part in a thousand.
    """
    stated: dict = {}
    for side, known in facts.items():
        for fact, value in known.items():
            first, expected = stated.setdefault(fact, (side, value))
            if not _close(expected, value):
                raise RunError(
                    f"{first} and {side} do not do the same work: {fact} is {expected} and {value}"
                )
    return {fact: value for fact, (_, value) in stated.items()}


def _close(expected, value) -> bool:
    if isinstance(expected, list):
        return len(expected) == len(value) and all(map(_close, expected, value))
    if isinstance(expected, int) and isinstance(value, int):
        return expected == value
    return abs(expected - value) <= 1e-3 * max(abs(expected), abs(value))


class _Process:
    """A side that runs."""

    def __init__(self, side: Side):
        self.side = side
        if side.is_peer:
            command = [str(PEERS), str(HERE / f"{side.program}.py")]
        else:
            command = [sys.executable, "-m", f"experiments.benchmarks.{side.program}"]
        environment = {**os.environ, **dict.fromkeys(THREADS, str(side.threads))}
        # starts are timed too, and without its bytecode a library is compiled anew at each
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        if side.is_peer:
            environment.pop("PYTHONPATH", None)
        self._began = time.monotonic()
        self._process = subprocess.Popen(
            [*command, json.dumps(side.settings)],
            cwd=PROJECT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def round(self) -> dict | None:
        """One timed round; None after the side's limit."""
        try:
            self._process.stdin.write("\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # `answer` says how the side ended
        self._began = time.monotonic()
        return self.answer()

    def answer(self) -> dict | None:
        """The next answer; None after the limit, counted from the start or from the round's beginning."""
        left = max(0.0, self.side.limit - (time.monotonic() - self._began))
        ready, _, _ = select.select([self._process.stdout], [], [], left)
        if not ready:
            self.end()
            return None
        line = self._process.stdout.readline()
        if not line:
            status = self._process.wait()
            raise RunError(
                f"{self.side.name}: its process ({self.side.program} {self.side.settings}) ended with status {status}; "
                f"its own message is above"
            )
        return json.loads(line)

    def end(self) -> None:
        """End the process, whatever it does."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        self._process.stdin.close()
        self._process.stdout.close()
