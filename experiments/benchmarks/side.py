"""What every side of a benchmark does: prepare its work, warm up, and then time a round whenever it is told to.

Standard library only, as it runs in the environment of the peers too. A side's program calls `serve(WORKS)`; its
argument is JSON: {"work": a name of WORKS, ...settings}. It answers on its standard output, a line of JSON each time:
first {"facts": ..., "versions": ..., "held_mib": ...}, the memory with its libraries loaded and nothing prepared, then
for each line on its standard input {"seconds": ..., "peak_mib": ...}.
"""

from __future__ import annotations

import json
import os
import re
import statistics
import sys
import time
from collections.abc import Callable

LEAST = 0.3  # seconds of a round: shorter works are repeated in it, and their median is taken
MOST_REPEATS = 50


class Work:
    """run: what is timed, ended only when all of its results are there.

    facts   what must be the same on all sides of a row: whole numbers exactly, others to one part in a thousand
    """

    def __init__(self, run: Callable[[], object], **facts):
        self.run, self.facts = run, facts


def serve(works: dict, versions: Callable[[], dict]) -> None:
    """Prepare the work that the command line asks for, then answer until the standard input ends.

    works      name -> function of the settings that returns a `Work`; of these, "once_only" is for this function:
               no repeats in a round
    versions   name -> version of each library that the figures depend on
    """
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print must not come between the answers
    settings = json.loads(sys.argv[1])
    once_only, held = settings.pop("once_only", False), _resident("VmRSS")
    work = works[settings.pop("work")](**settings)
    began = time.perf_counter()
    work.run()
    once = time.perf_counter() - began
    if once < LEAST and not once_only:  # the first time is no measure of the others
        began = time.perf_counter()
        work.run()
        once = time.perf_counter() - began
    repeats = 1 if once_only else min(MOST_REPEATS, max(1, round(LEAST / max(once, 1e-9))))
    known = {"python": sys.version.split()[0], **versions()}
    _say(answers, {"facts": work.facts, "versions": known, "held_mib": held})
    for _ in sys.stdin:
        _say(answers, _round(work.run, repeats))


def _round(run: Callable[[], object], repeats: int) -> dict:
    seconds = []
    _forget_peak()
    for _ in range(repeats):
        began = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - began)
    return {"seconds": statistics.median(seconds), "peak_mib": _resident("VmHWM")}


def _say(answers, answer: dict) -> None:
    answers.write(json.dumps(answer) + "\n")
    answers.flush()


def _forget_peak() -> None:
    try:
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")  # the peak from now on
    except OSError:
        pass  # then it is the peak since the start


def _resident(field: str) -> float | None:
    """Memory of this process in MiB: VmRSS, now, or VmHWM, the most since `_forget_peak`; None without /proc."""
    try:
        with open("/proc/self/status") as file:
            return round(int(re.search(rf"{field}:\s+(\d+)", file.read()).group(1)) / 1024, 1)
    except OSError:
        return None
