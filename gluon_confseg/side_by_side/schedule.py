"""Which phases of a run come when: each after those whose results it needs, and at once where a round's way says so."""

from __future__ import annotations

from collections.abc import Callable

from .. import build
from ..progress import WholeRun, say
from .choice import choose
from .team import Team


def train_phases(complete: Callable, job, folder, whole: WholeRun, jobs: int | None = None) -> dict:
    """Do what is left of all phases of a run; returns phase -> why it can't be trained on these data.

    complete   `train.complete`: does what is left of one phase, in whatever process it is called
    job        `train.Job`, which can be pickled where phases are to be trained in other processes
    jobs       at most so many phases are trained at once; None: as many as a measurement shows to be fastest
    Where processes or devices share the work of each step, phases are trained one after the other in this process.
    Raises the error of the first phase that fails; those beside it have then saved their state.
    """
    if job.parallel.shares > 1:
        return _one_by_one(complete, job, folder, whole)
    with Team(complete, job, folder, whole) as team:
        left_out = {}
        for phases in rounds(job.phases):
            _train_round(team, phases, left_out, jobs)
            for phase in phases:
                if phase.name not in left_out and _given_up(job, folder, phase.name):
                    left_out[phase.name] = folder.given_up(phase.name)
    return left_out


def _one_by_one(complete: Callable, job, folder, whole: WholeRun) -> dict:
    left_out = {}
    for phase in job.phases:
        why = _why_left_out(job, folder, phase, left_out)
        if why:
            say(f"{job.title(phase)} is left out: {why}")
        else:
            complete(job, phase, folder, whole)
            why = _given_up(job, folder, phase.name)
        if why:
            left_out[phase.name] = why
    return left_out


def rounds(phases) -> list:
    """Phases in their order, in lists. All of a list need those of the lists before; some don't need each other."""
    needs = {}
    for phase in phases:
        direct = _inputs(phase)
        needs[phase.name] = direct.union(*(needs[name] for name in direct))
    found, before = [], None
    for phase in phases:
        alone = all(
            other is phase or other.name in needs[phase.name] or phase.name in needs[other.name]
            for other in phases
        )
        if alone or before != "together":
            found.append([])
        found[-1].append(phase)
        before = "alone" if alone else "together"
    return found


def _inputs(phase) -> set:
    """The phases whose results a phase reads."""
    return {phase.start, phase.matrix if phase.reads_matrix else None} - {None}


def _train_round(team: Team, phases: list, left_out: dict, jobs: int | None) -> None:
    job, folder, waiting, way = team.job, team.folder, list(phases), None
    while waiting or team.training:
        ready = [p for p in waiting if not _inputs(p) & {q.name for q in (*waiting, *team.training)}]
        for phase in list(ready):
            why = _why_left_out(job, folder, phase, left_out)
            if why:
                left_out[phase.name] = why
                say(f"{job.title(phase)} is left out: {why}")
            elif _is_left(job, folder, phase):
                continue
            else:
                team.complete(job, phase, folder, team.whole)  # finished: it is only looked through
            ready.remove(phase)
            waiting.remove(phase)
        if ready and way is None:
            way = choose(team, phases, ready, jobs)
        for phase in ready:
            if len(team.training) < way.at_once:
                waiting.remove(phase)
                threads = folder.threads(phase.name) or way.threads
                if way.at_once == 1 and (team.on_gpu or threads == team.threads):
                    team.complete(job, phase, folder, team.whole)
                    break
                team.start(phase, threads)
        running = len(team.training)
        while running and len(team.training) == running:
            team.serve()


def _why_left_out(job, folder, phase, left_out: dict) -> str:
    needed = [phase.name, *_inputs(phase)]
    why = next((left_out[name] for name in needed if name in left_out), "")
    why = why or next(filter(None, (_given_up(job, folder, name) for name in needed)), "")
    if why:
        return why
    matrix = folder.training_matrix(phase.matrix) if phase.reads_matrix else None
    return build.why_left_out(phase, job.data.labels, matrix)


def _given_up(job, folder, name: str) -> str:
    """Why a phase's training could not be ended, where such phases are left out."""
    return folder.given_up(name) if job.leave_out_diverged else ""


def _is_left(job, folder, phase) -> bool:
    """Whether something of a phase is still to be computed."""
    if not folder.checkpoint(phase.name).exists():
        return True
    return job.measures(phase) and folder.matrix_name(phase.name) not in folder.matrices()
