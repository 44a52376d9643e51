"""Worker processes: whatever happens to them or to the program, nothing hangs and nothing is left behind."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from loader_task import Task

from gluon_confseg.datasets import loader
from gluon_confseg.datasets.loader import Workers
from gluon_confseg.datasets.memory import Memory, Slots
from gluon_confseg.errors import DatasetError, RunError

TESTS = Path(__file__).resolve().parent


def gone(process: int, seconds: float = 30.0) -> bool:
    """Whether a process ends (or is only waited for by its parent) within so many seconds."""
    for _ in range(int(seconds / 0.05)):
        try:
            if Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z":
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.05)
    return False


@pytest.fixture
def workers():
    started = Workers(Task(), 2)
    yield started
    started.close()


def test_results_come_in_order_with_arrays_of_any_size(workers):
    jobs = [5, 1, 100000, 3, 70000, 2]
    for job, ((numbers, more), said) in zip(jobs, workers.run(jobs, 2)):
        assert said == f"number {job}" and (numbers == job).all() and numbers.shape == (3, 2)
        assert more.shape == (job,) and (more == job % 256).all()


def test_no_more_is_asked_for_than_allowed(workers):
    taken = []
    found = workers.run((taken.append(i) or i for i in range(1, 100)), 3)
    next(found)
    assert len(taken) == 4
    next(found)
    assert len(taken) == 5


def test_workers_never_import_mxnet(workers):
    assert [said for _, said in workers.run(["modules"] * 2, 2)] == [False, False]


def test_an_error_arrives_with_its_job_and_says_where_it_was_raised(workers):
    found = workers.run([1, "raise", 2], 3)
    next(found)
    with pytest.raises(DatasetError, match=r"street\.png: is damaged") as raised:
        next(found)
    assert "loader_task.py" in str(raised.value.__cause__)
    assert [said for _, said in workers.run([7], 1)] == ["number 7"]  # the workers live on


def test_an_error_that_can_not_be_sent_is_said_in_words(workers):
    with pytest.raises(RunError, match="Odd: <function"):
        list(workers.run(["odd error"], 1))


@pytest.mark.parametrize(
    "how, said", [("kill", "killed by SIGKILL.*short of memory"), ("exit", "ended with status 3")]
)
def test_a_worker_that_dies_is_an_error_that_names_its_samples(workers, how, said):
    processes = workers.processes
    began = time.monotonic()
    with pytest.raises(RunError, match=f"{said}.*sample {how}, neighbour of {how}.*fewer workers"):
        list(workers.run([1, how, 2, 3], 2))
    assert time.monotonic() - began < 30
    assert all(gone(process) for process in processes) and workers.processes == []


def test_a_worker_that_is_killed_from_outside_is_an_error_too(workers):
    found = workers.run(["id", "id", "sleep", "sleep"], 3)
    process = next(found)[1]
    os.kill(process, signal.SIGKILL)
    with pytest.raises(RunError, match="killed by SIGKILL.*sample "):
        list(found)


def test_workers_that_stand_still_are_an_error_after_a_while(workers, monkeypatch):
    found, processes = workers.run([1, 2, "stop", 4], 3), workers.processes
    assert [next(found)[1], next(found)[1]] == ["number 1", "number 2"]
    monkeypatch.setattr(loader, "PATIENCE", 2.0)
    with pytest.raises(RunError, match="No worker process .* for 2 seconds, .* sample stop, .*workers=0"):
        next(found)
    assert all(gone(process) for process in processes) and workers.processes == []


def test_work_that_nobody_waits_for_any_more_disturbs_nobody(workers):
    for _ in range(5):
        next(workers.run([1, 2, "raise", 4], 4))
    assert [said for _, said in workers.run([8, 9], 2)] == ["number 8", "number 9"]


@pytest.mark.parametrize("end", ["close", "let go"])
def test_no_process_is_left_behind(end):
    started = Workers(Task(), 2)
    found, processes = started.run([1, "sleep", "sleep"], 3), started.processes
    next(found)
    if end == "close":
        started.close()
    else:
        del started, found
        gc.collect()
    assert all(gone(process) for process in processes)


PROGRAM = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
sys.path[:0] = [{tests!r}, {project!r}]
from loader_task import Task
from gluon_confseg.datasets.loader import Workers
workers = Workers(Task(), 2)
found = workers.run([1, 2, "id", "id", {last!r}], 2)
next(found), next(found)
print(*workers.processes, flush=True)
list(found)
{then}
"""


