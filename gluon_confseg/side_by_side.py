"""Trains the phases of a run: one after the other in this process, or several at once in processes of their own.

Phases that don't need each other's results, such as the same network by two losses, can share the cores of a CPU. Two
processes with one thread each often do more than one process with two threads, and not always, so both ways are
measured first, with some steps whose results are thrown away. The number of threads decides the last bits of a result.
Each state and each result holds it, and a phase always goes on with the number that it began with.

A process that trains phases for the run is a fresh interpreter, since MXNet reads the number of threads when it is
loaded, and can't be forked. A socket leads to it. It writes the files of its phase; what phases share (the log, the
matrices) and what is shown goes through the socket. When the socket closes, the other side is gone: the process then
ends at once, and the run says so.
"""

from __future__ import annotations

import contextlib
import gc
import io
import os
import pickle
import queue
import resource
import signal
import statistics
import subprocess
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable
from multiprocessing.connection import Connection, Pipe, wait
from pathlib import Path
from typing import NamedTuple

from . import build, losses, progress, runtime, signals
from .datasets.loader import WorkerTraceback
from .errors import RunError, Stopped
from .progress import Relayed, WholeRun, say
from .run_folder import PartOfRun, Position

WARM_UP, TIMED = 2, 5  # steps of a phase that are measured, without and with a clock
FEWEST_STEPS = 50  # a phase of fewer is not measured
WORTH = 60.0  # seconds of training from which on measuring pays
CLEARLY = 0.95  # another way must take less than this share of the time
STOP = signal.SIGUSR1  # to a process that trains: finish the step, save, end


class Way(NamedTuple):
    """How phases are trained: each in a process of so many threads, so many phases at once."""

    threads: int
    at_once: int = 1


def train_phases(complete: Callable, job, folder, whole: WholeRun, jobs: int | None = None) -> dict:
    """Do what is left of all phases of a run; returns phase -> why it can't be trained on these data.

    complete   `train.complete`: does what is left of one phase, in whatever process it is called
    job        `train.Job`, which can be pickled where phases are to be trained in other processes
    jobs       at most so many phases are trained at once; None: as many as a measurement shows to be fastest
    Raises the error of the first phase that fails; those beside it have then saved their state.
    """
    with Team(complete, job, folder, whole) as team:
        left_out = {}
        for phases in rounds(job.phases):
            _train_round(team, phases, left_out, jobs)
            for phase in phases:
                if phase.name not in left_out and _given_up(job, folder, phase.name):
                    left_out[phase.name] = folder.given_up(phase.name)
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


# ---- the choice


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
        return Way(threads, 1 if at_once > 1 and _no_memory(at_once) else at_once)
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
    named, why = ", ".join(phase.name for phase in first), _no_memory(other.at_once)
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


def _no_memory(processes: int) -> str:
    """Why so many processes as large as this one was at most don't fit in memory; "" where they do, or nobody knows."""
    wanted = processes * 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    available = min(_available(), default=wanted)
    if wanted <= available:
        return ""
    return (
        f"{processes} at once may need {wanted / 1e9:.1f} GB of memory, and {available / 1e9:.1f} GB are free"
    )


def _available() -> list:
    """Bytes of memory that are free, as the machine and this process's control group say; on Linux."""
    found, group = [], Path("/sys/fs/cgroup")
    with contextlib.suppress(OSError, ValueError, KeyError):
        lines = Path("/proc/meminfo").read_text().splitlines()
        found.append(1024 * int(dict(line.split(":") for line in lines)["MemAvailable"].split()[0]))
    with contextlib.suppress(OSError, ValueError, KeyError):
        most, now = (int((group / name).read_text()) for name in ("memory.max", "memory.current"))
        parts = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        found.append(most - now + int(parts["inactive_file"]))  # files that it would drop
    return found


# ---- measuring


class _Enough(BaseException):
    """Enough steps were measured."""


class Stopwatch:
    """Stands in for the run folder where steps of a phase are measured: it reads the run, and writes nothing.

    warm   called after the steps of the warm-up
    """

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

    log = save_best = save_evaluation = save

    def seconds(self) -> float:
        """The median time of a step."""
        return statistics.median(b - a for a, b in zip(self._moments, self._moments[1:]))


def time_steps(complete: Callable, job, phase, folder, warm: Callable = lambda: None) -> float:
    """Seconds that a step of a phase takes in this process; the run stays as it is, and nothing is shown."""
    stopwatch = Stopwatch(folder, warm)
    with contextlib.redirect_stderr(io.StringIO()), contextlib.suppress(_Enough):
        complete(job, phase, stopwatch, WholeRun({}))
    gc.collect()
    return stopwatch.seconds()


# ---- in the process of the run


