"""Worker processes: what they say to each other, how they are started, and what happens when one dies."""

from __future__ import annotations

import functools
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import test_parallel

from gluon_confseg import checkpoint, cli, compiled, distributed, doctor, hardware, runtime
from gluon_confseg.distributed import communicator, dist_sync, horovod, launch, probe, watch
from gluon_confseg.errors import DatasetError, RunError, Stopped

TASK = Path(__file__).resolve().parent / "ranks_task.py"
ROOT = TASK.parent.parent
LAUNCHERS = {
    "dist_sync": [sys.executable, "-m", "gluon_confseg", "launch", "--workers", "{size}", "--"],
    "horovod": [str(Path(sys.executable).parent / "horovodrun"), "-np", "{size}", "-H", "localhost:{size}"],
}
processes = pytest.mark.distributed


def kinds(*marks_of_horovod):
    """The kinds that can be started here; the others are skipped, with the reason."""
    try:
        from gluon_confseg.distributed.horovod import import_horovod

        import_horovod()
        marks = list(marks_of_horovod)
    except RunError as error:
        marks = [pytest.mark.skip(reason=str(error))]
    return ["dist_sync", pytest.param("horovod", marks=marks)]


def start(kind: str, task: str, folder: Path, size: int = 2) -> subprocess.Popen:
    """The launcher of `size` workers with this task of ranks_task.py."""
    if kind == "horovod" and horovodrun_says():
        pytest.skip(f"horovodrun can't start two processes that do nothing: {horovodrun_says()}")
    command = [word.format(size=size) for word in LAUNCHERS[kind]]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    command += [sys.executable, str(TASK), kind, task, str(folder)]
    return subprocess.Popen(command, env=environment, start_new_session=True, **streams)


@functools.lru_cache(None)
def horovodrun_says() -> str:
    """The last line of horovodrun where it can't start two processes here, for lack of a network, say; else ""."""
    command = [*(word.format(size=2) for word in LAUNCHERS["horovod"]), "true"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    except subprocess.TimeoutExpired:
        return "it still ran after 120 s"
    return (done.stderr.strip().splitlines() or ["no message"])[-1] if done.returncode else ""


def finish(process: subprocess.Popen, seconds: float) -> tuple[int, str]:
    """Exit status and output; whatever still runs after so many seconds is killed, and fails the test."""
    try:
        output = process.communicate(timeout=seconds)[0]
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        pytest.fail(f"it still ran after {seconds} s: {process.communicate()[0]}")
    return process.returncode, output


def operations(kind: str, folder: Path, size: int = 2) -> list[dict]:
    """What each rank of a run found."""
    folder.mkdir()
    status, output = finish(start(kind, "operations", folder, size), 240)
    assert status == 0, output
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(size)]


# ---- two processes and more


@processes
@pytest.mark.parametrize("kind", kinds())
def test_two_workers_train_the_network_of_one(kind, tmp_path):
    """Batches of 2 at each of two workers, against 4 at one, batch norms frozen: after 20 steps the same to 1e-5."""
    status, output = finish(start(kind, "training", tmp_path), 300)
    assert status == 0, output
    test_parallel.trained(tmp_path / "alone")
    for phase in ("base", "subnets"):
        files = (tmp_path / run / "checkpoints" / f"{phase}.npz" for run in ("run", "alone"))
        one, other = (checkpoint.load(file)[0] for file in files)
        assert one.keys() == other.keys()
        assert max(np.abs(one[name] - other[name]).max() for name in one) < 1e-5
    for name in ("results.json", "groups.json"):
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "alone" / name).read_bytes()


@processes
@pytest.mark.parametrize("kind", kinds())
def test_operations_give_the_same_bits_at_every_rank(kind, tmp_path):
    first, second = operations(kind, tmp_path / "run")
    for rank, found in enumerate((first, second)):
        assert (found["rank"], found["size"], found["local"]) == (rank, 2, [rank, 2])
        assert found["rounded"] == [True] * 5, found["errors_of_sums"]
        assert found["broadcast"] == [[[0, 1, 2], [3, 4, 5]]] * 5
        assert found["gathered"] == [[0, 9 * 2**40, 3_000_000], [1, 9 * (2**40 + 1), 3_000_001]]
        assert found["whole"] and found["from_root"] == {"answer": 42} and found["made"] == (rank == 0)
        assert [each[0] for each in found["errors"]] == ["DatasetError", "Stopped", "OSError", "ValueError"]
        assert found["errors"][2][2] == "file"
        assert found["same"] == [] and found["compiled"] == compiled.state()
        assert found["other"][1].startswith("the parameter second differs between rank 1 and rank 0")
    assert first["sums"] == second["sums"]