def program(last, then: str = "") -> tuple:
    code = PROGRAM.format(tests=str(TESTS), project=str(TESTS.parent), last=last, then=then)
    started = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    return started, [int(process) for process in started.stdout.readline().split()]


@pytest.mark.slow
@pytest.mark.parametrize("end", ["normal", "error", "Ctrl-C", "SIGKILL"])
def test_however_a_program_ends_neither_processes_nor_shared_memory_are_left(end):
    before = set(os.listdir("/dev/shm")) if Path("/dev/shm").is_dir() else set()
    started, processes = program(
        "sleep" if end == "Ctrl-C" else 5, "input()" if end == "SIGKILL" else "1 / 0" * (end == "error")
    )
    if end == "Ctrl-C":
        started.send_signal(signal.SIGINT)
    if end == "SIGKILL":
        started.kill()
    said = started.communicate(timeout=60)[1]
    assert len(processes) == 2 and all(gone(process) for process in processes), said
    assert (started.returncode == 0) == (end == "normal"), said
    after = set(os.listdir("/dev/shm")) if Path("/dev/shm").is_dir() else set()
    assert not {name for name in after - before if "confseg" in name}


def test_a_script_needs_no_guard_and_its_own_classes_are_named_where_they_can_not_be_sent(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        f"import sys\nsys.path[:0] = [{str(TESTS.parent)!r}]\n"
        "from gluon_confseg.datasets.loader import Workers\n"
        "print('once')\n"
        "class Mine:\n    names = lambda self, job: ()\n"
        "list(Workers(Mine(), 1).run([1], 1))\n"
    )
    found = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=60)
    assert found.stdout == "once\n" and found.returncode != 0
    assert "define its class in a module, not in the script, or use workers=0" in found.stderr


def test_what_can_not_be_pickled_is_said_before_anything_starts():
    task = Task()
    task.key = lambda: 1
    with pytest.raises(RunError, match="lambdas.*workers=0"):
        Workers(task, 1)


# ---- memory


def test_memory_that_can_not_be_had_is_one_sentence(monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(loader.os, "posix_fallocate", full)
    with pytest.raises(RunError, match=r"no memory for a batch of 4 MiB \(No space left.*fewer workers"):
        Memory().arrays([((2**20,), "float32")])


def test_arrays_in_one_memory_do_not_overlap_and_all_see_the_same_bytes():
    ours = Memory()
    theirs = Memory(os.dup(ours.descriptor))
    layout = [((3, 5), "float32"), ((7,), "uint8"), ((2,), "float64")]
    for number, array in enumerate(ours.arrays(layout)):
        array[:] = number
    assert [np.unique(array).tolist() for array in theirs.arrays(layout)] == [[0], [1], [2]]


def test_a_memory_grows_while_old_arrays_live_on():
    memory = Memory()
    small = memory.arrays([((10,), "uint8")])[0]
    small[:] = 1
    large = memory.arrays([((100000,), "uint8")])[0]
    assert large[:10].tolist() == [1] * 10
    large[:] = 2
    assert small.tolist() == [2] * 10


def test_a_slot_is_free_again_when_the_last_view_of_it_is_gone():
    slots = Slots()
    memory = slots.take()
    arrays = slots.lend(memory, [((4, 4), "uint8"), ((4,), "uint8")])
    view = arrays[1][1:]
    del arrays
    assert slots.take() is not memory
    del view
    assert slots.take() is memory


def test_no_descriptor_is_left_open():
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        Memory().arrays([((10,), "uint8")])
    started = Workers(Task(), 1)
    list(started.run([1, 2], 1))
    started.close()
    del started
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) <= before