class Worker:
    """A process that works on one phase of this run after the other.

    phase   the one that it works on; None while it waits
    shown   what shows its lines and progress while it trains; None while it waits or measures
    """

    def __init__(self, threads: int):
        self.threads, self.phase, self.shown = threads, None, None
        self.connection, theirs = Pipe()
        command = f"from gluon_confseg import side_by_side; side_by_side.work({theirs.fileno()})"
        # it inherits which signals are blocked: Ctrl-C, which a terminal sends to it as well, is for the run alone
        before = signal.pthread_sigmask(signal.SIG_BLOCK, signals.ENDING)
        try:
            with theirs:
                self.process = subprocess.Popen(
                    [sys.executable, "-c", f"import sys; sys.path[:] = {sys.path!r}; {command}"],
                    pass_fds=[theirs.fileno()],
                    stdin=subprocess.DEVNULL,
                    stdout=2,  # nothing but the command's result goes to its stdout
                    env={**os.environ, "OMP_NUM_THREADS": str(threads)},
                )
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def begin(self, setting: bytes) -> None:
        """Send what all that it does has in common. Raises RunError where the process is gone."""
        with self._told_if_gone():
            self.connection.send_bytes(setting)

    def tell(self, *message) -> None:
        """Send a message. Raises RunError where the process is gone."""
        with self._told_if_gone():
            self.connection.send(message)

    def hear(self) -> tuple:
        """Wait for a message. Raises RunError where the process is gone."""
        with self._told_if_gone():
            return self.connection.recv()

    @contextlib.contextmanager
    def _told_if_gone(self):
        try:
            yield
        except (EOFError, OSError) as error:
            status = self.process.wait()
            how = f"ended with status {status}"
            if status < 0:
                how = f"was killed by {signal.Signals(-status).name}"
            if status == -signal.SIGKILL:
                how += " (is the machine short of memory? with --jobs 1 one phase is trained after the other)"
            name = self.phase.name if self.phase else "a phase"
            raise RunError(
                f"the process that trained {name} {how}; the same command goes on from its last saved state"
            ) from error

    def end(self) -> None:
        """End the process; what it was doing is not wanted any more."""
        if self.shown is not None:
            self.shown.close()
        self.connection.close()
        self.process.kill()
        self.process.wait()


class Team:
    """The processes that train phases of a run, in a `with` block, after which there are none.

    An error that ends the block, such as a signal, stops the phases that are being trained as soon as their step is
    done and saved.
    """

    def __init__(self, complete: Callable, job, folder, whole: WholeRun):
        self.complete, self.job, self.folder, self.whole = complete, job, folder, whole
        self.threads = runtime.threads() or 1
        self.on_gpu = job.device is not None and job.device.device_type == "gpu"
        self._workers: list[Worker] = []
        self._downloaded = set()

    def __enter__(self) -> Team:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in [worker for worker in self._workers if worker.shown is None]:
            self._remove(worker)
        while self._workers:
            with contextlib.suppress(Stopped):  # another signal: then they are told again, and do not wait
                self._stop()

    @property
    def training(self) -> list:
        """The phases that are being trained in other processes."""
        return [worker.phase for worker in self._workers if worker.shown is not None]

    def start(self, phase, threads: int) -> None:
        """Begin to do what is left of a phase, in a process with so many threads."""
        if phase.loss in losses.OTHER_LOSSES:
            self.folder.statistics(self.job.data.train)  # counted once, and not by each process
        if (
            phase.pretrained and phase.encoder not in self._downloaded
        ):  # nor downloaded twice at once, into one file
            matrix = self.folder.training_matrix(phase.matrix) if phase.reads_matrix else None
            build.construct(phase, self.job.data.labels, matrix, seed=self.job.recipe.seed)
            self._downloaded.add(phase.encoder)
        (worker,) = self._waiting(threads, 1)
        with signals.Signals() as caught, caught.held():
            worker.phase, worker.shown = phase, Relayed(phase.name, self.whole)
            worker.tell("complete", phase)
        self.whole.at_once = len(self.training)

    def count_labels(self, phase) -> None:
        """Count the labels for a phase whose loss needs that, here, where it is shown, and once for all processes."""
        if phase.loss in losses.OTHER_LOSSES:
            self.folder.statistics(self.job.data.train)

    def serve(self) -> None:
        """Wait for messages of the processes that train, and do what they ask for."""
        with signals.Signals() as caught:
            workers = {worker.connection: worker for worker in self._workers if worker.shown is not None}
            for connection in wait(list(workers)):
                with caught.held():
                    self._serve(workers[connection])

    def times(self, phases, threads: int) -> list:
        """Seconds of a step of each of these phases, at once in processes of so many threads each."""
        workers, found = self._waiting(threads, len(phases)), {}
        try:
            for worker, phase in zip(workers, phases):
                worker.phase = phase
                worker.tell("time", phase)
            for worker in workers:  # all begin their timed steps together
                self._answer(worker, "warm")
            for worker in workers:
                worker.tell("go")
            for worker in workers:
                found[worker] = self._answer(worker, "timed")
        except BaseException:
            for worker in workers:
                self._remove(worker)
            raise
        for worker in workers:
            worker.phase = None
        return [found[worker] for worker in workers]

    def _answer(self, worker: Worker, wanted: str):
        while True:
            kind, *content = worker.hear()
            if kind == wanted:
                return content[0]
            if kind == "failed":
                error, text = content
                raise error from WorkerTraceback(text)
            # what it says of steps that are thrown away ("say") is not for the reader

    def _waiting(self, threads: int, count: int) -> list:
        """So many processes that wait for work; those that wait with another number of threads are ended."""
        for worker in [worker for worker in self._workers if worker.phase is None]:
            if worker.threads != threads:
                self._remove(worker)
        found = [worker for worker in self._workers if worker.phase is None][:count]
        folder = self.folder
        try:
            setting = (self.complete, self.job, folder.path.absolute(), folder.config, folder.save_every)
            content = pickle.dumps(setting, pickle.HIGHEST_PROTOCOL)
            new = []
            for _ in range(count - len(found)):
                new.append(Worker(threads))
                self._workers.append(new[-1])
            for worker in new:  # when all are starting: a long setting waits until its process reads
                worker.begin(content)
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            raise RunError(
                f"the data set can't be handed to another process ({error}); keep lambdas and open files out of it, or "
                "train one phase after the other (jobs=1)"
            ) from error
        return found + new

    def _serve(self, worker: Worker) -> None:
        try:
            kind, *content = worker.hear()
        except RunError:
            self._remove(worker)
            raise
        if kind in ("log", "save_matrices"):
            done = "refused"
            try:
                getattr(self.folder, kind)(*content)
                done = "written"
            finally:
                worker.tell(done)
        elif kind == "done":
            worker.phase = worker.shown = None
            self.whole.at_once = max(1, len(self.training))
        elif kind == "failed":
            self._remove(worker)
            error, text = content
            raise error from WorkerTraceback(text)
        elif kind == "stopped":
            self._remove(worker)
            raise RunError(
                f"the process that trained {worker.phase.name} was stopped; the same command goes on"
            )
        else:
            worker.shown.show(kind, *content)

    def _stop(self) -> None:
        """Stop the phases that are being trained, and wait until they are saved."""
        for worker in self._workers:
            worker.process.send_signal(STOP)
        while self._workers:
            with contextlib.suppress(Exception):  # the run ends with the error that came first
                self.serve()
            for worker in [worker for worker in self._workers if worker.shown is None]:
                self._remove(worker)

    def _remove(self, worker: Worker) -> None:
        worker.end()
        self._workers.remove(worker)


