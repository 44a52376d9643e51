"""The run folder: what it refuses, what a kill leaves, and what is done about damaged files."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import small
from mxnet.gluon import nn

from gluon_confseg import engine, losses, train
from gluon_confseg.errors import ConfSegError, RunError
from gluon_confseg.recipe import Cell, phase
from gluon_confseg.run_folder import Position, RunFolder, read_log

PROJECT = Path(__file__).resolve().parents[1]
CONFIG = {"seed": 0, "phases": [{"name": "base", "epochs": 3}], "cells": []}
FOREIGN = ("Downloads/.film.mkv.part", ".notes.txt.part", "checkpoints/.film.mkv.12.part", "letter.txt")
OURS = (".log.jsonl.7.part", "checkpoints/.base.npz.123.part", "examples/.00009.jpg.9.part",
        "pictures/.groups.png.4.part", ".report.html.5.part")  # fmt: skip


def sentence(action) -> str:
    with pytest.raises(ConfSegError) as caught:
        action()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def write(folder: Path, names) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)


def contents(folder: Path) -> dict:
    """Every file but the lock."""
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file() and file.name != ".lock"
    }


# ---- a folder that is refused, and files that are not the run's


def holding(folder: Path) -> subprocess.Popen:
    """A process that works in the folder until its stdin ends."""
    code = f"from gluon_confseg.run_folder import RunFolder\nrun = RunFolder({str(folder)!r}, {CONFIG!r})\n"
    process = subprocess.Popen(
        [sys.executable, "-c", code + "print('open', flush=True)\ninput()"],
        cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout.readline() == "open\n"
    return process


def test_a_folder_with_another_runs_configuration_loses_nothing(tmp_path):
    RunFolder(tmp_path, CONFIG)
    write(tmp_path, (*FOREIGN, *OURS))
    before = contents(tmp_path)
    said = sentence(lambda: RunFolder(tmp_path, {**CONFIG, "seed": 1}))
    assert "seed: 0 there, 1 now" in said and "--out" in said
    (tmp_path / "config.json").write_text('{"name": "of some other program"}')
    before["config.json"] = (tmp_path / "config.json").read_bytes()
    sentence(lambda: RunFolder(tmp_path, CONFIG))
    assert contents(tmp_path) == before


def test_a_second_process_in_a_folder_is_refused_and_nothing_is_lost(tmp_path):
    process = holding(tmp_path)
    try:
        write(tmp_path, (*FOREIGN, *OURS))  # as the first one writes them
        before = contents(tmp_path)
        said = sentence(lambda: RunFolder(tmp_path, CONFIG))
        assert said.startswith(f"{tmp_path}: another process is working in this run folder")
        assert contents(tmp_path) == before
    finally:
        process.kill()
        process.communicate()
    RunFolder(tmp_path, CONFIG)  # the lock of a process that is dead does no harm


def test_processes_that_a_run_forked_do_not_keep_its_folder(tmp_path):
    code = (
        "import os, time\nfrom gluon_confseg.run_folder import RunFolder\n"
        f"run = RunFolder({str(tmp_path)!r}, {CONFIG!r})\n"
        "child = os.fork()\n"
        "if not child: os.close(1), os.close(2), time.sleep(60)\n"
        "else: print(child, flush=True)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True
    )
    child = int(done.stdout)
    try:
        os.kill(child, 0)  # it is there
        RunFolder(tmp_path, CONFIG)
    finally:
        os.kill(child, 9)


def test_a_file_system_without_locks_is_used_without(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(fcntl, "lockf", refuse)
    assert RunFolder(tmp_path, CONFIG).logged() == []


def test_a_place_that_cannot_be_written_to_is_one_sentence(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("kept")
    for place in (tmp_path / "file", tmp_path / "file" / "below"):
        assert "can't be made or written to" in sentence(lambda place=place: RunFolder(place, CONFIG))
    assert (tmp_path / "file").read_text() == "kept"
    write(tmp_path / "run", (*FOREIGN, *OURS))
    before = contents(tmp_path / "run")

    def refuse(path, *_, **__):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("builtins.open", refuse)
    assert "Permission denied" in sentence(lambda: RunFolder(tmp_path / "run", CONFIG))
    monkeypatch.undo()
    assert contents(tmp_path / "run") == before


def test_a_run_that_goes_on_removes_the_beginnings_of_its_files_and_nobody_elses(tmp_path):
    RunFolder(tmp_path, CONFIG)
    write(tmp_path, (*FOREIGN, *OURS))
    RunFolder(tmp_path, CONFIG)
    assert set(contents(tmp_path)) == {"config.json", *FOREIGN}


# ---- states of a phase


def states(folder):
    """A folder, a network of one layer and its trainer."""
    network = nn.Dense(3, in_units=2)
    network.initialize()
    run = RunFolder(folder, CONFIG)
    trainer = engine.sgd(network._collect_params_with_prefix())
    return run, network, trainer


def mark(network, value: float) -> None:
    for parameter in network.collect_params().values():
        parameter.set_data(parameter.data() * 0 + value)


class Kill(BaseException):
    """What nothing catches."""


@pytest.mark.parametrize("error", [Kill(), OSError(28, "No space left on device")])
@pytest.mark.parametrize("moment", ["open", "fsync", "replace"])
def test_at_every_moment_of_every_save_one_whole_state_exists(tmp_path, monkeypatch, moment, error):
    run, network, trainer = states(tmp_path)
    saved = 0
    for number in range(1, 7):
        mark(network, number)
        for call in (1, 2):
            own, left = {"open": open, "fsync": os.fsync, "replace": os.replace}[moment], [call]

            def broken(*arguments, own=own, left=left, **options):
                left[0] -= 1
                if left[0] == 0:
                    raise error
                return own(*arguments, **options)

            with monkeypatch.context() as patched:
                patched.setattr("builtins.open" if moment == "open" else f"os.{moment}", broken)
                try:
                    run.save("base", Position(epoch=number), network, trainer)
                except type(error):
                    pass
            again, found, other = states(tmp_path)
            at = again.resume("base", found, other)
            assert at.epoch in ({0, 1} if number == 1 else {number - 1, number}) and at.epoch >= saved
            if at.epoch:
                assert (found.weight.data().asnumpy() == at.epoch).all()
                assert (found.bias.data().asnumpy() == at.epoch).all()
        run.save("base", Position(epoch=number), network, trainer)
        saved = number
    assert not list(tmp_path.rglob("*.part")) or error.__class__ is Kill


def test_two_states_that_are_both_damaged_are_a_phase_from_its_beginning(tmp_path, capsys):
    run, network, trainer = states(tmp_path)
    for epoch in (1, 2):
        run.save("base", Position(epoch=epoch), network, trainer)
    for file in tmp_path.rglob("*progress*"):
        file.write_bytes(file.read_bytes()[:-9])
    assert run.resume("base", network, trainer) == Position()
    assert len(capsys.readouterr().err.splitlines()) == 2


# ---- a finished run whose files are damaged


RECIPE = small.recipe(
    [
        phase("base", epochs=1),
        phase("other", "base", loss="median_frequency", epochs=1),
        phase("subnets_ce", "base", "subnets", epochs=1),
    ],
    [
        Cell("one", "0", "CE", "base"),
        Cell("two", "0", "other", "other"),
        Cell("three", "all", "CE", "subnets_ce"),
    ],
)


def again(folder) -> RunFolder:
    run = RunFolder(folder, RECIPE.config())
    train.run(RECIPE, small.data(), run)
    return run


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished") / "run"
    again(folder)
    return folder


@pytest.fixture
def run(finished, tmp_path):
    """A finished run, to damage."""
    import shutil

    return Path(shutil.copytree(finished, tmp_path / "run"))


def cut(file: Path) -> None:
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def lines_about(name: str, capsys) -> list:
    return [line for line in capsys.readouterr().err.splitlines() if name in line]


@pytest.mark.slow
@pytest.mark.parametrize("damage", [cut, flip])
@pytest.mark.parametrize("name", ["confusion.npz", "checkpoints/subnets_ce.evaluation.npz"])
def test_counts_that_are_damaged_are_computed_again_and_it_is_said(run, finished, name, damage, capsys):
    damage(run / name)
    with np.load(finished / name) as archive:
        wanted = {key: archive[key] for key in archive.files}
    again(run)
    said = lines_about(name, capsys)
    assert said and all("damaged" in line and "again" in line for line in said)
    with np.load(run / name) as archive:
        assert {key: archive[key].tolist() for key in archive.files} == {
            k: v.tolist() for k, v in wanted.items()
        }
    assert (run / "results.json").read_bytes() == (finished / "results.json").read_bytes()


DAMAGED = (b"", b"{", b"\xff\xfe\x00", b"[]", b"7", b'{"sessions": ["long"]}', b'{"sessions": 3}')


@pytest.mark.parametrize("content", DAMAGED)
def test_a_damaged_timing_is_begun_again_and_it_is_said(tmp_path, content, capsys):
    run = RunFolder(tmp_path, CONFIG)
    (tmp_path / "timing.json").write_bytes(content)
    run.add_time(60.0)
    assert json.loads((tmp_path / "timing.json").read_text()) == {"sessions": [60.0], "minutes": 1.0}
    (said,) = lines_about("timing.json", capsys)
    assert "damaged" in said


@pytest.mark.parametrize("content", [*DAMAGED, b'{"pixels": [1], "image_pixels": [0], "images": 1}'])
def test_damaged_statistics_are_counted_again_and_it_is_said(tmp_path, content, capsys):
    run, dataset = RunFolder(tmp_path, CONFIG), small.Images()
    (tmp_path / "statistics.json").write_bytes(content)
    found = run.statistics(dataset)
    wanted = losses.LabelStatistics.count((dataset[n][1] for n in range(len(dataset))), small.CLASSES)
    assert found.record() == wanted.record()
    assert json.loads((tmp_path / "statistics.json").read_text()) == wanted.record()
    (said,) = lines_about("statistics.json", capsys)
    assert said.count("statistics.json") == 1 and "damaged" in said and "counted again" in said


@pytest.mark.parametrize("damage", [cut, flip])
@pytest.mark.parametrize("name", ["base", "subnets_ce"])
def test_a_finished_checkpoint_that_is_damaged_is_one_sentence(run, name, damage):
    file = run / "checkpoints" / f"{name}.npz"
    damage(file)
    before = file.read_bytes()
    said = sentence(lambda: again(run))
    assert said.startswith(f"{file}: is ") and "damaged" in said and file.read_bytes() == before


@pytest.mark.slow
@pytest.mark.parametrize(
    "line", [b'{"phase": "ba', b"[]", b"7", b'{"epoch": 1}', b"\xff\xfe\x00", b"\x00\x00"]
)
def test_a_damaged_log_is_one_sentence(run, line):
    with open(run / "log.jsonl", "ab") as log:
        log.write(line + b"\n")
    said = sentence(lambda: again(run))
    assert said.startswith(f"{run / 'log.jsonl'}: line 4 is no record of an epoch")
    with pytest.raises(RunError):
        read_log(run / "log.jsonl")


def test_a_configuration_that_is_cut_short_is_one_sentence(run):
    cut(run / "config.json")
    assert str(run / "config.json") in sentence(lambda: again(run))