# horovodrun takes most of a minute for two runs of three: with `-m distributed` alone
@processes
@pytest.mark.parametrize("kind", kinds(pytest.mark.slow))
def test_the_sum_of_three_has_the_same_bits_in_each_run(kind, tmp_path):
    runs = [operations(kind, tmp_path / name, 3) for name in ("first", "second")]
    assert len({found["sums"] for run in runs for found in run}) == 1
    limits = (1e-5, 1e-5, 1e-5, 1e-12, 1e-2)
    assert all(
        e < limit for run in runs for found in run for e, limit in zip(found["errors_of_sums"], limits)
    )


def stepping(kind: str, folder: Path) -> tuple[subprocess.Popen, list[int]]:
    """Two workers in the middle of their steps, with their process ids."""
    process = start(kind, "steps", folder)
    files, end = [folder / "0.pid", folder / "1.pid"], time.monotonic() + 240
    while not all(file.exists() and file.read_text() for file in files):
        assert process.poll() is None and time.monotonic() < end, finish(process, 0.1)[1]
        time.sleep(0.1)
    return process, [int(file.read_text()) for file in files]


def gone(pid: int) -> bool:
    """Whether there is no such process any more, or only what its parent has not looked at yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True


def deaths():
    """(kind, rank that is killed); rank 0 of Horovod, for its time, with `-m distributed` alone."""
    dist_sync, horovod_here = kinds()
    slow = pytest.param("horovod", 0, marks=[*horovod_here.marks, pytest.mark.slow])
    return [(dist_sync, 0), (dist_sync, 1), slow, pytest.param("horovod", 1, marks=horovod_here.marks)]


@processes
@pytest.mark.parametrize(("kind", "victim"), deaths())
def test_a_dead_worker_ends_the_job_with_a_sentence(kind, victim, tmp_path):
    process, pids = stepping(kind, tmp_path)
    os.kill(pids[victim], signal.SIGKILL)
    status, output = finish(process, 60)
    assert status != 0 and all(gone(pid) for pid in pids)
    resumes, stopped = "the same command resumes the run", "stopped by SIGTERM"
    assert resumes in output or (kind == "horovod" and stopped in output), output
    assert 'File "' not in "".join(line for line in output.splitlines() if "confseg:" in line)


@processes
@pytest.mark.parametrize("kind", kinds())
def test_an_error_of_one_worker_is_said_by_the_others(kind, tmp_path):
    process, pids = stepping(kind, tmp_path)
    (tmp_path / "fail").touch()
    status, output = finish(process, 60)
    assert status != 0 and all(gone(pid) for pid in pids)
    assert "confseg: b.png: damaged" in output, output
    said = "the worker of rank 1 ended with an error (b.png: damaged)"
    assert said in output or (kind == "horovod" and "stopped by SIGTERM" in output), output


@processes
def test_workers_end_with_a_launcher_that_is_killed(tmp_path):
    """Without its parameter server they would wait for ever."""
    process, pids = stepping("dist_sync", tmp_path)
    process.kill()
    end = time.monotonic() + 30
    while not all(gone(pid) for pid in pids):
        assert time.monotonic() < end
        time.sleep(0.1)
    process.communicate(timeout=30)


# ---- without others


def test_alone_there_is_nobody_to_wait_for():
    with distributed.open_communicator(None) as together:
        assert (together.rank, together.size, together.allgather("a")) == (0, 1, ["a"])
        assert together.from_root(lambda: 3) == 3
        together.barrier()
        distributed.same_parameters(together, [], [])


@pytest.mark.parametrize(
    "name, words",
    [
        ("horovod", "horovodrun|setup-distributed"),
        ("dist_sync", "DMLC_ROLE is not set; start it by `confseg launch"),
        ("dist_sink", "did you mean dist_sync"),
    ],
)
def test_a_process_without_a_launcher_is_told_how_it_is_started(name, words, monkeypatch):
    for variable in [each for each in os.environ if each.startswith(("DMLC_", "HOROVOD_", "OMPI_", "PMI_"))]:
        monkeypatch.delenv(variable)
    with pytest.raises(RunError, match=words):
        distributed.open_communicator(name)


def test_a_missing_horovod_names_its_set_up(monkeypatch):
    monkeypatch.setattr(runtime, "version_of", lambda *names: None)
    with pytest.raises(RunError, match="not installed; `make setup-distributed`"):
        distributed.open_communicator("horovod")


@pytest.mark.parametrize("given, seconds", [(None, "600"), ("45", "45")])
def test_horovods_wait_for_a_late_worker_is_long_unless_it_is_given(given, seconds, monkeypatch):
    """After its own 30 s Gloo aborts the process, which the import of MXNet can take on a busy machine."""

    class Begun(Exception):
        pass

    class Module:
        @staticmethod
        def init():
            raise Begun(os.environ[horovod.TIMEOUT])

    monkeypatch.setattr(horovod, "import_horovod", Module)
    monkeypatch.setenv("HOROVOD_RANK", "0")
    monkeypatch.setenv(horovod.TIMEOUT, given or "")  # so that it is put back in the end
    if given is None:
        monkeypatch.delenv(horovod.TIMEOUT)
    with pytest.raises(Begun, match=f"^{seconds}$"):
        horovod.Horovod()


def test_a_horovod_without_mxnet_names_its_set_up(monkeypatch):
    monkeypatch.setattr(runtime, "version_of", lambda *names: "0.28.1")
    monkeypatch.setitem(sys.modules, "horovod", None)
    with pytest.raises(RunError, match="without support for this MXNet.*setup-distributed"):
        distributed.open_communicator("horovod")


def test_bytes_as_numbers_come_back_whole():
    for length in (1, 2, 255, 256, 70001):
        data = np.random.RandomState(length).randint(0, 256, length).astype(np.uint8)
        numbers = dist_sync.as_floats(data)
        assert np.array_equal(dist_sync.as_bytes(numbers + np.zeros_like(numbers), length), data)


def test_arrays_of_all_lengths_are_sent_in_few():
    lengths = np.arange(1, dist_sync.PIECE + 1, 37)
    sent = [dist_sync.padded(int(length)) for length in lengths]
    assert all(0 <= long - length <= max(length, dist_sync.FINE) for long, length in zip(sent, lengths))
    assert len(set(sent)) <= 2 * dist_sync.PIECE // dist_sync.FINE + 20


def test_an_error_that_no_other_process_can_read_keeps_its_words():
    class Odd(Exception):
        def __init__(self, one, two):
            super().__init__(f"{one} and {two}")

    assert str(communicator.sendable(Odd(1, 2))) == "Odd: 1 and 2"
    known = DatasetError("a.png")
    assert communicator.sendable(known) is known


# ---- the watch, by threads instead of processes


class Ranks:
    """allgather for `size` threads."""

    def __init__(self, size: int):
        self.size, self.barrier, self.given = size, threading.Barrier(size), {}

    def of(self, rank: int):
        def allgather(thing) -> list:
            self.given[rank] = thing
            self.barrier.wait(10)
            found = [self.given[each] for each in range(self.size)]
            self.barrier.wait(10)
            return found

        return allgather


@pytest.fixture
def watches():
    """The watches of three ranks."""
    ranks, made = Ranks(3), {}
    threads = [
        threading.Thread(target=lambda r=r: made.update({r: watch.Watch(r, 3, "127.0.0.1", ranks.of(r))}))
        for r in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    yield [made[rank] for rank in range(3)]
    for each in made.values():
        each.close()


def test_a_rank_that_leaves_is_known_to_all_with_its_reason(watches):
    watches[2].leave("b.png: damaged", None)
    for rank in (0, 1):
        watches[rank].wait(10)
        assert watches[rank].lost == watch.Lost(2, "b.png: damaged")
    assert (
        "rank 2 ended with an error (b.png: damaged); the same command resumes" in watches[0].lost.sentence()
    )


def test_a_connection_that_breaks_is_a_death(watches):
    watches[1]._closing = True
    watches[1]._connections[0].shutdown(2)
    for rank in (0, 2):
        watches[rank].wait(10)
        assert watches[rank].lost == watch.Lost(1, "")


def test_silence_is_a_death(monkeypatch):
    monkeypatch.setattr(watch, "SILENCE", 0.5)
    ranks, made = Ranks(2), {}
    threads = [
        threading.Thread(target=lambda r=r: made.update({r: watch.Watch(r, 2, "127.0.0.1", ranks.of(r))}))
        for r in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    made[0].wait(10)
    assert made[0].lost == watch.Lost(1, "")
    for each in made.values():
        each.close()


def test_who_closes_in_order_is_not_missed(watches):
    for each in watches:
        each.close()
    for each in watches:
        each._drop()
    watches[0].wait(0.5)
    assert [each.lost for each in watches] == [None] * 3


class Broken(communicator.Together):
    """A kind whose operations are what a test gives it."""

    def __init__(self):
        super().__init__(0, 1, "127.0.0.1")

    def _gather(self, data, lengths):
        return [data]


def test_an_operation_that_fails_is_a_sentence():
    with pytest.raises(RunError, match=r"workers broke \(reset by peer\); the same command resumes"):
        Broken()._wait(lambda: (_ for _ in ()).throw(OSError("Traceback\nreset by peer")))


def test_a_death_ends_the_wait_of_a_blocked_operation():
    together = Broken()
    together._watch = watch.Watch.__new__(watch.Watch)
    together._watch.lost = watch.Lost(1, "")
    with pytest.raises(RunError, match="rank 1 died"):
        together._wait(lambda: time.sleep(30))
    with pytest.raises(RunError, match="no longer in step"):
        together.barrier()


def test_a_signal_at_another_worker_stops_this_one_as_well():
    together = Broken()
    together._watch = watch.Watch.__new__(watch.Watch)
    together._watch.lost = watch.Lost(1, "", signal=15)
    with pytest.raises(Stopped) as stopped:
        together._wait(lambda: time.sleep(30))
    assert stopped.value.signal == 15


# ---- the launcher


def test_each_machine_s_processes_know_their_place():
    servers, workers = launch.environments(2, 3, 1, "127.0.0.1:7000")
    assert [each["DMLC_ROLE"] for each in servers] == ["server"]
    assert [each["DMLC_TASK_ID"] for each in workers] == ["2", "3"]
    assert {(each["DMLC_NUM_WORKER"], each["DMLC_NUM_SERVER"]) for each in servers + workers} == {("6", "3")}
    assert {each["DMLC_PS_ROOT_PORT"] for each in servers + workers} == {"7000"}
    first = launch.environments(2, 3, 0, "127.0.0.1")[0]
    assert [each["DMLC_ROLE"] for each in first] == ["scheduler", "server"]


@pytest.mark.parametrize(
    "arguments, words",
    [
        ((1, 2, 0, None), "need the address of machine 0"),
        ((1, 2, 2, "127.0.0.1"), "no machine 2 among 2"),
        ((1, 2, 0, "127.0.0.1:x"), "no number as its port"),
        ((1, 2, 0, "nowhere.invalid:1"), "nowhere.invalid, is not known here"),
    ],
)
def test_a_place_that_can_t_be_is_a_sentence(arguments, words):
    with pytest.raises(RunError, match=words):
        launch.environments(*arguments)


def test_the_first_failure_ends_the_others(monkeypatch):
    monkeypatch.setattr(launch, "PATIENCE", 0.3)
    failing = subprocess.Popen([sys.executable, "-c", "raise SystemExit(3)"])
    waiting = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    assert launch.wait([waiting, failing], []) == 3
    assert waiting.returncode == -signal.SIGKILL


@processes
def test_confseg_started_as_server_serves_and_ends_with_the_workers(tmp_path):
    tracker = {
        "DMLC_PS_ROOT_URI": "127.0.0.1",
        "DMLC_NODE_HOST": "127.0.0.1",
        "DMLC_PS_ROOT_PORT": str(launch.free_port()),
        "DMLC_NUM_WORKER": "1",
        "DMLC_NUM_SERVER": "1",
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
    }
    confseg = [sys.executable, "-m", "gluon_confseg", "train", "drawn"]
    worker = [sys.executable, str(TASK), "dist_sync", "operations", str(tmp_path)]
    started = [
        subprocess.Popen(command, env={**os.environ, **tracker, "DMLC_ROLE": role})
        for role, command in (("scheduler", confseg), ("server", confseg), ("worker", worker))
    ]
    try:
        assert [process.wait(120) for process in started] == [0, 0, 0]
    finally:
        for process in started:
            process.kill()
    assert json.loads((tmp_path / "0.json").read_text())["size"] == 1


# ---- the probe, and what the doctor says of it


def test_the_cost_of_a_sum_follows_from_what_was_measured():
    found = probe.Probe(2, 0.001, {1: 0.005, 16: 0.065})
    assert found.of(0) == 0.001
    assert found.of(16e6) == pytest.approx(0.065)
    assert found.of(160e6) == pytest.approx(0.641)
    assert probe.Probe(1, 0.001, {1: 0.005}).of(1e6) == 0
    words = "a sum of one number takes 1.0 ms, of 1 MB in 5 ms (200 MB/s), of 16 MB in 65 ms (246 MB/s)"
    assert doctor.network(found).line() == f"ok: network between 2 workers: {words}"


def test_the_probe_measures_what_it_is_asked():
    found = probe.measure(distributed.Communicator(), megabytes=(1, 2))
    assert found.size == 1 and list(found.seconds) == [1, 2] and min(found.seconds.values()) > 0


def test_the_doctor_without_workers_says_how_they_are_started(capsys, monkeypatch):
    monkeypatch.delenv("DMLC_ROLE", raising=False)
    assert cli.main(["doctor", "--kvstore", "dist_sync"]) == 1
    assert "start it by `confseg launch" in capsys.readouterr().err


def test_a_disk_that_can_t_be_written_is_a_note_and_no_error(tmp_path):
    assert "MB/s written and synchronised" in doctor.disk_speed(tmp_path).value
    assert list(tmp_path.iterdir()) == []
    assert "no file can be written" in doctor.disk_speed(tmp_path / "missing").note


def test_little_shared_memory_is_a_note(monkeypatch):
    usage = shutil.disk_usage("/")._replace(free=64_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage)
    assert "--shm-size=2g" in doctor.shared_memory().note


class Nvml:
    """NVIDIA's management library with one GPU; `refuses` is the question that it does not answer."""

    def __init__(self, refuses: str = ""):
        self.refuses = refuses

    def __getattr__(self, name):
        def answer(*arguments):
            if name == self.refuses:
                return 3
            if name == "nvmlDeviceGetCount_v2":
                arguments[0]._obj.value = 1
            if name == "nvmlDeviceGetMemoryInfo":
                arguments[1]._obj.total, arguments[1]._obj.free = 12_000_000_000, 9_500_000_000
            if name == "nvmlDeviceGetPciInfo_v3":
                arguments[1].value = b"0000:65:00.0"
            return 0

        return answer


def test_the_free_memory_of_a_gpu_is_a_finding(monkeypatch):
    monkeypatch.setattr(hardware.ctypes, "CDLL", lambda name: Nvml())
    lines = [finding.line() for finding in doctor.gpu_memory()]
    assert lines == ["ok: memory of the GPU at 0000:65:00.0: 9.5 of 12.0 GB free"]


@pytest.mark.parametrize("refuses", ["nvmlInit_v2", "nvmlDeviceGetCount_v2", "nvmlDeviceGetMemoryInfo"])
def test_a_question_that_is_not_answered_leaves_the_memory_out(refuses, monkeypatch):
    monkeypatch.setattr(hardware.ctypes, "CDLL", lambda name: Nvml(refuses))
    assert doctor.gpu_memory() == []
