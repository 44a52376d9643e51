"""The ways to train phases that don't need each other's results, and the choice of one of them."""

from __future__ import annotations

from typing import NamedTuple

from .. import build
from ..progress import say
from .free_memory import no_memory
from .stopwatch import time_steps
from .team import Team

# a phase of fewer steps is not measured
FEWEST_STEPS = 50
# seconds of training from which on measuring pays
WORTH = 60.0
# another way must take less than this share of the time
CLEARLY = 0.95


class Way(NamedTuple):
    """How phases are trained: each in a process of so many threads, so many phases at once."""

    threads: int
    at_once: int = 1


def choose(team: Team, phases: list, ready: list, jobs: int | None) -> Way:
    """How the phases of a round are trained: as some of them were before, as `jobs` says, or as measured.

    ready   those that can begin now
    """
    all_threads = Way(team.threads)
    if team.on_gpu:
        return all_threads
    begun = [phase.name for phase in phases if team.folder.begun(phase.name)]
    if begun:
        known = [threads for threads in map(team.folder.threads, begun) if threads]
        threads = known[0] if known else team.threads
        at_once = min(jobs or len(phases), max(1, team.threads // threads))
        return Way(threads, 1 if at_once > 1 and no_memory(at_once) else at_once)
    noted = None if jobs else _noted(team, [phase.name for phase in phases])
    if noted:
        return noted
    at_once = min(len(ready), team.threads, jobs or team.threads)
    together = Way(team.threads // at_once, at_once)
    if team.threads == 1 or jobs == 1 or (jobs and at_once == 1):
        return all_threads
    if jobs:
        team.folder.save_way([phase.name for phase in phases], *together, {})
        return together
    return _measured(team, phases, ready, together if at_once > 1 else Way(team.threads // 2))


def _noted(team: Team, names: list) -> Way | None:
    """The way that this run chose for these phases before it was interrupted."""
    entry = next((e for e in team.folder.ways() if set(e["phases"]) & set(names)), None)
    if entry is None or entry["threads"] > team.threads:
        return None
    return Way(entry["threads"], min(entry["at_once"], max(1, team.threads // entry["threads"])))


def _measured(team: Team, phases: list, ready: list, other: Way) -> Way:
    """The faster of two ways to train the phases of a round: one after the other with all threads, or `other`."""
    first, names = ready[: other.at_once], [phase.name for phase in phases]
    steps = [phase.epochs * build.steps_per_epoch(phase, len(team.job.data.train)) for phase in first]
    all_threads = Way(team.threads)
    if min(steps) < FEWEST_STEPS:
        return all_threads
    for phase in first:
        team.count_labels(phase)
    alone = [time_steps(team.complete, team.job, phase, team.folder) for phase in first]
    one_by_one = sum(count * seconds for count, seconds in zip(steps, alone))
    if one_by_one < WORTH:
        team.folder.save_way(names, *all_threads, {})
        return all_threads
    named, why = ", ".join(phase.name for phase in first), no_memory(other.at_once)
    if why:
        say(f"{named}: {why}, so phases are trained one after the other")
        return all_threads
    try:
        beside = team.times(first, other.threads)
    except Exception as error:
        say(
            f"{named}: phases are trained one after the other, since another way could not be measured ({error})"
        )
        return all_threads
    share = max(count * seconds for count, seconds in zip(steps, beside)) / one_by_one
    chosen = other if share < CLEARLY else all_threads
    measured = {_words(all_threads, len(first)): alone, _words(other, len(first)): beside}
    measured = {words: dict(zip([p.name for p in first], seconds)) for words, seconds in measured.items()}
    said = [
        f"{'/'.join(f'{s:.3g}' for s in seconds.values())} s {words}" for words, seconds in measured.items()
    ]
    say(f"{named}: a step takes {', '.join(said)}; chosen: {_words(chosen, len(first))}")
    team.folder.save_way(
        names, *chosen, {w: {p: round(s, 4) for p, s in found.items()} for w, found in measured.items()}
    )
    if chosen is other:
        team.whole.scale(share)
    return chosen


def _words(way: Way, phases: int) -> str:
    threads = "one thread" if way.threads == 1 else f"{way.threads} threads"
    if phases == 1:
        return f"with {threads}"
    return f"side by side with {threads} each" if way.at_once > 1 else f"one after the other with {threads}"