# ---- in a process that trains


def work(descriptor: int) -> None:
    """The life of a `Worker`'s process: do what is asked for until it is stopped, or the run's process is gone."""
    signals.only(STOP)
    connection, orders, answers = Connection(descriptor), queue.SimpleQueue(), queue.SimpleQueue()
    # a signal interrupts the main thread alone, so that no message can be sent or read by half
    speaker = threading.Thread(target=_speak, args=(connection, answers), daemon=True)
    try:
        setting = connection.recv_bytes()
        threading.Thread(target=_listen, args=(connection, orders), daemon=True).start()
        speaker.start()
        _work(setting, orders, lambda *message: answers.put(message))
    except (EOFError, OSError):
        os._exit(1)
    except Stopped:
        answers.put(("stopped",))
    answers.put(None)
    speaker.join()
    os._exit(0)


def _work(setting: bytes, orders: queue.SimpleQueue, send: Callable) -> None:
    def ask(*message) -> None:
        send(*message)
        if orders.get() != ("written",):
            raise Stopped(STOP)  # the run failed to write it, and ends

    def warm() -> None:
        send("warm", None)
        orders.get()

    def note(message, category, *_, **__) -> None:
        if issubclass(category, RuntimeWarning):  # the others are libraries' complaints about each other
            send("say", f"Note: {' '.join(str(message).split())}")

    warnings.showwarning, folder = note, None
    while True:
        order, phase = orders.get()
        try:
            if folder is None:
                complete, job, *place = pickle.loads(setting)
                folder = PartOfRun(*place, ask)
            if order == "time":
                send("timed", time_steps(complete, job, phase, folder, warm))
            else:
                progress.relay(send)
                complete(job, phase, folder, WholeRun({}))
                progress.relay(None)
                gc.collect()
                send("done")
        except Exception as error:  # of any kind: the run's process raises it again
            send("failed", _sendable(error), traceback.format_exc())


def _sendable(error: Exception) -> Exception:
    try:
        pickle.loads(pickle.dumps(error))
        return error
    except Exception:
        return RunError(f"{type(error).__name__}: {error}")


def _listen(connection: Connection, orders: queue.SimpleQueue) -> None:
    try:
        while True:
            orders.put(connection.recv())
    except (EOFError, OSError):
        os._exit(1)  # the run's process is gone: what is saved is whole, and the next one may begin at once


def _speak(connection: Connection, answers: queue.SimpleQueue) -> None:
    with contextlib.suppress(OSError):
        while True:
            message = answers.get()
            if message is None:
                return
            connection.send(message)
