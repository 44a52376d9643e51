"""Trains the phases of a run: one after the other in this process, or several at once in processes of their own.

Phases that don't need each other's results, such as the same network by two losses, can share the cores of a CPU. Two
processes with one thread each often do more than one process with two threads, and not always, so both ways are
measured first, with some steps whose results are thrown away. The number of threads decides the last bits of a result.
Each state and each result holds it, and a phase always goes on with the number that it began with.

schedule.py        which phases come when, and what is left of them
choice.py          the ways to train some phases, and which one is taken
stopwatch.py       the seconds that a step of a phase takes
free_memory.py     whether several processes fit into memory
team.py            the processes that train for a run
worker.py          one of them, seen from the run's process
worker_process.py  what that process itself does
"""

from .choice import Way, choose
from .schedule import rounds, train_phases
from .stopwatch import Stopwatch, time_steps
from .team import Team
from .worker import Worker
from .worker_process import STOP, work

__all__ = [
    "STOP",
    "Stopwatch",
    "Team",
    "Way",
    "Worker",
    "choose",
    "rounds",
    "time_steps",
    "train_phases",
    "work",
]
