"""Phases side by side: which may be, how that is chosen, and that a phase's result does not depend on it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import side_task
import small

from experiments import drawn, table3
from experiments.tools import kill_test
from gluon_confseg import checkpoint, cli, compiled, engine, side_by_side, train
from gluon_confseg.errors import RunError
from gluon_confseg.progress import WholeRun
from gluon_confseg.recipe import Cell, phase
from gluon_confseg.run_folder import Position, RunFolder
from gluon_confseg.side_by_side import Way, choice, free_memory

TESTS = Path(__file__).resolve().parent
ALONE = Cell("alone", "0", "CE", "ce")


def names(rounds) -> list:
    return [[phase.name for phase in phases] for phases in rounds]


# ---- which phases may be trained at once


def test_phases_that_do_not_need_each_other_are_of_one_round():
    found = side_by_side.rounds(drawn.PROFILES["quick"].phases)
    after = ["ce", "confusion_ce", "ce_continued", "subnets_ce", "subnets_confusion_ce"]
    assert names(found) == [["base"], after]


def test_a_phase_whose_matrix_others_read_is_before_them():
    found = side_by_side.rounds(
        table3.PROFILES["full"].phases
    )  # all from initial values, by the matrix of ce
    assert names(found) == [["ce"], ["confusion_ce", "subnets_ce", "subnets_confusion_ce"]]


def test_a_chain_has_rounds_of_one():
    phases = [phase("a", epochs=1), phase("b", "a", epochs=1), phase("c", "b", epochs=1)]
    assert names(side_by_side.rounds(small.recipe(phases).phases)) == [["a"], ["b"], ["c"]]


# ---- the choice


@pytest.fixture
def team(tmp_path):
    """What a choice is made from: two processors, nothing trained yet, and 60 steps in each of ce and confusion_ce."""
    recipe = small.recipe(
        [phase("base", epochs=20), phase("ce", "base", epochs=20), phase("confusion_ce", "base", epochs=20)],
        [ALONE, Cell("other", "0", "CE", "confusion_ce")],
    )
    job = train.Job(recipe, small.data(), recipe.cells)
    whole = WholeRun({"subnet0": 180})
    folder = RunFolder(tmp_path, recipe.config())
    found = SimpleNamespace(job=job, folder=folder, whole=whole, threads=2, on_gpu=False, complete=None)
    found.count_labels = lambda phase: None
    return found


def chosen(team, number: int = 1, jobs=None) -> Way:
    phases = side_by_side.rounds(team.job.phases)[number]
    return side_by_side.choose(team, phases, phases, jobs)


def measured(monkeypatch, team, alone: float, beside: list) -> list:
    """Give every step of one phase alone, and of phases measured at once, these times; returns who was measured."""
    asked = []

    def time_steps(complete, job, phase, folder):
        asked.append((phase.name, "alone"))
        return alone

    def times(phases, threads):
        asked.append(([phase.name for phase in phases], threads))
        return beside

    monkeypatch.setattr(choice, "time_steps", time_steps)
    team.times = times
    return asked


def test_the_way_that_takes_less_time_for_a_step_of_each_is_taken_and_noted(team, monkeypatch, capsys):
    asked = measured(monkeypatch, team, 1.0, [1.4, 1.5])
    assert chosen(team) == Way(1, 2)
    assert asked == [("ce", "alone"), ("confusion_ce", "alone"), (["ce", "confusion_ce"], 1)]
    (noted,) = json.loads((team.folder.path / "threads.json").read_text())
    assert noted["phases"] == ["ce", "confusion_ce"] and (noted["threads"], noted["at_once"]) == (1, 2)
    assert noted["seconds_of_a_step"]["side by side with one thread each"] == {"ce": 1.4, "confusion_ce": 1.5}
    assert "chosen: side by side with one thread each" in capsys.readouterr().err
    asked = measured(monkeypatch, team, 1.0, [1.4, 1.95])
    assert chosen(team) == Way(1, 2) and not asked  # a run that goes on keeps to it
    (team.folder.path / "threads.json").unlink()
    assert chosen(team) == Way(2, 1)


def test_phases_of_other_lengths_are_weighed_by_their_steps(team, monkeypatch):
    """600 steps beside 60: the short one would leave a core without work for most of the time."""
    recipe = team.job.recipe.override(["phases.ce.epochs=200"])
    team.job = train.Job(recipe, team.job.data, recipe.cells)
    measured(monkeypatch, team, 1.0, [1.5, 1.5])
    assert chosen(team) == Way(2, 1)


def test_a_phase_alone_gets_half_of_the_threads_where_that_is_faster(team, monkeypatch):
    asked = measured(monkeypatch, team, 1.1, [0.9])
    assert chosen(team, 0) == Way(1, 1)
    assert asked == [("base", "alone"), (["base"], 1)]
    (team.folder.path / "threads.json").unlink()
    measured(monkeypatch, team, 1.1, [1.09])
    assert chosen(team, 0) == Way(2, 1)


def test_what_is_short_is_not_measured(team, monkeypatch):
    asked = measured(monkeypatch, team, 0.4, [0.1, 0.1])
    assert chosen(team) == Way(2, 1) and len(asked) == 2  # 48 seconds: no process is started
    recipe = team.job.recipe.override(["phases.ce.epochs=16"])
    team.job = train.Job(recipe, team.job.data, recipe.cells)
    assert chosen(team) == Way(2, 1) and len(asked) == 2  # 48 steps


def test_jobs_one_thread_and_a_gpu_settle_it_without_measuring(team, monkeypatch):
    asked = measured(monkeypatch, team, 1.0, [0.1, 0.1])
    assert chosen(team, jobs=1) == Way(2, 1) and chosen(team, jobs=2) == Way(1, 2)
    assert chosen(team, 0, jobs=2) == Way(2, 1)  # base is alone
    team.threads = 8
    assert chosen(team, jobs=5) == Way(4, 2)
    team.threads = 1
    assert chosen(team) == Way(1, 1) and chosen(team, jobs=2) == Way(1, 1)
    team.threads, team.on_gpu = 2, True
    assert chosen(team, jobs=2) == Way(2, 1)
    assert not asked


def test_two_networks_that_do_not_fit_in_memory_are_trained_one_after_the_other(team, monkeypatch, capsys):
    measured(monkeypatch, team, 1.0, [0.1, 0.1])
    monkeypatch.setattr(free_memory, "available", lambda: [10**15, 10**7])
    assert chosen(team) == Way(2, 1)
    assert "2 at once may need" in capsys.readouterr().err


def test_where_another_way_can_not_be_measured_all_threads_are_taken_and_it_is_said(
    team, monkeypatch, capsys
):
    measured(monkeypatch, team, 1.0, [])

    def times(phases, threads):
        raise RunError("there are too many processes")

    team.times = times
    assert chosen(team) == Way(2, 1)
    assert "one after the other, since" in capsys.readouterr().err


@pytest.mark.parametrize(
    "threads, wanted", [(1, Way(1, 2)), (2, Way(2, 1)), (4, Way(4, 1)), (None, Way(2, 1))]
)
def test_phases_that_were_begun_go_on_as_they_were(team, monkeypatch, threads, wanted):
    asked = measured(monkeypatch, team, 1.0, [0.1, 0.1])
    meta = {"phase": "ce", "epoch": 1, "batch": 0, **({"threads": threads} if threads else {})}
    checkpoint.save(team.folder.path / "checkpoints" / "ce.progress-1.npz", {}, meta)
    assert chosen(team) == wanted and not asked


def test_measuring_writes_nothing_and_shows_nothing(tmp_path, capsys):
    recipe = small.recipe([phase("base", epochs=0), phase("ce", "base", epochs=5)], [ALONE], validate_every=0)
    folder, job = RunFolder(tmp_path, recipe.config()), train.Job(recipe, small.data(), recipe.cells)
    train.complete(job, recipe.phase("base"), folder, WholeRun({}))
    before = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    capsys.readouterr()
    warm = []
    seconds = side_by_side.time_steps(train.complete, job, recipe.phase("ce"), folder, lambda: warm.append(1))
    assert seconds > 0 and warm == [1]
    assert {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()} == before
    assert capsys.readouterr() == ("", "")


def test_measuring_does_not_validate_where_an_epoch_has_few_steps(tmp_path, monkeypatch):
    recipe = small.recipe([phase("base", epochs=5)], [Cell("alone", "0", "CE", "base")], validate_every=1)
    folder, job = RunFolder(tmp_path, recipe.config()), train.Job(recipe, small.data(), recipe.cells)
    validated = []
    monkeypatch.setattr(train, "validate", lambda *_, **__: validated.append(1) or ({}, {}))
    assert side_by_side.time_steps(train.complete, job, recipe.phase("base"), folder) > 0
    assert not validated


# ---- what the run folder holds of it


def test_the_threads_of_a_phase_are_those_of_its_newest_state_or_result(tmp_path, monkeypatch):
    run, built = RunFolder(tmp_path, {}), small.build(groups=())
    trainer = engine.sgd(built._collect_params_with_prefix())
    assert run.threads("ce") is None and not run.begun("ce")
    for batch, threads in ((1, "3"), (2, "2")):
        monkeypatch.setenv("OMP_NUM_THREADS", threads)
        run.save("ce", Position(batch=batch), built, trainer)
        assert run.threads("ce") == int(threads) and run.begun("ce")
    (newest,) = [f for f in tmp_path.rglob("*progress*") if checkpoint.peek(f)[1]["batch"] == 2]
    newest.write_bytes(newest.read_bytes()[:-9])
    assert run.threads("ce") == 3
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    run.finish("ce", built, {})
    assert run.threads("ce") == 4


@pytest.mark.parametrize("library", [object(), None])
def test_a_result_holds_its_threads_and_whether_compiled_operators_were_used(tmp_path, monkeypatch, library):
    monkeypatch.setattr(compiled, "library", lambda: library)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    run = RunFolder(tmp_path, {})
    run.finish("ce", small.build(groups=()), {})
    assert run.made_with("ce") == {"threads": 3, "compiled": library is not None}


def test_a_result_of_a_version_that_did_not_note_it_says_so(tmp_path):
    run = RunFolder(tmp_path, {})
    checkpoint.save(run.checkpoint("ce"), {}, {"phase": "ce", "threads": 2})
    assert run.made_with("ce") == {"threads": 2, "compiled": None}


def test_the_log_has_the_order_of_the_phases_whichever_ends_first(tmp_path):
    run = RunFolder(tmp_path, {"phases": [{"name": "a"}, {"name": "b"}], "cells": []})
    for name, epoch in (("b", 1), ("a", 1), ("b", 2), ("a", 2), ("b", 2)):
        run.log({"phase": name, "epoch": epoch})
    assert [(r["phase"], r["epoch"]) for r in run.logged()] == [("a", 1), ("a", 2), ("b", 1), ("b", 2)]


def test_the_report_says_which_phases_shared_the_cores(tmp_path):
    run = RunFolder(tmp_path, {})
    run.save_way(["base"], 2, 1, {})
    run.save_way(["ce", "confusion_ce"], 1, 2, {})
    run.add_time(60.0)
    told = json.loads((tmp_path / "timing.json").read_text())
    assert told["side_by_side"] == "ce, confusion_ce: 2 at once, threads of each: 1"


@pytest.mark.parametrize("content", ["", "{", "7", '[{"phases": ["a"]}]', "[3]"])
def test_a_damaged_record_of_what_was_measured_is_said_and_begun_again(tmp_path, content, capsys):
    run = RunFolder(tmp_path, {})
    (tmp_path / "threads.json").write_text(content)
    run.save_way(["base"], 2, 1, {})
    assert [entry["phases"] for entry in json.loads((tmp_path / "threads.json").read_text())] == [["base"]]
    assert "threads.json: is damaged" in capsys.readouterr().err


# ---- the command line


def test_jobs_is_a_number_from_1_on_and_nothing_for_a_dry_run(capsys):
    for words in (["--jobs", "0"], ["--jobs", "many"], ["--jobs", "2", "--dry-run"]):
        with pytest.raises(SystemExit) as stopped:
            cli.main(["train", "drawn", *words])
        assert stopped.value.code == 2
        assert "--jobs" in capsys.readouterr().err.splitlines()[-1]


# ---- processes: `side_task` trains base, then ce | confusion_ce, then subnets on each


STARTED = []


@pytest.fixture(autouse=True)
def nothing_runs_on():
    yield
    while STARTED:  # a test that failed may have left one
        process = STARTED.pop()
        process.kill()
        process.communicate()


def start(out, threads: int, jobs="", *settings, **options) -> subprocess.Popen:
    process = subprocess.Popen(
        [sys.executable, str(TESTS / "side_task.py"), str(out), str(jobs), *settings],
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(TESTS.parent), str(TESTS)]),
            "OMP_NUM_THREADS": str(threads),
        },
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )
    STARTED.append(process)
    return process


def ended(process: subprocess.Popen) -> tuple:
    """(exit status, lines of stderr)."""
    errors = process.communicate(timeout=900)[1]
    return process.returncode, errors.splitlines()


def outcome(out) -> dict:
    """What must be the same however the phases were trained: all but what tells of it. No step is trained in base."""
    found = kill_test.fingerprint(out)
    found.pop("checkpoints/base.npz")
    return found


@pytest.fixture(scope="module")
def one_by_one(tmp_path_factory):
    """The outcome of all phases in one process with one thread."""
    out = tmp_path_factory.mktemp("one") / "run"
    status, lines = ended(start(out, 1))
    assert status == 0, lines
    return outcome(out)


def trained_at_once(out) -> bool:
    return all(any(out.glob(f"checkpoints/{name}.progress-*.npz")) for name in ("ce", "confusion_ce"))


def wait_for(condition, seconds: float = 300.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def below(process: subprocess.Popen) -> list:
    """The ids of the processes that a process started."""
    return [
        int(child) for child in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    ]


def runs(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def side_by_side_at_work(out) -> tuple:
    """A run whose two first phases are being trained at once, and their processes."""
    process = start(out, 2, 2, start_new_session=True)
    wait_for(lambda: trained_at_once(out) or process.poll() is not None)
    workers = below(process)
    assert process.poll() is None and len(workers) == 2
    return process, workers


def assert_goes_on(out, wanted: dict, threads: int = 2, jobs="") -> None:
    status, lines = ended(start(out, threads, jobs))
    assert status == 0, lines
    assert outcome(out) == wanted
    assert not list(out.rglob("*progress*")) and not list(out.rglob("*.part"))


@pytest.mark.slow
def test_side_by_side_with_one_thread_each_is_one_after_the_other_with_one_thread(one_by_one, tmp_path):
    status, lines = ended(start(tmp_path / "run", 2, 2))
    assert status == 0, lines
    assert outcome(tmp_path / "run") == one_by_one
    meta = {name: checkpoint.peek(tmp_path / f"run/checkpoints/{name}.npz")[1] for name in side_task.PHASES}
    assert [found["threads"] for found in meta.values()] == [2, 1, 1, 1, 1]
    # both were trained at once, and every line says of what it is
    titles = (
        "phase ",
        "ce: ",
        "ce, ",
        "confusion_ce: ",
        "confusion_ce, ",
        "subnets_",
        "training matrix: ",
        "evaluating ",
    )
    assert all(line.startswith(titles) for line in lines), lines


@pytest.mark.slow
def test_a_run_goes_on_with_the_threads_that_it_began_with(one_by_one, tmp_path):
    process = start(tmp_path / "run", 1)
    wait_for(lambda: list(tmp_path.glob("run/checkpoints/ce.progress-*.npz")) or process.poll() is not None)
    process.kill()
    ended(process)
    assert not (tmp_path / "run/checkpoints/ce.npz").exists()
    assert_goes_on(tmp_path / "run", one_by_one, threads=2, jobs=1)


@pytest.mark.slow
@pytest.mark.parametrize("threads, jobs", [(2, ""), (1, "")])
def test_a_run_that_is_killed_leaves_no_process_and_goes_on_bit_identically(
    one_by_one, tmp_path, threads, jobs
):
    process, workers = side_by_side_at_work(tmp_path / "run")
    process.kill()
    ended(process)
    wait_for(lambda: not any(map(runs, workers)), 20)
    assert_goes_on(tmp_path / "run", one_by_one, threads, jobs)


@pytest.mark.slow
def test_a_process_of_a_phase_that_is_killed_ends_the_run_with_a_sentence(one_by_one, tmp_path):
    process, workers = side_by_side_at_work(tmp_path / "run")
    os.kill(workers[0], signal.SIGKILL)
    status, lines = ended(process)
    assert status == 1 and lines[-1].startswith("confseg: the process that trained ")
    assert "was killed by SIGKILL" in lines[-1] and "goes on from its last saved state" in lines[-1]
    assert not any(map(runs, workers))
    assert_goes_on(tmp_path / "run", one_by_one)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("send", [os.kill, os.killpg])  # to the run alone; to all, as a terminal does
def test_a_signal_stops_both_phases_after_their_step(one_by_one, tmp_path, number, send):
    process, workers = side_by_side_at_work(tmp_path / "run")
    send(process.pid, number)
    status, lines = ended(process)
    assert status == 128 + number and lines[-1].endswith("the same command goes on from there")
    assert not [line for line in lines if "Traceback" in line or "torn" in line]
    assert sum("stopped at" in line for line in lines) >= 1
    assert not any(map(runs, workers))
    assert_goes_on(tmp_path / "run", one_by_one)


@pytest.mark.slow
def test_a_phase_that_fails_ends_the_run_with_its_sentence_and_the_other_one_is_saved(tmp_path):
    out, steep = tmp_path / "run", "phases.confusion_ce.learning_rate=1e30"
    status, lines = ended(start(out, 2, 2, steep, "phases.ce.epochs=50"))
    assert status == 1 and lines[-1].startswith("confseg: ") and "not finite" in lines[-1]
    assert not [line for line in lines if "Traceback" in line]
    assert not (out / "checkpoints" / "ce.npz").exists()
    again, lines = ended(start(out, 2, 2, steep, "phases.ce.epochs=50"))
    assert again == 1 and "not finite" in lines[-1]
